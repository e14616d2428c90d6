"""The mean of the latest states of a run (LAWA; Kaddour, 2022)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from skfusion.average._base import Accumulator, Average, Running, Unit, check_every, summed
from skfusion.state import State, copy


@dataclass(eq=False, repr=False)
class Latest(Average):
    r"""Average the latest states with equal weights (latest weight averaging, LAWA).

    .. math:: \bar\theta_n = \frac{1}{k} \sum_{i = n - k + 1}^{n} \theta_i

    Parameters
    ----------
    last : int, default=6
        How many states are averaged, k; all while there are fewer. More average over more noise, and over older states.
    every : int, default=1
        Steps or epochs from one state to the next.
    unit : {"step", "epoch"}, default="epoch"
        What is counted.

    Notes
    -----
    Costs k copies of the state. The schedule of the learning rate is the net's own.

    References
    ----------
    Kaddour, "Stop wasting my time! Saving days of ImageNet and BERT training with latest weight averaging", 2022,
    arXiv:2209.14981.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import Latest
    >>> run = [{"w": torch.tensor([float(i)])} for i in range(1, 9)]
    >>> Latest(last=3).of(run)["w"].item()
    7.0
    """

    last: int = 6
    every: int = 1
    unit: Unit = "epoch"

    def begin(self, total: int) -> _Queue:
        """Return a queue of states; see :meth:`Average.begin`."""
        self._check_unit()
        check_every(self.every)
        if not isinstance(self.last, Integral) or self.last < 1:
            raise ValueError(f"last is the number of states that are averaged, at least 1; got {self.last!r}.")
        return _Queue(self.last, self.every)

    def coefficients(self, n: int) -> list[float]:
        """Return equal shares of the latest states; see :meth:`Average.coefficients`."""
        queue = self.begin(self._total(n))
        entering = [i for i, number in enumerate(self._numbers(n)) if queue.enters(number)][-self.last :] or [n - 1]
        return [(i in entering) / len(entering) for i in range(n)]

    def shortfall(self, n: int) -> str | None:
        """Return a sentence where there were fewer states; see :meth:`Average.shortfall`."""
        if n >= self.last:
            return None
        return (
            f"Latest(last={self.last}) averages {self.last} states, and there were {n}. Train longer, or take a "
            "smaller last or every."
        )

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"last": 2}
        yield {"last": 3, "every": 2, "unit": "step"}


class _Queue(Running):
    """Keeps copies of the latest states."""

    def __init__(self, last: int, every: int):
        self.states: deque[State] = deque(maxlen=last)
        self.every = every

    def enters(self, number: int) -> bool:
        return number > 0 and number % self.every == 0

    def update(self, number: int, state: State) -> None:
        if self.enters(number):
            self.states.append(copy(summed(state)))
            self.n = len(self.states)

    def result(self) -> State:
        total = Accumulator()
        for state in self.states:
            total.mix(1, state, 1)
        return total.mean()
