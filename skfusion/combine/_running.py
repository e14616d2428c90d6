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
BINS = 2**12, 2**16
"""Bins of probabilities, the coarse ones first."""
FINEST = 2e-6
"""Scores that are so far from the best one are not equal to it in the digits that are compared."""


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
        even, sums, squares = self.weight.min() == self.weight.max(), np.empty_like(self.total), np.empty(len(members))
        for i, k in enumerate(members):
            np.add(self.total, self.parts[k], out=sums)
            squares[i] = self.weight[0] * (sums @ sums) if even else self.weight @ sums**2
        return self.best - squares / (self.n + 1) ** 2

    def gains(self) -> np.ndarray:
        return -((self.total / self.n) ** 2).reshape(self.n_rows, -1).mean(axis=1)


class AreaUnderCurve(SumOfParts):
    """The area under the ROC curve of two classes: the share of pairs of rows, one of each, in the right order.

    Rows are counted in bins of their probability: pairs in two bins are known, and those within one bound the score.
    Only the candidates that may still be the best one are counted in finer bins, and the last few are sorted.
    """

    by_row = False

    def __init__(self, held: HeldOut):
        order = np.argsort(held.y == 0, kind="stable")
        self.n_positive = np.count_nonzero(held.y)
        self.parts = held.P[:, order, 1].astype(np.float64)
        self.weight = held.weight[order] if held.weighted else None
        self.weights = (None, None) if self.weight is None else np.split(self.weight, [self.n_positive])
        sizes = [self.n_positive, len(order) - self.n_positive] if self.weight is None else map(np.sum, self.weights)
        self.n_pairs = float(np.prod([*sizes], dtype=np.float64))
        self.low, self.width = self.parts.min(), float(np.ptp(self.parts)) or 1.0
        self.restart()

    def scores(self, members: np.ndarray) -> np.ndarray:
        low, high = np.zeros(len(members)), np.ones(len(members))
        finer = [n for n in BINS if n < 2 * self.parts.shape[1]]  # which would cost more than to sort
        for n_bins in (*finer, None):
            for i in np.flatnonzero(high >= low.max() - FINEST):
                mean = (self.total + self.parts[members[i]]) / (self.n + 1)  # whose ties are those that count
                low[i], high[i] = self._sorted(mean) if n_bins is None else self._binned(mean, n_bins)
        return (low + high) / 2

    def _binned(self, mean: np.ndarray, n_bins: int) -> tuple[float, float]:
        """Return the least and the largest area that rows in such bins may have."""
        places = ((mean - self.low) * (n_bins / self.width)).astype(np.intp)
        np.clip(places, 0, n_bins - 1, out=places)
        positive, negative = (
            np.bincount(part, weight, n_bins).astype(np.float64, copy=False)
            for part, weight in zip(np.split(places, [self.n_positive]), self.weights, strict=True)
        )
        known, within = positive[1:] @ negative.cumsum()[:-1], positive @ negative
        return known / self.n_pairs - SLACK, (known + within) / self.n_pairs + SLACK

    def _sorted(self, mean: np.ndarray) -> tuple[float, float]:
        """Return the area twice; pairs of equal probability count half."""
        (positive, negative), (of_positive, of_negative) = np.split(mean, [self.n_positive]), self.weights
        if of_negative is None:
            negative, below = np.sort(negative), np.arange(len(negative) + 1.0)
            positive = np.sort(positive)  # in order they are found faster
        else:
            order = np.argsort(negative)
            negative, below = negative[order], np.concatenate([[0.0], of_negative[order].cumsum()])
        shares = below[negative.searchsorted(positive)] + below[negative.searchsorted(positive, "right")]
        area = float(shares.sum() if of_positive is None else shares @ of_positive) / 2 / self.n_pairs
        return area, area


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
    if varied and by_row(scoring, held.task):
        return BY_ROW[held.task][scoring](held)
    two = held.task == "classification" and held.P.shape[2] == 2 and held.y.dtype.kind in "biu"
    if scoring == "roc_auc" and two and np.array_equal(np.unique(held.y), [0, 1]):  # scorers say what others lack
        return AreaUnderCurve(held)
    return Scorer(held, scoring)
