"""Scores of averages that grow by one member at a time.

Each class keeps a running sum of what its score needs of the members chosen so far, so that a candidate costs one pass
over that sum, and not a new average.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from skfusion._rows import Task
from skfusion.combine._predictions import HeldOut
from skfusion.data import scorer_of

SLACK = 1e-9
"""The rounding error that a bound on a lead may have."""

UNSURE = 1e-6
"""Differences of probabilities that single precision cannot tell apart."""

CHUNK = 65_536
"""Predictions that are worked on at a time, so that they stay in the processor's cache."""


class Running(ABC):
    """The average of the members that are chosen so far."""

    by_row: bool = True
    """Whether the score is a mean over rows."""
    best: float = 0.0
    """The score of a perfect prediction, from which the loss is counted."""

    @abstractmethod
    def restart(self) -> None:
        """Forget all that were chosen."""

    @abstractmethod
    def scores(self, members: np.ndarray) -> np.ndarray:
        """Return the score, higher is better, of the average with one more member, for each of ``members``."""

    @abstractmethod
    def add(self, member: int) -> None:
        """Choose a member, perhaps a second time."""

    def gains(self) -> np.ndarray:
        """Return each row's score in the present average, shape (n_samples,), higher is better."""
        raise NotImplementedError


class SumOfParts(Running):
    """An average that is kept as the sum of what its score needs of each member, ``parts``, and their number."""

    parts: np.ndarray

    def restart(self) -> None:
        self.total, self.n = np.zeros(self.parts.shape[1:]), 0

    def add(self, member: int) -> None:
        self.total = self.total + self.parts[member]
        self.n += 1


class LogLoss(SumOfParts):
    """The negative mean log-loss of classes or labels, which needs only the probability of the truth."""

    def __init__(self, held: HeldOut):
        self.parts = held.of_truth()
        self.n_rows = len(held.weight)
        self.weight = np.repeat(held.weight, self.parts.shape[1] // self.n_rows) if held.weighted else None
        self.restart()

    def scores(self, members: np.ndarray) -> np.ndarray:
        means = np.array([self._mean_log(self.total + self.parts[k]) for k in members])
        return means - np.log(self.n + 1)

    def gains(self) -> np.ndarray:
        return np.log(self.total / self.n).reshape(self.n_rows, -1).mean(axis=1)

    def _mean_log(self, sums: np.ndarray) -> float:
        np.log(sums, out=sums)
        return float(sums.mean() if self.weight is None else self.weight @ sums / self.weight.sum())


class Accuracy(Running):
    """The share of rows whose most probable class is the right one; of equally probable classes the first counts.

    How far one more member can move the lead of a class over the right one, in sums, is known beforehand, so a row, or
    a class of it, is settled where that is not enough. The others are compared in single precision, all candidates at
    a time; what is too close for that is decided by the sums themselves. A plain count of all rows takes 1.5 to 6 times
    as long (2 to 100 classes, 50 to 200 members), and one of the rows that are not settled up to 3.7 times.
    """

    def __init__(self, held: HeldOut):
        self.P, self.rows = held.P, np.argsort(held.y, kind="stable")
        self.y, self.weight = held.y[self.rows].astype(np.intp), held.weight[self.rows]
        self._right = self.y, np.arange(len(self.y))
        right = held.P[:, self.rows, self.y]
        self.gaps = _gaps(held.P, self.rows, right)
        self.least = held.P.min(axis=0)[self.rows].T.astype(np.float64) - right.max(axis=0)
        self.most = held.P.max(axis=0)[self.rows].T.astype(np.float64) - right.min(axis=0)
        self.least[self._right] = self.most[self._right] = -np.inf
        self.restart()

    def restart(self) -> None:
        self.total, self.lead, self.bound = np.zeros((3, *self.least.shape))
        self._settle()

    def scores(self, members: np.ndarray) -> np.ndarray:
        step = max(1, CHUNK // len(self.P))
        n_right = np.full(len(self.P), self.settled)
        for start in range(0, len(self.open), step):
            rows = self.open[start : start + step]
            n_right += self.weight[rows] @ self._right_with_each(rows)
        return n_right[members] / self.weight.sum()

    def add(self, member: int) -> None:
        self.total += np.ascontiguousarray(self.P[member].T).take(self.rows, axis=1)
        self._settle()

    def gains(self) -> np.ndarray:
        right = np.empty(len(self.y))
        right[self.rows] = self.total.argmax(axis=0) == self.y
        return right

    def _right_with_each(self, rows: np.ndarray) -> np.ndarray:
        """Return where the average with one more member is right, shape (n_samples, n_members)."""
        wins = np.ones((len(rows), len(self.P)), np.bool_)
        may_win, lead = self.may_win.take(rows, axis=1), self.lead.take(rows, axis=1)
        low, high = (-lead - UNSURE).astype(np.float32), (-lead + UNSURE).astype(np.float32)
        for c, places in enumerate(map(np.flatnonzero, may_win)):
            some = rows[places]
            gaps = self.gaps[c].take(some, axis=0)
            kept = gaps < low[c].take(places)[:, None]
            unsure = kept ^ (gaps <= high[c].take(places)[:, None])
            if unsure.any():
                i, k = np.nonzero(unsure)
                kept[i, k] = self._loses(c, some[i], k)
            wins[places] &= kept
        return wins

    def _loses(self, c: int, rows: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Return where a class has less than the right one, for rows with one more member each."""
        y, added = self.y[rows], self.P[members, self.rows[rows]].astype(np.float64)
        places = np.arange(len(rows))
        rival, right = self.total[c, rows] + added[:, c], self.total[y, rows] + added[places, y]
        return (rival < right) | ((rival == right) & (y < c))

    def _settle(self) -> None:
        """Find the rows and classes whose outcome one more member may change."""
        np.subtract(self.total, self.total[self._right], out=self.lead)
        self.may_win = np.add(self.lead, self.most, out=self.bound) >= -SLACK
        lost = np.add(self.lead, self.least, out=self.bound).max(axis=0) > SLACK
        won = ~self.may_win.any(axis=0)
        self.settled = self.weight[won].sum()
        self.open = np.flatnonzero(~(lost | won))


def _gaps(P: np.ndarray, rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return how far members put classes above the right one, shape (n_classes, n_samples, n_members), float32."""
    gaps = np.empty((P.shape[2], len(rows), len(P)), np.float32)
    step = max(1, CHUNK // (2 * P[:, 0].size))  # pieces that fit the cache
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        gaps[:, part] = (P[:, rows[part]] - right[:, part, None]).transpose(2, 1, 0)
    return gaps


class SquaredError(SumOfParts):
    """R2, or the negative mean squared error."""

    def __init__(self, held: HeldOut, relative: bool):
        scale = 1 / np.sqrt(held.variances()) if relative else 1.0
        self.parts = (held.errors() * scale).reshape(len(held.P), -1)
        self.n_rows, self.best = len(held.weight), 1.0 if relative else 0.0
        self.weight = np.repeat(held.weight, self.parts.shape[1] // self.n_rows)
        self.weight /= self.weight.sum()
        self.restart()

    def scores(self, members: np.ndarray) -> np.ndarray:
        squares = np.array([self.weight @ (self.total + self.parts[k]) ** 2 for k in members])
        return self.best - squares / (self.n + 1) ** 2

    def gains(self) -> np.ndarray:
        return -((self.total / self.n) ** 2).reshape(self.n_rows, -1).mean(axis=1)


class Scorer(SumOfParts):
    """Any other score: its scorer is called on the whole average each time."""

    by_row = False

    def __init__(self, held: HeldOut, scoring: Any):
        self.parts = held.P.astype(np.float64, copy=False)
        self.scoring, weight = scoring, held.weight if held.weighted else None
        self.scorer = scorer_of(scoring, held.y, weight, held.task, held.P.shape[2])
        self.restart()

    def scores(self, members: np.ndarray) -> np.ndarray:
        scores = np.array([self.scorer((self.total + self.parts[k]) / (self.n + 1)) for k in members])
        unknown = np.isnan(scores)
        if not self.n and unknown.any():
            if unknown.all():
                raise ValueError(f"scoring={self.scoring!r} gives NaN for every member; use another score.")
            warnings.warn(
                f"scoring={self.scoring!r} gives NaN for the members {members[unknown].tolist()}, so they rank last.",
                UserWarning,
                stacklevel=4,
            )
        return np.where(unknown, -np.inf, scores)


_R2 = partial(SquaredError, relative=True)
BY_ROW: dict[Task, dict[str | None, Callable[[HeldOut], Running]]] = {
    "classification": {None: LogLoss, "neg_log_loss": LogLoss, "accuracy": Accuracy},
    "multilabel": {None: LogLoss, "neg_log_loss": LogLoss},  # of labels scikit-learn's leaves out those that are 0
    "regression": {None: _R2, "r2": _R2, "neg_mean_squared_error": partial(SquaredError, relative=False)},
}
"""The fastest way to compute scores that are means over rows, by their names; None is the default."""


def by_row(scoring: Any, task: Task) -> bool:
    """Return whether a score is known to be a mean over rows, as R2 is where every value varies."""
    return (scoring is None or isinstance(scoring, str)) and scoring in BY_ROW[task]


def running(scoring: Any, held: HeldOut) -> Running:
    """Return the running average with the fastest way to compute a score; log-loss, or R2, when it is None."""
    varied = scoring != "r2" or bool((held.y != held.y[0]).any(axis=0).all())
    return BY_ROW[held.task][scoring](held) if varied and by_row(scoring, held.task) else Scorer(held, scoring)
