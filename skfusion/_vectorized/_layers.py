"""Linear layers of many members, whose gradients are laid out as the weights are, and written where they are needed.

torch's own linear layer has a gradient of the transposed weights. That of many members is a large tensor, and takes
longer to transpose and to copy than to compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from skfusion._vectorized._members import Members

_NARROW = 32
"""Columns below which a product takes up to three times as long where they fill no vector of a processor."""

_VECTOR = 16
"""Numbers of float32 in the widest vectors."""

_PLACES: ContextVar[dict[int, Tensor] | None] = ContextVar("places", default=None)


@contextmanager
def gradients_written_to(places: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Let the backward passes of this context write gradients of some weights to tensors of their shapes."""
    token = _PLACES.set({id(weight): place for weight, place in places.items()})
    try:
        yield
    finally:
        _PLACES.reset(token)


def place_of_gradient(weight: int, like: Tensor, *shape: int) -> Tensor:
    """Return where to write the gradient of the weight that has some ``id``.

    A weight with several uses has as many gradients, which autograd adds: only the first one gets the place.
    """
    place = (_PLACES.get() or {}).pop(weight, None)
    return like.new_empty(shape) if place is None else place


def layer_of_many(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | UnitsFirst:
    """Return the outputs of a linear layer of each member, shape (n_members, n_samples, n_units).

    The shapes are (n_members, n_samples, n_inputs), (n_members, n_units, n_inputs) and (n_members, n_units). The
    outputs of a few units are :class:`UnitsFirst` in training.
    """
    if not weight.requires_grad or not is_written_out(x):
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return UnitsFirst(out) if units_come_first(weight) else out


def is_written_out(x: Tensor) -> bool:
    """Return whether the gradient for an input is written out, and not left to torch.

    Where torch computes in a narrower dtype than that of the weights, it knows which gradient has which.
    """
    return torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type)


class UnitsFirst(Members):
    """Numbers of a few units or classes, whose samples are the last axis in memory, shape (n_members, ..., n_samples).

    Their product is faster than in the usual order, and so is a softmax. The usual order is made where it is asked for.
    """

    _units: Tensor
    _value: Tensor | None

    @staticmethod
    def __new__(cls, units: Tensor) -> UnitsFirst:
        made: UnitsFirst = torch.Tensor._make_wrapper_subclass(
            cls, units.mT.shape[1:], dtype=units.dtype, device=units.device
        )
        made._units, made._value = units, None
        return made

    @property
    def value(self) -> Tensor:  # type: ignore[override]
        """The numbers in the usual order, shape (n_members, ..., n_samples, n_units)."""
        if self._value is None:
            with torch.enable_grad():
                self._value = self._units.mT.contiguous()
        return self._value


def units_of(x: Members) -> Tensor:
    """Return a matrix of each member with its last two axes exchanged, without a copy."""
    # Once the usual order is made it may be changed in place.
    return x._units if isinstance(x, UnitsFirst) and x._value is None else x.value.mT


def units_come_first(weight: Tensor) -> bool:
    """Return whether the outputs of a layer in training are :class:`UnitsFirst`."""
    return weight.device.type == "cpu" and _fills_no_vector(weight.shape[1])


def products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the outputs of a layer in training, in the order of axes that :func:`units_come_first` tells."""
    if units_come_first(weight):
        return torch.bmm(weight, x.mT) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, x.mT)
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def _fills_no_vector(n_columns: int) -> bool:
    return n_columns < _NARROW and n_columns % _VECTOR != 0


class _Linear(torch.autograd.Function):
    """A linear layer of each member."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.keys = id(weight), id(bias)
        return products(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].mT if units_come_first(weight) else grads[0]
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(grad, weight) if of_x else None,
            gradient_of_weight(grad, x, ctx.keys[0]) if of_weight else None,
            gradient_of_bias(grad, ctx.keys[1]) if of_bias else None,
        )


def gradient_of_weight(grad: Tensor, x: Tensor, key: int) -> Tensor:
    """Return the gradient of the weight that has the ``id`` ``key``; ``grad`` is that of the outputs for ``x``."""
    if torch.is_grad_enabled():  # as it is where gradients of gradients are asked for
        return torch.bmm(grad.mT, x)
    out = place_of_gradient(key, grad, len(x), grad.shape[2], x.shape[2])
    if _fills_no_vector(x.shape[2]) and not _fills_no_vector(grad.shape[2]):
        return out.copy_(torch.bmm(x.mT, grad).mT)
    return torch.bmm(grad.mT, x, out=out)


def gradient_of_bias(grad: Tensor, key: int) -> Tensor:
    """Return the gradient of the bias that has the ``id`` ``key``; ``grad`` is that of the outputs."""
    if torch.is_grad_enabled():
        return grad.sum(1)
    return torch.sum(grad, 1, out=place_of_gradient(key, grad, len(grad), grad.shape[2]))
