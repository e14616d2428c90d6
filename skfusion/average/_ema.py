"""Exponential moving averages of the states of a run (EMA)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

from skfusion.average._base import Accumulator, Average, Running, Unit, check_every
from skfusion.state import State


@dataclass(eq=False, repr=False)
class EMA(Average):
    r"""Average states with weights that fall exponentially with their age.

    Of the states :math:`\theta_1, \theta_2, ...` after every step, with a decay :math:`\beta`,

    .. math:: e_n = \beta_n e_{n - 1} + (1 - \beta_n)\, \theta_n, \qquad
        \beta_n = \beta \quad\text{or}\quad \min\Bigl(\beta, \frac{1 + n}{10 + n}\Bigr)

    the latter with ``warm_up``. With bias correction :math:`e_0 = 0`, and what comes out is :math:`e_n` over the sum of
    its weights, which is :math:`1 - \beta^n` for a constant decay. Without it :math:`e_1 = \theta_1`, which counts for
    :math:`\beta^{n - 1}`.

    Parameters
    ----------
    decay : float, default=0.999
        From 0, which keeps the last state, to below 1. About the last 1 / (1 - decay) states count.
    every : int, default=1
        Steps or epochs from one state to the next.
    unit : {"step", "epoch"}, default="step"
        What is counted.
    warm_up : bool, default=False
        Begin with a smaller decay, so that the first states are forgotten sooner.
    bias_correction : bool, default=True
        Let the weights sum to one without the first state being given more than its share.

    Notes
    -----
    Costs a copy of the state in double precision and one in single. A run of fewer than 1 / (1 - decay) states is
    averaged nearly as a whole: this warns. Statistics of BatchNorm are averaged like weights while the run goes;
    what trains the run estimates them for the average afterwards.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
    Optimization 30(4), 1992, doi:10.1137/0330046. Tarvainen and Valpola, "Mean teachers are better role models",
    NeurIPS 2017, arXiv:1703.01780. Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015,
    arXiv:1412.6980 (bias correction).

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import EMA
    >>> run = [
    ...     {"w": torch.tensor([value])} for value in (9.0, 0.0, 3.0)
    ... ]  # before the first step, and after two
    >>> EMA(decay=0.5).of(run)["w"].item()
    2.0
    """

    decay: float = 0.999
    every: int = 1
    unit: Unit = "step"
    warm_up: bool = False
    bias_correction: bool = True

    def begin(self, total: int) -> Running:
        """Return a running average; see :meth:`Average.begin`."""
        self._check_unit()
        check_every(self.every)
        if not isinstance(self.decay, Real) or not 0 <= self.decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1; got {self.decay!r}.")
        return _RunningEMA(self)

    def coefficients(self, n: int) -> list[float]:
        """Return the weights, which fall with age; see :meth:`Average.coefficients`."""
        running = _RunningEMA(self)
        weights: list[float] = []
        for number in self._numbers(n):
            keep, share = running.factors() if running.enters(number) else (1.0, 0.0)
            weights = [*(keep * w for w in weights), share]
            running.n += running.enters(number)
        total = sum(weights)
        return [w / total for w in weights] if total else [*[0.0] * (n - 1), 1.0]

    def shortfall(self, n: int) -> str | None:
        """Return a sentence where the run was shorter than the average's window; see :meth:`Average.shortfall`."""
        if n < 2 and self.every > 1:
            return f"{self!r} had at most one state to average. Train longer, or take a smaller every."
        window = 1 / (1 - self.decay)
        if self.warm_up or n >= window:
            return None
        return (
            f"EMA(decay={self.decay:g}) averages about the last {window:.0f} states, and there were {n}, nearly all of "
            "which are averaged. Take a smaller decay, warm_up=True, or train longer."
        )

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"decay": 0.8}
        yield {"decay": 0.7, "unit": "epoch", "every": 2, "bias_correction": False}
        yield {"decay": 0.9, "warm_up": True}


class _RunningEMA(Running):
    """Keeps the weighted mean of the states."""

    def __init__(self, average: EMA):
        self.average, self.kept = average, Accumulator()

    def enters(self, number: int) -> bool:
        return number > 0 and number % self.average.every == 0

    def factors(self) -> tuple[float, float]:
        """Return what the sum is multiplied by, and how much the next state counts."""
        decay, n = self.average.decay, self.n + 1
        if n == 1 and not self.average.bias_correction:
            return 0.0, 1.0
        decay = min(decay, (1 + n) / (10 + n)) if self.average.warm_up else decay
        return decay, 1 - decay

    def update(self, number: int, state: State) -> None:
        if self.enters(number):
            keep, share = self.factors()
            self.kept.mix(keep, state, share)
            self.n += 1

    def result(self) -> State:
        return self.kept.mean()
