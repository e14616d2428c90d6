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

_WIDE = 32
"""Inputs from which a weight's gradient is computed in its own layout; of fewer, that product takes longer."""

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


def layer_of_many(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the outputs of a linear layer of each member, shape (n_members, n_samples, n_units).

    The shapes are (n_members, n_samples, n_inputs), (n_members, n_units, n_inputs) and (n_members, n_units).
    """
    if x.shape[2] >= _WIDE and torch.is_grad_enabled() and weight.requires_grad:
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return _products(x, weight, bias)


def _products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


class _Linear(torch.autograd.Function):
    """A linear layer of each member."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.key = id(weight)
        return _products(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(grad, weight) if of_x else None,
            _of_weight(grad, x, ctx.key) if of_weight else None,
            grad.sum(1) if of_bias else None,
        )


def _of_weight(grad: Tensor, x: Tensor, key: int) -> Tensor:
    if torch.is_grad_enabled():  # as it is where gradients of gradients are asked for
        return torch.bmm(grad.mT, x)
    out = place_of_gradient(key, grad, len(x), grad.shape[2], x.shape[2])
    return torch.bmm(grad.mT, x, out=out)
