"""Linear layers and activations that follow each other in an ``nn.Sequential``, as one function of all members.

Of small networks the calls of modules, torch functions and steps of autograd take as long as the arithmetic. Nothing
else sees what one layer of a chain gives to the next, so that it is changed in place, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_all_modules

from skfusion._vectorized._layers import (
    UnitsFirst,
    gradient_of_bias,
    gradient_of_weight,
    is_written_out,
    products,
    units_come_first,
)
from skfusion._vectorized._members import Members

_BACKWARDS = torch.ops.aten


class Activation(NamedTuple):
    """A function of single numbers, in place or not, and its gradient ``backward(grad, y, out)`` from its result y."""

    in_place: Callable[[Tensor], Tensor]
    function: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        torch.relu_,
        torch.relu,
        lambda grad, y, out: _BACKWARDS.threshold_backward.grad_input(grad, y, 0, grad_input=out),
    ),
    nn.Tanh: Activation(
        torch.tanh_, torch.tanh, lambda grad, y, out: _BACKWARDS.tanh_backward.grad_input(grad, y, grad_input=out)
    ),
    nn.Sigmoid: Activation(
        torch.sigmoid_,
        torch.sigmoid,
        lambda grad, y, out: _BACKWARDS.sigmoid_backward.grad_input(grad, y, grad_input=out),
    ),
}


@contextmanager
def chained(module: nn.Module) -> Iterator[None]:
    """Let each ``nn.Sequential`` in a module that :class:`Members` are lent to compute its chains as one function."""
    changed: list[nn.Module] = []
    for part in () if _has_hooks_of_all() else module.modules():
        if type(part) is nn.Sequential and _is_plain(part):
            parts = _parts(part)
            if any(isinstance(p, Chain) for p in parts):
                part.__dict__["forward"] = _one_after_another(parts)
                changed.append(part)
    try:
        yield
    finally:
        for part in changed:
            del part.__dict__["forward"]


def _one_after_another(parts: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def forward(input: Any) -> Any:
        for part in parts:
            input = part(input)
        return input

    return forward


def _has_hooks_of_all() -> bool:
    """Return whether there are hooks that every module calls; older versions of PyTorch offer no function for it."""
    kinds = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    return any(getattr(of_all_modules, f"_global_{kind}") for kind in kinds)


def _is_plain(module: nn.Module) -> bool:
    """Return whether a call of a module does what its class says, and nothing else."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "forward" not in vars(module) and not any(hooks)


def _parts(sequential: nn.Sequential) -> list[Callable[[Any], Any]]:
    """Return the modules of an ``nn.Sequential``, with a :class:`Chain` for those that can be one."""
    parts: list[Any] = []
    for module in sequential:
        kind = type(module) if _is_plain(module) else None
        if kind is nn.Linear:
            if not (parts and isinstance(parts[-1], Chain)):
                parts.append(Chain())
            parts[-1].layers.append((module, None))
        elif kind in ACTIVATIONS and parts and isinstance(parts[-1], Chain) and parts[-1].layers[-1][1] is None:
            parts[-1].layers[-1] = parts[-1].layers[-1][0], module
        else:
            parts.append(module)
    return parts


class Chain:
    """Linear layers, each with the activation that follows it."""

    def __init__(self) -> None:
        self.layers: list[tuple[nn.Module, nn.Module | None]] = []

    def __call__(self, x: Any) -> Any:
        parameters: list[Any] = [
            p for linear, _ in self.layers for p in (linear._parameters["weight"], linear._parameters["bias"])
        ]
        of_members = (
            isinstance(x, Members) and x.dim() == 2 and all(p is None or type(p) is Members for p in parameters)
        )
        if not (of_members and is_written_out(x)):
            for linear, activation in self.layers:
                x = linear(x) if activation is None else activation(linear(x))
            return x
        activations = [None if a is None else ACTIVATIONS[type(a)] for _, a in self.layers]
        values: list[Any] = [None if p is None else p.value for p in parameters]
        out = _Layers.apply(activations, x.value, *values)  # type: ignore[no-untyped-call]
        return UnitsFirst(out) if units_come_first(values[-2]) else Members(out)


class _Layers(torch.autograd.Function):
    """Linear layers of each member and their activations; outputs are :class:`UnitsFirst` as those of one layer are."""

    @staticmethod
    def forward(ctx: Any, activations: Sequence[Activation | None], x: Tensor, *parameters: Tensor | None) -> Tensor:
        inputs = [x]
        for i, activation in enumerate(activations):
            weight, bias = cast(Tensor, parameters[2 * i]), parameters[2 * i + 1]
            out = products(inputs[-1], weight, bias)
            if activation is not None:
                activation.in_place(out)
            inputs.append(out.mT if units_come_first(weight) else out)
        if activations[-1] is None:
            inputs.pop()  # the backward pass does not read the outputs
        ctx.activations, ctx.keys = activations, [id(p) for p in parameters]
        ctx.save_for_backward(*parameters, *inputs)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        n = 2 * len(ctx.activations)
        saved = ctx.saved_tensors  # once: activation checkpointing computes them for one reading
        parameters, inputs = saved[:n], saved[n:]
        if torch.is_grad_enabled():  # as it is where gradients of gradients are asked for
            return _differentiable(ctx, grads[0], parameters, inputs[0])
        _, of_x, *needed = ctx.needs_input_grad
        out: list[Tensor | None] = [None] * n
        grad = grads[0].mT if units_come_first(parameters[-2]) else grads[0]
        for i in reversed(range(len(ctx.activations))):
            if (activation := ctx.activations[i]) is not None:
                # autograd may hand the gradient of the outputs to others, too
                room = grad if i < len(ctx.activations) - 1 else torch.empty_like(grad)
                grad = activation.backward(grad, inputs[i + 1], room)
            weight, bias = 2 * i, 2 * i + 1
            if needed[weight]:
                out[weight] = gradient_of_weight(grad, inputs[i], ctx.keys[weight])
            if needed[bias]:
                out[bias] = gradient_of_bias(grad, ctx.keys[bias])
            if not (of_x or any(needed[:weight])):
                return None, None, *out
            grad = torch.bmm(grad, parameters[weight])
        return None, grad if of_x else None, *out


def _differentiable(ctx: Any, grad: Tensor, parameters: Sequence[Any], x: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients that :class:`_Layers` asks for, by autograd, so that they have gradients themselves.

    They are those of views, as a weight may have several uses here, and one in what comes before.
    """
    x, parameters = x.view_as(x), [None if p is None else p.view_as(p) for p in parameters]
    out = x
    for i, activation in enumerate(ctx.activations):
        weight, bias = parameters[2 * i : 2 * i + 2]
        out = out @ weight.mT
        out = out if bias is None else out + bias.unsqueeze(1)
        out = out if activation is None else activation.function(out)
    out = out.mT if units_come_first(parameters[-2]) else out
    needed = ctx.needs_input_grad[1:]
    asked = [t for t, need in zip((x, *parameters), needed, strict=True) if need]
    found = iter(torch.autograd.grad(out, asked, grad, create_graph=True))
    return None, *(next(found) if need else None for need in needed)
