"""Combiners whose weights of members are a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from skfusion._rows import Task
from skfusion.combine._base import Combiner
from skfusion.combine._weights import checked, shares


class GivenWeights(Combiner):
    """Combine members by given weights, or by equal ones when omitted."""

    def __init__(self, weights: Sequence[float] | None = None):
        self.weights = weights

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for invalid weights; see :meth:`Combiner.check`."""
        if self.weights is not None:
            checked(self.weights, type(self).__name__)

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Self:
        """Check the number of weights, and remember the task; see :meth:`Combiner.fit`."""
        self.check(task)
        if len(P):
            self._shares(len(P))
        self.task_: Task = task
        return self

    def member_weights(self, n_members: int) -> np.ndarray | None:
        """Return the given weights, divided by their sum; see :meth:`Combiner.member_weights`."""
        return None if self.weights is None else self._shares(n_members)

    def _shares(self, n_members: int) -> np.ndarray:
        return shares(self.weights, n_members, type(self).__name__)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
