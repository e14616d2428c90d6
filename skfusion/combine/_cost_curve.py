"""What a cascade costs at each threshold, and what it loses, on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from skfusion.combine._ensemble_selection import standard_errors
from skfusion.combine._member_order import judged, least_members
from skfusion.combine._predictions import HeldOut
from skfusion.combine._running_mean import RunningMean

LEVELS = 101
"""Costs, from the least to that of all members, whose thresholds are compared."""


@dataclass(frozen=True, eq=False)
class CostCurve:
    """How sure each held-out row is after each member, what it loses if it stops there, and whether it is right.

    The arrays have the shape (n_members, n_samples), the members in the order in which they are asked. ``costs`` are
    those of the members, and ``least`` is how many of them each row asks.
    """

    sure: np.ndarray
    loss: np.ndarray
    right: np.ndarray
    costs: np.ndarray
    weight: np.ndarray
    least: int

    @classmethod
    def of(
        cls, held: HeldOut, order: np.ndarray, weights: np.ndarray, costs: np.ndarray, scale: np.ndarray
    ) -> CostCurve:
        """Return the curve of members with weights in an order."""
        mean = RunningMean(held.task, scale)
        sure, loss, right = np.empty((3, len(order), len(held.weight)))
        for j, k in enumerate(order):
            mean.add(held.P[k], weights[k])
            sure[j] = mean.sureness()
            loss[j], right[j] = judged(replace(held, P=mean.mean[None]))
        return cls(np.maximum.accumulate(sure), loss, right, costs[order], held.weight, least_members(held, len(order)))

    @property
    def cheapest(self) -> float:
        """The cost of the members that each row asks."""
        return float(self.costs[: self.least].sum())

    def stops(self, sure: float) -> np.ndarray:
        """Return the position, in the order, of the last member that each row asks; it stops where it is that sure."""
        asked: np.ndarray = (self.sure[:-1] < sure).sum(axis=0)
        return asked

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
        """Return a row for each level, with its cost, members asked, loss, and share of right answers.

        ``as_good`` is where the loss is within a standard error, of a paired test, of that of all members.
        """
        rows, spent = [], self.costs.cumsum()
        for sure in levels:
            stops = self.stops(sure)
            losses, right = (np.take_along_axis(a, stops[None], axis=0)[0] for a in (self.loss, self.right))
            worse = standard_errors(losses - self.loss[-1], self.weight)
            rows.append([*map(self._mean, (spent[stops], stops + 1, losses, right)), worse <= 1])
        table = pd.DataFrame(rows, columns=["cost", "n_members", loss, "accuracy", "as_good"])
        before = np.r_[np.inf, np.minimum.accumulate(table[loss].to_numpy())[:-1]]
        table.insert(4, "efficient", table[loss].to_numpy() < before)
        return table if loss == "log_loss" else table.drop(columns="accuracy")

    def _mean(self, values: np.ndarray) -> float:
        return float(self.weight @ values / self.weight.sum())
