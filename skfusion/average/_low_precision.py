"""The mean of the late states of a run whose weights are numbers of few bits: SWALP (Yang et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import real
from skfusion.average._base import Average, Running, Unit, wide_dtype
from skfusion.average._mean import Mean
from skfusion.state import State


@dataclass(eq=False, repr=False)
class LowPrecision(Average):
    r"""Train with weights of few bits, and average late states in full precision (SWALP).

    After every step each weight is rounded up or down at random to a multiple of a gap :math:`\delta`, so that its
    expectation stays what it was,

    .. math:: Q(w) = \delta \left\lfloor \frac{w}{\delta} + u \right\rfloor, \qquad u \sim U[0, 1), \qquad
        \bar\theta = \frac{1}{|I|} \sum_{i \in I} Q(\theta_i), \qquad I = \{i \ge b : c \mid i - b\}

    and from a burn-in of b on every c-th state enters a mean of equal weights.

    Parameters
    ----------
    burn_in : float or int, default=0.75
        A share of the steps or epochs of the run, or as an int the first step or epoch that counts, as in
        :class:`Mean`.
    every : int, default=1
        Steps or epochs from one state to the next.
    unit : {"step", "epoch"}, default="step"
        What is counted. Weights are rounded after every step in either case.
    word_length : int, default=8
        Bits of a weight, its sign included, from 2 to 24. With fewer the steps are noisier.
    fraction : int, optional
        How many of the bits stand behind the binary point: fixed-point numbers, of the gap
        :math:`\delta = 2^{-\mathrm{fraction}}`, clipped to what the word length holds. When omitted, numbers are of
        block floating point: the weights of a block share the smallest power of two as a gap that lets the word length
        hold the largest of them.
    block : {"tensor", "row"}, default="tensor"
        What a block is: a tensor, or what belongs to one index of its first axis, such as the weights of a unit. A
        tensor with one axis, such as of biases, is one block in either case.

    Notes
    -----
    Costs what :class:`Mean` costs, and a random number for each weight and step. The run itself changes, so that it
    is trained alone and not vectorized. The random numbers follow from the seed of the run. Weights are rounded and
    nothing else: SWALP may round activations, gradients and the momentum, too. Frozen parameters and buffers, such as
    BatchNorm's statistics, stay as they are.

    The code of the paper takes as a gap the largest power of two up to the largest weight over
    :math:`2^{w - 2}`, with words of w bits, which clips a weight within a gap of the next power of two. Here no weight
    of a block is clipped, so that rounding has no bias.

    References
    ----------
    Yang et al., "SWALP: stochastic weight averaging in low-precision training", ICML 2019, arXiv:1904.11943.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import LowPrecision
    >>> run = [{"w": torch.tensor([float(i)])} for i in range(9)]
    >>> average = LowPrecision(burn_in=0.5, word_length=4, fraction=1)
    >>> average.of(run)["w"].item()
    6.0
    >>> weight = torch.tensor([0.2, 1.5, 7.0])
    >>> average.begin(8).rewrite([weight])  # halves, from -4 to 3.5
    >>> weight[1:].tolist()
    [1.5, 3.5]
    """

    burn_in: float = 0.75
    every: int = 1
    unit: Unit = "step"
    word_length: int = 8
    fraction: int | None = None
    block: Literal["tensor", "row"] = "tensor"

    changes_run: ClassVar[bool] = True

    def _mean(self) -> Mean:
        return Mean(self.burn_in, self.every, self.unit)

    def begin(self, total: int) -> _Rounding:
        """Return what rounds weights, and averages them; see :meth:`Average.begin`."""
        if not isinstance(self.word_length, Integral) or not 2 <= self.word_length <= 24:
            raise ValueError(f"word_length is a number of bits, from 2 to 24; got {self.word_length!r}.")
        if self.fraction is not None and not isinstance(self.fraction, Integral):
            raise ValueError(
                f"fraction is the number of bits behind the binary point, or None for block floating point; got "
                f"{self.fraction!r}."
            )
        if self.block not in ("tensor", "row"):
            raise ValueError(f"block must be 'tensor' or 'row'; got {self.block!r}.")
        return _Rounding(self, self._mean().begin(total))

    def coefficients(self, n: int) -> list[float]:
        """Return equal shares of the states that count, or all of the last one; see :meth:`Average.coefficients`."""
        return self._mean().coefficients(n)

    def shortfall(self, n: int) -> str | None:
        """Return a sentence where one state was averaged; see :meth:`Average.shortfall`."""
        return self._mean().shortfall(n)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"burn_in": 0.5}
        yield {"burn_in": 3, "every": 2, "unit": "epoch", "fraction": 6, "block": "row"}


class _Rounding(Running):
    """Rounds the weights of a run, and keeps the mean of its late states."""

    def __init__(self, average: LowPrecision, mean: Running):
        self.average, self.mean = average, mean
        self.seed: int | None = None
        self.n_rounded = 0

    @property
    def n(self) -> int:  # type: ignore[override]
        """States that have entered."""
        return self.mean.n

    def rewrite(self, weights: Sequence[Tensor]) -> None:
        # Each time has a generator of its own, so that a run which goes on elsewhere draws what it would have drawn.
        self.seed = torch.initial_seed() if self.seed is None else self.seed
        seed = int(np.random.SeedSequence((self.seed, self.n_rounded)).generate_state(1, np.uint64)[0]) >> 1
        self.n_rounded += 1
        generators: dict[torch.device, torch.Generator] = {}
        average = self.average
        with torch.no_grad():
            for weight in weights:
                numbers = real(weight)
                if weight.device not in generators:
                    generators[weight.device] = torch.Generator(weight.device).manual_seed(seed)
                generator = generators[weight.device]
                if average.fraction is None:
                    rounded = block_floating_point(numbers, average.word_length, average.block, generator)
                else:
                    rounded = fixed_point(numbers, average.word_length, average.fraction, generator)
                numbers.copy_(rounded)

    def update(self, number: int, state: State) -> None:
        self.mean.update(number, state)

    def shortfall(self) -> str | None:
        return self.mean.shortfall()

    def result(self) -> State:
        return self.mean.result()


def fixed_point(x: Tensor, word_length: int, fraction: int, generator: torch.Generator) -> Tensor:
    """Return numbers rounded at random to multiples of a power of two, and clipped to those of the word length."""
    rounded = stochastically_rounded(x.to(wide_dtype(x)) * 2.0**fraction, generator)
    most = 2.0 ** (word_length - 1)
    return rounded.clamp_(-most, most - 1) * 2.0**-fraction


def block_floating_point(
    x: Tensor, word_length: int, block: Literal["tensor", "row"], generator: torch.Generator
) -> Tensor:
    """Return numbers rounded at random to multiples of the gap of their block."""
    gap = gap_of(x, word_length, block)
    return stochastically_rounded(x.to(gap) / gap, generator) * gap


def gap_of(x: Tensor, word_length: int, block: Literal["tensor", "row"]) -> Tensor:
    """Return the smallest power of two of which the largest number of a block is no more than the word length holds.

    It has the shape of x with axes of length 1, and is 1 for a block of zeros.
    """
    axes = range(1 if block == "row" and x.dim() > 1 else 0, x.dim())
    sizes = x.to(wide_dtype(x)).abs()
    sizes = sizes.amax(dim=[*axes], keepdim=True) if x.dim() else sizes
    share, exponent = torch.frexp(sizes / (2 ** (word_length - 1) - 1))  # share times two to the exponent
    exponent = exponent - (share == 0.5).to(exponent)
    return torch.where(sizes > 0, torch.ldexp(torch.ones_like(sizes), exponent), torch.ones_like(sizes))


def stochastically_rounded(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return whole numbers above or below, the nearer the likelier, so that the expectation is x."""
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.floor(x + noise)
