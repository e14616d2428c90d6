"""The mean of every step of a valley of the validation loss: stochastic weight averaging densely (Cha et al., 2021)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from numbers import Integral, Real
from typing import Any, ClassVar

from skfusion.average._base import Accumulator, Average, Running, summed
from skfusion.state import State, copy, weighted_sum


@dataclass(eq=False, repr=False)
class Dense(Average):
    r"""Average every step from where the validation loss stops to fall to where it has risen (SWAD).

    Of the validation losses :math:`\ell_1, \ell_2, ...` after each epoch the start s is the first one that is the
    lowest of the :math:`N_s` losses from it on. It sets a threshold, and the end e is the last one before the first
    :math:`N_e` losses in a row that are above it, or the last of the run:

    .. math:: \tau = \bar\ell + r\, |\bar\ell|, \qquad
        \bar\ell = \frac{1}{N_s} \sum_{j = s}^{s + N_s - 1} \ell_j, \qquad
        \bar\theta = \frac{1}{|I|} \sum_{i \in I} \theta_i

    where I are all steps from the end of epoch s, whose state counts, to the end of epoch e.

    Parameters
    ----------
    n_start : int, default=3
        Losses in a row of which the oldest must be the lowest, :math:`N_s`. With more it begins later, and surer.
    n_end : int, default=6
        Losses in a row that must be above the threshold, :math:`N_e`. With more it overlooks longer rises.
    tolerance : float, default=0.3
        How far above the mean at the start the threshold is, as a share of it, r.

    Notes
    -----
    Costs at most the larger of ``n_start`` and ``n_end`` copies of the state in double precision and as many in
    single, one for each epoch of which it is not known yet whether it counts, and one more. The net must validate,
    by its ``train_split``. Where the loss falls to the end, the steps of the last epoch are averaged, and this is
    said.

    The paper's code leaves the segment out at which the loss converged wherever another one follows, and may begin
    with segments before it; the paper, and this class, do neither. The threshold for losses below 0, such as
    likelihoods of values, is not of the paper, for which it would lie below the losses that it is made of.

    References
    ----------
    Cha et al., "SWAD: domain generalization by seeking flat minima", NeurIPS 2021, arXiv:2102.08604.

    Examples
    --------
    >>> import torch
    >>> from skfusion.average import Dense
    >>> run = [{"w": torch.tensor([float(i)])} for i in range(13)]  # six epochs of two steps
    >>> Dense(n_start=2, n_end=2).of(run, [5.0, 1.0, 1.1, 1.2, 1.5, 1.6])[
    ...     "w"
    ... ].item()  # from step 4 to step 8
    6.0
    """

    n_start: int = 3
    n_end: int = 6
    tolerance: float = 0.3

    needs_validation: ClassVar[bool] = True

    def begin(self, total: int) -> _Valley:
        """Return what looks for the valley; see :meth:`Average.begin`."""
        for name in ("n_start", "n_end"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} is a number of validation losses in a row, at least 1; got {value!r}.")
        if not isinstance(self.tolerance, Real) or not self.tolerance >= 0:
            raise ValueError(f"tolerance is a share of the loss, at least 0; got {self.tolerance!r}.")
        return _Valley(self)

    def coefficients(self, n: int, losses: Sequence[float] | None = None) -> list[float]:
        """Return equal shares of the states that count; see :meth:`Average.coefficients`.

        Parameters
        ----------
        n : int
            States, of a run of n - 1 steps.
        losses : sequence of float
            The validation loss after each epoch.

        Returns
        -------
        list of float
            In the order of the states, with a sum of one.
        """
        first, last = self._window(n, losses)
        return [(first <= i <= last) / (last - first + 1) for i in range(n)]

    def of(self, states: Sequence[State], losses: Sequence[float] | None = None) -> State:
        """Return the average of a stored trajectory, by its validation losses; see :meth:`Average.of`.

        Parameters
        ----------
        states : sequence of State
            The state before the first step, and those after all steps of epochs of equal length.
        losses : sequence of float
            The validation loss after each epoch.

        Returns
        -------
        State
            Floating-point tensors are averaged in double precision; of others the largest is kept.
        """
        return weighted_sum(states, self.coefficients(len(states), losses))

    def _window(self, n: int, losses: Sequence[float] | None) -> tuple[int, int]:
        """Return the numbers of the first and the last state that count."""
        self.begin(n)
        n_steps, n_epochs = n - 1, 0 if losses is None else len(losses)
        if n_steps == 0:
            return 0, 0
        if losses is None or not n_epochs or n_steps % n_epochs:
            raise ValueError(
                f"{self!r} finds its start and its end on the validation loss after each epoch: give losses=[...], one "
                f"for each epoch of equally many steps; got {n_epochs} of them for {n_steps} steps."
            )
        per_epoch = n_steps // n_epochs
        valley = valley_of([float(loss) for loss in losses], self)
        if valley is None:
            return n_steps - per_epoch + 1, n_steps
        return valley[0] * per_epoch, valley[1] * per_epoch

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"n_start": 1, "n_end": 1, "tolerance": 0.5}
        yield {"n_start": 4, "n_end": 2}


class _Valley(Running):
    """Keeps the sum of the states that count for certain, and those of the epochs of which it is not known yet."""

    def __init__(self, average: Dense):
        self.average = average
        self.open = _Segment()  # the epoch that is going on
        self.waiting: deque[_Segment] = deque()  # epochs that have ended
        self.total: _Segment | None = None  # since the start is known
        self.threshold, self.dead, self.epochs = math.inf, False, 0

    @property
    def n(self) -> int:  # type: ignore[override]
        """States that have entered."""
        return sum(segment.n for segment in self._counting())

    def _counting(self) -> list[_Segment]:
        """Return the segments that count if the run ends here."""
        if self.total is not None:
            return [self.total, *self.waiting, self.open]
        return [self.waiting[-1] if self.waiting else self.open]

    def update(self, number: int, state: State) -> None:
        if number > 0 and not self.dead:
            self.open.add(state)

    def validated(self, loss: float, state: State) -> None:
        if self.dead:
            return
        self.epochs += 1
        self.open.loss = loss
        self.waiting.append(self.open)
        self.open = _Segment()
        if self.total is None:
            self._look_for_the_start(state)
        else:
            self._look_for_the_end(self.total)

    def _look_for_the_start(self, state: State) -> None:
        n_start = self.average.n_start
        self.waiting[-1].end = copy(summed(state))
        losses = [segment.loss for segment in self.waiting][-n_start:]
        while len(self.waiting) > n_start:
            self.waiting.popleft()
        if is_start(losses, n_start):
            self.threshold = threshold_of(losses, self.average.tolerance)
            self.total = _Segment()
            self.total.add(self.waiting.popleft().end)
            for segment in self.waiting:
                segment.end = {}
            self._settle(self.total)

    def _look_for_the_end(self, total: _Segment) -> None:
        n_end = self.average.n_end
        if len(self.waiting) >= n_end and all(self._above(s) for s in [*self.waiting][-n_end:]):
            self.dead = True
            for _ in range(n_end):
                self.waiting.pop()
        self._settle(total)

    def _settle(self, total: _Segment) -> None:
        """Add what counts whatever comes: all but the latest losses in a row that are above the threshold."""
        above = list(takewhile(self._above, reversed(self.waiting)))
        n_open = 0 if self.dead else min(len(above), self.average.n_end - 1)
        while len(self.waiting) > n_open:
            total.join(self.waiting.popleft())

    def _above(self, segment: _Segment) -> bool:
        return is_above(segment.loss, self.threshold)

    def shortfall(self) -> str | None:
        if self.total is not None:
            return None
        return (
            f"{self.average!r} found no start in {self.epochs} epochs: the validation loss was never the lowest of "
            f"{self.average.n_start} in a row from it on, and the {self.n} states of the last epoch are averaged. "
            "Train longer, or take a smaller n_start."
        )

    def result(self) -> State:
        whole = _Segment()
        for segment in self._counting():
            whole.join(segment)
        return whole.kept.mean()


class _Segment:
    """A sum of states, how many they are, and, of an epoch, its validation loss and its last state."""

    def __init__(self) -> None:
        self.kept, self.n, self.loss = Accumulator(), 0, math.inf
        self.end: State = {}

    def add(self, state: State) -> None:
        self.kept.mix(1, state, 1)
        self.n += 1

    def join(self, other: _Segment) -> None:
        if other.n:
            self.kept.mix(1, other.kept.mean(), other.n)
            self.n += other.n


def valley_of(losses: Sequence[float], average: Dense) -> tuple[int, int] | None:
    """Return the epochs, from 1, at whose ends the valley begins and ends; None where the loss has not converged."""
    n_start, n_end = average.n_start, average.n_end
    starts = (j for j in range(len(losses)) if is_start(losses[j : j + n_start], n_start))
    start = next(starts, None)
    if start is None:
        return None
    threshold = threshold_of(losses[start : start + n_start], average.tolerance)
    for i in range(start + n_start, len(losses)):
        if i + 1 >= n_end and all(is_above(loss, threshold) for loss in losses[i + 1 - n_end : i + 1]):
            return start + 1, i + 1 - n_end
    return start + 1, len(losses)


def is_start(losses: Sequence[float], n: int) -> bool:
    """Return whether the oldest of n losses is the lowest; a loss that is NaN or infinite has not converged."""
    return len(losses) == n and all(map(math.isfinite, losses)) and losses[0] == min(losses)


def threshold_of(losses: Sequence[float], tolerance: float) -> float:
    """Return the loss above which the valley ends: a share of the mean above the mean, also of losses below 0."""
    mean = math.fsum(losses) / len(losses)
    return mean + tolerance * abs(mean)


def is_above(loss: float, threshold: float) -> bool:
    """Return whether a loss is above a threshold; NaN is."""
    return not loss <= threshold
