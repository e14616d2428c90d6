"""Dropout that draws few random numbers, of which ``torch.nn.Dropout`` draws one for each unit.

These take longer than the products of a layer of a hundred units with its weights. Here 64 random bits are enough for
four units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skfusion._vectorized._kernels import generators_of
from skfusion._vectorized._members import Members

_LEVELS = 2**16


class FewBitsDropout(nn.Dropout):
    """Dropout of single units, by 16 random bits each.

    The probability is rounded to a multiple of 1 / 65536, and what is left is scaled by one over the share that is
    kept on average. In vectorized training each member draws from its own generator, as it would alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the units, of which some are zero and the others scaled up in training."""
        n_dropped = round(self.p * _LEVELS)
        if not self.training or not n_dropped:
            return input
        if not isinstance(input, Members):
            return input * _mask(_bits(input, [None])[0], input, n_dropped)
        value = input.value
        bits = _bits(value[0], generators_of(input))
        return Members(value * _mask(bits, value, n_dropped))


def _bits(like: Tensor, generators: Sequence[torch.Generator | None]) -> Tensor:
    """Return 16 random bits from each generator for each number, shape (n_generators, ...)."""
    n_draws = -(-like.numel() // 4)
    draws = torch.empty(len(generators), n_draws, dtype=torch.int64, device=like.device)
    for row, generator in zip(draws, generators, strict=True):
        row.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    return draws.view(torch.int16)[:, : like.numel()].reshape(-1, *like.shape)


def _mask(bits: Tensor, like: Tensor, n_dropped: int) -> Tensor:
    """Return the factor of each unit: zero, or one over the share of units that are kept."""
    if n_dropped == _LEVELS:
        return torch.zeros_like(like)
    mask = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    torch.ge(bits, n_dropped - _LEVELS // 2, out=mask)
    return mask.mul_(_LEVELS / (_LEVELS - n_dropped))
