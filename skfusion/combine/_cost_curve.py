"""What a cascade costs at each threshold, and what it loses, on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from skfusion.combine._member_order import judged, least_members
from skfusion.combine._predictions import HeldOut
from skfusion.combine._running_mean import RunningMean

LEVELS = 101
"""Costs, from the least to that of all members, whose thresholds are compared."""


@dataclass(frozen=True, eq=False)
class CostCurve:
    """How sure each held-out row is after each member, and what comes out if it stops there.

    ``loss`` and ``right`` are those of :func:`judged`; ``changed`` is whether the answer is another one than that of
    all members: of labels the share, and of values the squared difference over the mean squared error of all members.
    The arrays have the shape (n_members, n_samples), the members in the order in which they are asked. ``costs`` are
    those of the members, and ``least`` is how many of them each row asks.
    """

    sure: np.ndarray
    loss: np.ndarray
    right: np.ndarray
    changed: np.ndarray
    costs: np.ndarray
    weight: np.ndarray
    least: int

    @classmethod
    def of(
        cls, held: HeldOut, order: np.ndarray, weights: np.ndarray, costs: np.ndarray, scale: np.ndarray
    ) -> CostCurve:
        """Return the curve of members with weights in an order."""
        mean, answers = RunningMean(held.task, scale), []
        sure, loss, right = np.empty((3, len(order), len(held.weight)))
        for j, k in enumerate(order):
            mean.add(held.P[k], weights[k])
            sure[j] = mean.sureness()
            loss[j], right[j] = judged(replace(held, P=mean.mean[None]))
            answers.append(_answers(mean.mean, held))
        changed = np.array([_changed(a, answers[-1], held) for a in answers])
        if held.task == "regression":
            changed /= max(np.average(loss[-1], weights=held.weight), np.finfo(np.float64).tiny)
        least = least_members(held, len(order))
        return cls(np.maximum.accumulate(sure), loss, right, changed, costs[order], held.weight, least)

    @property
    def cheapest(self) -> float:
        """The cost of the members that each row asks."""
        return float(self.costs[: self.least].sum())

    def stops(self, sure: float) -> np.ndarray:
        """Return the position, in the order, of the last member that each row asks; it stops where it is that sure."""
        return np.maximum((self.sure[:-1] < sure).sum(axis=0), self.least - 1)

    def reached(self, sure: float) -> np.ndarray:
        """Return the share of rows that ask each member, shape (n_members,)."""
        stops = self.stops(sure)
        return np.array([self._mean(stops >= j) for j in range(len(self.costs))])

    def at_cost(self, cost: float) -> float:
        """Return how sure rows must be, at most, so that they cost no more in the mean.

        It lies half-way between two values that occur, so that rounding moves no held-out row across it.
        """
        values = self.sure[self.least - 1 : -1].ravel()
        added = np.outer(
            self.costs[self.least :], self.weight / self.weight.sum()
        ).ravel()  # where one more member is asked
        order = np.argsort(values, kind="stable")
        values, total = values[order], self.cheapest + added[order].cumsum()
        last = np.flatnonzero(np.r_[values[1:] != values[:-1], True]) if len(values) else np.zeros(0, np.intp)
        within = np.count_nonzero(total[last] <= cost * (1 + 1e-9))
        if within == len(last):
            return np.inf
        if not within:
            return -np.inf
        low, high = values[last[within - 1]], values[last[within]]
        middle = low + (high - low) / 2
        return float(middle if middle > low else high)

    def levels(self) -> np.ndarray:
        """Return how sure rows must be for costs from the least to the largest one, shape (n_levels,)."""
        return np.unique([self.at_cost(c) for c in np.linspace(self.cheapest, self.costs.sum(), LEVELS)])

    def table(self, levels: np.ndarray, loss: str) -> pd.DataFrame:
        """Return a row for each level, with its cost, members asked, loss, right answers and changed ones."""
        rows, spent = [], self.costs.cumsum()
        for sure in levels:
            stops = self.stops(sure)
            parts = [np.take_along_axis(a, stops[None], axis=0)[0] for a in (self.loss, self.right, self.changed)]
            rows.append([*map(self._mean, (spent[stops], stops + 1, *parts))])
        table = pd.DataFrame(rows, columns=["cost", "n_members", loss, "accuracy", "changed"])
        before = np.r_[np.inf, np.minimum.accumulate(table[loss].to_numpy())[:-1]]
        table["efficient"] = table[loss].to_numpy() < before
        return table if loss == "log_loss" else table.drop(columns="accuracy")

    def _mean(self, values: np.ndarray) -> float:
        return float(self.weight @ values / self.weight.sum())


def _answers(mean: np.ndarray, held: HeldOut) -> np.ndarray:
    """Return what a mean says: classes, labels, or values in units of their standard deviation."""
    if held.task == "classification":
        return mean.argmax(axis=1)
    return mean > 0.5 if held.task == "multilabel" else mean / np.sqrt(held.variances())


def _changed(answers: np.ndarray, of_all: np.ndarray, held: HeldOut) -> np.ndarray:
    """Return how far answers are from those of all members, shape (n_samples,)."""
    if held.task == "classification":
        return (answers != of_all).astype(np.float64)
    if held.task == "multilabel":
        return np.asarray((answers != of_all).mean(axis=1))
    return np.asarray(((answers - of_all) ** 2).mean(axis=1))
