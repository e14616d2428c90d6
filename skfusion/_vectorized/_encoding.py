"""Piecewise-linear encoding of numbers, and a layer that takes it, for one network or for many at once.

Encodings are dozens of times as large as the numbers. Those of many members fill the memory of a step, whose time goes
into moving them; here they are made for a few members at a time, in memory that stays in the processor's cache, and
made again for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skfusion._vectorized._layers import place_of_gradient
from skfusion._vectorized._members import Members

_IN_CACHE = 2**19
"""Bytes of encodings that are made at a time."""


def bin_shares(z: Tensor, edges: Tensor, inverse_widths: Tensor) -> Tensor:  # z shape: (n_samples, n_numbers)
    """Return the share of each bin that lies below a number, shape (n_samples, n_numbers, n_bins).

    ``edges`` and ``inverse_widths`` have the shape (n_numbers, n_bins). All may have leading axes, such as of members.
    """
    return ((z.unsqueeze(-1) - edges.unsqueeze(-3)) * inverse_widths.unsqueeze(-3)).clamp(0, 1)


def encoded(z: Tensor, edges: Tensor, inverse_widths: Tensor) -> Tensor:
    """Return :func:`bin_shares` of each row, shape (n_samples, n_numbers * n_bins)."""
    if isinstance(z, Members) and isinstance(edges, Members) and isinstance(inverse_widths, Members):
        return Encodings(z.value, edges.value, inverse_widths.value)
    return bin_shares(z, edges, inverse_widths).flatten(1)


class Encodings(Members):
    """What :func:`encoded` returns for many members: it is computed only where it is asked for."""

    _parts: tuple[Tensor, Tensor, Tensor]
    _computed: Tensor | None

    @staticmethod
    def __new__(cls, z: Tensor, edges: Tensor, inverse_widths: Tensor) -> Encodings:
        shape = z.shape[1], edges[0].numel()
        made: Encodings = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=z.dtype, device=z.device)
        made._parts, made._computed = (z, edges, inverse_widths), None
        return made

    @property
    def value(self) -> Tensor:  # type: ignore[override]
        """The shares, shape (n_members, n_samples, n_numbers * n_bins)."""
        if self._computed is None:
            self._computed = bin_shares(*self._parts).flatten(2)
        return self._computed

    def applied_to(self, weight: Tensor) -> Tensor:  # weight shape: (n_members, n_units, n_numbers * n_bins)
        """Return the products with a matrix of each member, shape (n_members, n_samples, n_units)."""
        if not (torch.is_grad_enabled() and weight.requires_grad) or any(t.requires_grad for t in self._parts):
            return torch.bmm(self.value, weight.mT)
        out: Tensor = _Products.apply(*self._parts, weight)  # type: ignore[no-untyped-call]
        return out


class _Products(torch.autograd.Function):
    """Products of encodings with matrices, with the gradient of the latter."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, edges: Tensor, inverse_widths: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(z, edges, inverse_widths)
        ctx.key = id(weight)
        out = z.new_empty(*z.shape[:2], weight.shape[1])
        for members, shares in _in_turn(z, edges, inverse_widths):
            torch.bmm(shares, weight[members].mT, out=out[members])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, Tensor]:
        (grad,), (z, edges, inverse_widths) = grads, ctx.saved_tensors
        out = place_of_gradient(ctx.key, grad, len(z), grad.shape[2], edges[0].numel())
        for members, shares in _in_turn(z, edges, inverse_widths):
            torch.bmm(grad[members].mT, shares, out=out[members])
        return None, None, None, out


def _in_turn(z: Tensor, edges: Tensor, inverse_widths: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Iterate over some members at a time and their encodings, which the next ones overwrite.

    There are two members at least, as kernels for one matrix round in another way than those for several.
    """
    n_members, (n_samples, n_numbers), n_bins = len(z), z.shape[1:], edges.shape[2]
    at_a_time = max(2, _IN_CACHE // max(1, n_samples * n_numbers * n_bins * z.element_size()))
    n_parts = max(1, min(-(-n_members // at_a_time), n_members // 2))
    ends = [n_members * i // n_parts for i in range(n_parts + 1)]
    room = z.new_empty(-(-n_members // n_parts), n_samples, n_numbers, n_bins)
    for start, stop in pairwise(ends):
        members, out = slice(start, stop), room[: stop - start]
        torch.sub(z[members].unsqueeze(-1), edges[members].unsqueeze(1), out=out)
        yield members, out.mul_(inverse_widths[members].unsqueeze(1)).clamp_(0, 1).flatten(2)
