"""The mean of the late states of a run: SWA, tail averaging and Polyak averaging."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from skfusion.average._base import Accumulator, Average, Running, Unit, check_every
from skfusion.state import State


@dataclass(eq=False, repr=False)
class Mean(Average):
    r"""Average all states after a burn-in with equal weights.

    .. math:: \bar\theta = \frac{1}{|I|} \sum_{i \in I} \theta_i, \qquad I = \{i \ge b : c \mid i - b\}

    with a burn-in of b steps or epochs and every c-th state. Over epochs it is stochastic weight averaging (SWA), over
    the steps of a second half tail averaging, and over all steps Polyak and Ruppert's.

    Parameters
    ----------
    burn_in : float or int, default=0.75
        A share of the steps or epochs of the run, from 0 to 1, or as an int the first step or epoch that counts, from
        1. The state just before that step counts too; over epochs the first state is that after it. A later one leaves
        worse states out, and averages fewer.
    every : int, default=1
        Steps or epochs from one state to the next.
    unit : {"step", "epoch"}, default="step"
        What is counted.

    Notes
    -----
    Costs a copy of the state in double precision and one in single, to which every c-th step adds. The learning
    rate is the net's own; the usual SWA keeps it high while it averages.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
    Optimization 30(4), 1992, doi:10.1137/0330046. Izmailov et al., "Averaging weights leads to wider optima and better
    generalization", UAI 2018, arXiv:1803.05407. Jain et al., "Parallelizing stochastic gradient descent for least
    squares regression", JMLR 18, 2018, arXiv:1610.03774.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import Mean
    >>> run = [{"w": torch.tensor([float(i)])} for i in range(9)]
    >>> Mean(burn_in=0.5).of(run)["w"].item()
    6.0
    """

    burn_in: float = 0.75
    every: int = 1
    unit: Unit = "step"

    def begin(self, total: int) -> _RunningMean:
        """Return a running mean; see :meth:`Average.begin`."""
        self._check_unit()
        check_every(self.every)
        check_burn_in(self.burn_in, self.unit)
        return _RunningMean(self, burn_in_of(self.burn_in, total) + (self.unit == "epoch"))

    def coefficients(self, n: int) -> list[float]:
        """Return equal shares of the states that count, or all of the last one; see :meth:`Average.coefficients`."""
        running = self.begin(self._total(n))
        entering = [running.enters(number) for number in self._numbers(n)]
        return [e / sum(entering) for e in entering] if any(entering) else [*[0.0] * (n - 1), 1.0]

    def shortfall(self, n: int) -> str | None:
        """Return a sentence where one state was averaged; see :meth:`Average.shortfall`."""
        if n > 1 or self.leaves_the_last:
            return None
        return (
            f"The mean was of one state, with burn_in={self.burn_in} and every={self.every}. Train longer, or take a "
            "smaller burn_in or every."
        )

    @property
    def leaves_the_last(self) -> bool:
        """Whether all is burn-in, so that the last state is asked for."""
        return isinstance(self.burn_in, float) and self.burn_in == 1

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"burn_in": 0.5}
        yield {"burn_in": 3, "every": 2, "unit": "epoch"}


class _RunningMean(Running):
    """Adds states up, from the first one on."""

    def __init__(self, average: Mean, first: int):
        self.average, self.first, self.seen = average, first, 0
        self.kept = Accumulator()

    def enters(self, number: int) -> bool:
        return number >= self.first and (number - self.first) % self.average.every == 0

    def update(self, number: int, state: State) -> None:
        self.seen = number
        if self.enters(number):
            self.kept.mix(1, state, 1)
            self.n += 1

    def shortfall(self) -> str | None:
        if self.n or self.average.leaves_the_last:
            return None
        unit = self.average.unit
        return (
            f"Nothing was averaged: with burn_in={self.average.burn_in} the mean begins at {unit} "
            f"{self.first + (unit == 'step')}, and the run ended after {self.seen} {unit}s; its last state is taken. "
            "Train longer, take a smaller burn_in, or give it as a share, such as 0.5."
        )

    def result(self) -> State:
        return self.kept.mean()


def burn_in_of(burn_in: float, total: int) -> int:
    """Return how many of ``total`` epochs or steps are burn-in; this is what ``burn_in`` means everywhere.

    A float from 0 to 1 is a share of the epochs that the net is trained for (``max_epochs``), or of the steps in these
    epochs where states are averaged step by step, and is rounded down. An int is the number of the first epoch or step
    that counts, from 1.
    """
    return burn_in - 1 if isinstance(burn_in, Integral) and burn_in else int(burn_in * total)


def check_burn_in(burn_in: float, unit: str = "step") -> None:
    """Raise where a burn-in is neither a share nor the number of a step or an epoch."""
    counted = isinstance(burn_in, Integral)
    if isinstance(burn_in, bool) or not (burn_in >= 1 if counted else isinstance(burn_in, Real) and 0 <= burn_in <= 1):
        an = "an epoch" if unit == "epoch" else "a step"
        raise ValueError(
            f"burn_in is a share of the {unit}s, a float between 0 and 1, or {an}, an int of at least 1; got "
            f"{burn_in!r}."
        )
