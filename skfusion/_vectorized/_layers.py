"""Linear layers of many members, with gradients that are laid out as the weights are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_WIDE = 32
"""Inputs from which a weight's gradient is computed in its own layout; of fewer, the product is slower than a copy."""


def layers_of_many(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the outputs of a linear layer of each member, shape (n_members, n_samples, n_units).

    The shapes are (n_members, n_samples, n_inputs), (n_members, n_units, n_inputs) and (n_members, n_units).
    """
    if x.shape[2] >= _WIDE and torch.is_grad_enabled() and weight.requires_grad:
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


class _Linear(torch.autograd.Function):
    """A linear layer; torch's own has a gradient of the transposed weight, which takes longer to copy and to add."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(grad, weight) if of_x else None,
            torch.bmm(grad.mT, x) if of_weight else None,
            grad.sum(1) if of_bias else None,
        )
