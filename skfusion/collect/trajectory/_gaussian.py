"""The Gaussian of the states of a run, by its mean, variances and latest deviations, and draws from it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

import torch
from torch import Tensor

from skfusion._numbers import is_finite, is_summed, real
from skfusion.state import State, copy, owners

_DOUBLE = torch.float64


class Gaussian:
    """Mean, variances and the last ``rank`` deviations from the running mean, in double precision on the CPU.

    Tied tensors are kept once, and complex numbers as two real ones. What is not finite from the start, such as a mask,
    is left out.
    """

    def __init__(self, rank: int):
        self.n = 0
        self.names: list[str] = []
        self.mean: list[Tensor] = []
        self.square: list[Tensor] = []  # sums of squared deviations
        self.deviations: deque[list[Tensor]] = deque(maxlen=rank)

    def update(self, state: State) -> None:
        """Let a state enter; its tensors are not kept."""
        if not self.n:
            self.names = [k for k, owner in owners([state]).items() if owner == k and _varies(state[k])]
        values = [real(state[k]).to("cpu", _DOUBLE, copy=not self.n) for k in self.names]
        self.n += 1
        if self.n == 1:
            self.mean, self.square = values, [torch.zeros_like(v) for v in values]
            self.deviations.append([torch.zeros_like(v) for v in values])
            return
        # By differences from the mean so far (Welford), as the mean of the squares less the square of the mean may be
        # below zero, and is not zero where nothing has moved.
        gaps = [*torch._foreach_sub(values, self.mean)]
        torch._foreach_add_(self.mean, gaps, alpha=1 / self.n)
        rest = 1 - 1 / self.n  # of a gap, once the state is in the mean
        torch._foreach_addcmul_(self.square, gaps, gaps, value=rest)
        if self.deviations.maxlen:
            torch._foreach_mul_(gaps, rest)
            self.deviations.append(gaps)

    def draw(self, like: State, scale: float, drawn: Collection[str], generator: torch.Generator) -> State:
        """Return a copy of ``like`` with a draw in the place of the tensors ``drawn``, and the mean in that of others.

        The covariance is ``scale`` times the diagonal of variances, plus the mean product of the deviations. Tensors
        that the Gaussian does not know stay as they are.
        """
        state, K = copy(like), len(self.deviations)
        common = torch.randn(K, generator=generator, dtype=_DOUBLE) / math.sqrt(max(K - 1, 1))
        for i, (name, mean, square) in enumerate(zip(self.names, self.mean, self.square, strict=True)):
            value = mean
            if name in drawn:
                noise = torch.randn(mean.shape, generator=generator, dtype=_DOUBLE) * (square / self.n).sqrt()
                for z, deviation in zip(common.tolist(), self.deviations, strict=True):
                    noise.add_(deviation[i], alpha=z)
                value = mean + math.sqrt(scale) * noise
            target = state[name.replace("_orig_mod.", "")]  # the prefix of torch.compile, which ``like`` is without
            target.copy_(torch.view_as_complex(value) if target.is_complex() else value)
        return state


def _varies(tensor: Tensor) -> bool:
    return is_summed(tensor) and is_finite(tensor)
