"""The mean of the members so far, and how sure it is of each row."""

from __future__ import annotations

from typing import Self

import numpy as np

from skfusion._rows import Task


class RunningMean:
    """The weighted mean of members that are added one by one, for some rows.

    All is computed number by number, in float64, so that no row depends on the rows beside it. ``scale`` has the
    standard deviation of each value of a regression, shape (n_outputs,).
    """

    def __init__(self, task: Task, scale: np.ndarray):
        self.task, self.scale = task, scale
        self.n, self.total, self.squares = 0, 0.0, 0.0
        self.mean = self.spread = np.zeros(())

    def add(self, p: np.ndarray, weight: float) -> None:
        """Add the predictions of a member, shape (n_samples, n_outputs), which has a positive weight."""
        self.n, self.total, self.squares = self.n + 1, self.total + weight, self.squares + weight**2
        step = p.astype(np.float64) - self.mean
        self.mean = self.mean + weight / self.total * step
        if self.task == "regression":  # updated as by Welford (1962), which rounding cannot make negative
            self.spread = self.spread + weight * (1 - weight / self.total) * step**2

    def take(self, rows: np.ndarray) -> Self:
        """Go on with some of the rows only, given by a mask."""
        if rows.all():
            return self
        self.mean = self.mean[rows]
        if self.task == "regression":
            self.spread = self.spread[rows]
        return self

    def sureness(self) -> np.ndarray:
        """Return how sure each row is, shape (n_samples,): its confidence, or its standard error with a minus sign.

        The standard error is that of the weighted mean, in standard deviations of the value; one member has none, and
        is not sure at all. Of several labels or values the least sure one counts.
        """
        if self.task == "classification":
            return self.mean.max(axis=1)
        if self.task == "multilabel":
            return np.maximum(self.mean, 1 - self.mean).min(axis=1)
        if self.n < 2:
            return np.full(len(self.mean), -np.inf)
        variance = self.spread / (self.total - self.squares / self.total)
        error = np.sqrt(variance * self.squares) / self.total
        return -(error / self.scale).max(axis=1)
