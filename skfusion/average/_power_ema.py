"""Averages whose profile is a power of time, so that they grow with the run (Karras et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skfusion._power_profile import exponent_of
from skfusion.average._base import Accumulator, Average, Running, Unit, check_every
from skfusion.state import State


@dataclass(eq=False, repr=False)
class PowerEMA(Average):
    r"""Average states with weights that are a power of their time, so that the average's length is a share of the run.

    After step t, of which the last update was :math:`\Delta` steps before,

    .. math:: e \leftarrow \beta_t\, e + (1 - \beta_t)\, \theta_t, \qquad
        \beta_t = \Bigl(1 - \frac{\Delta}{t}\Bigr)^{\gamma + 1}

    which starts with :math:`\beta = 0`, so that no first state counts too much. The state of step s counts for
    :math:`(s^{\gamma + 1} - (s - \Delta)^{\gamma + 1}) / t^{\gamma + 1}`, a profile of :math:`s^\gamma`, whose standard
    deviation relative to the run is

    .. math:: \sigma = \frac{\sqrt{\gamma + 1}}{(\gamma + 2) \sqrt{\gamma + 3}}.

    Parameters
    ----------
    sigma : float, default=0.1
        Relative length, above 0 and at most 0.2887 (one over the root of 12, the plain mean). A longer one averages
        over more noise, and over older states.
    every : int, default=1
        Steps or epochs from one state to the next.
    unit : {"step", "epoch"}, default="step"
        What is counted.

    Notes
    -----
    Costs a copy of the state in double precision and one in single. Two of them, of different lengths, kept at
    several times, give the average of any other length after the training: :class:`~skfusion.merge.PostHocEMA`.

    References
    ----------
    Karras et al., "Analyzing and improving the training dynamics of diffusion models", CVPR 2024, arXiv:2312.02696.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import PowerEMA
    >>> run = [{"w": torch.tensor([i / 1000])} for i in range(1001)]  # each state is its time
    >>> round(PowerEMA(sigma=0.1).of(run)["w"].item(), 2)  # (gamma + 1) / (gamma + 2), with gamma = 6.937
    0.89
    """

    sigma: float = 0.1
    every: int = 1
    unit: Unit = "step"

    def begin(self, total: int) -> Running:
        """Return a running average; see :meth:`Average.begin`."""
        self._check_unit()
        check_every(self.every)
        return _RunningPower(exponent_of(self.sigma), self.every)

    def coefficients(self, n: int) -> list[float]:
        """Return the weights, a power of time; see :meth:`Average.coefficients`."""
        power, weights, before = exponent_of(self.sigma) + 1, [], 0
        last = max((i for i in self._numbers(n) if i and i % self.every == 0), default=0)
        if not last:
            return [*[0.0] * (n - 1), 1.0]
        for number in self._numbers(n):
            enters = number > 0 and number % self.every == 0
            weights.append((number / last) ** power - (before / last) ** power if enters else 0.0)
            before = number if enters else before
        return weights

    def shortfall(self, n: int) -> str | None:
        """Return a sentence where the average is of one state; see :meth:`Average.shortfall`."""
        if n > 1:
            return None
        return f"PowerEMA(every={self.every}) had one state to average. Train longer, or take a smaller every."

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"sigma": 0.2}
        yield {"sigma": 0.1, "every": 2, "unit": "epoch"}


class _RunningPower(Running):
    """Keeps the average, and when it was last updated."""

    def __init__(self, gamma: float, every: int):
        self.gamma, self.every, self.time, self.kept = gamma, every, 0, Accumulator()

    def update(self, number: int, state: State) -> None:
        if number > 0 and number % self.every == 0:
            decay = (self.time / number) ** (self.gamma + 1)
            self.kept.mix(decay, state, 1 - decay)
            self.time = number
            self.n += 1

    def result(self) -> State:
        return self.kept.mean()
