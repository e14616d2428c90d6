"""Combiners whose members have the same weights in all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from skfusion._rows import Task
from skfusion.combine._base import Combiner
from skfusion.combine._predictions import Learner, check_fitted, check_members, floating


class GivenWeights(Combiner):
    """Combine members by given weights, or by equal ones when omitted."""

    needs: ClassVar[str] = ""
    """What it combines, where values of a regression will not do."""

    def __init__(self, weights: Sequence[float] | None = None):
        self.weights = weights

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for invalid weights, and for a task that does not fit; see :meth:`Combiner.check`."""
        if self.needs and task == "regression":
            raise ValueError(f"{type(self).__name__} needs {self.needs}; for regression use combine=Average().")
        if self.weights is not None:
            self._given(self.weights)

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Self:
        """Check the number of weights, and remember the task; see :meth:`Combiner.fit`."""
        super().fit(P, y, task, sample_weight)
        if len(P):
            self._shares(len(P))
        return self

    def member_weights(self, n_members: int) -> np.ndarray | None:
        """Return the given weights, divided by their sum; see :meth:`Combiner.member_weights`."""
        return None if self.weights is None else self._shares(n_members)

    def _shares(self, n_members: int) -> np.ndarray:
        """Return the given weights divided by their sum, or equal ones when omitted."""
        if self.weights is None:
            return np.full(n_members, 1 / n_members)
        weights = self._given(self.weights)
        if len(weights) != n_members:
            raise ValueError(
                f"{type(self).__name__} got {weights.size} weights for {n_members} members; give one weight a member."
            )
        return weights / weights.sum()

    def _given(self, weights: Sequence[float]) -> np.ndarray:
        """Return the weights of a user as an array; raise where they are invalid for any number of members."""
        array = np.asarray(weights, np.float64)
        if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
            raise ValueError(
                "Weights must be finite, non-negative and not all zero, one weight a member; "
                f"{type(self).__name__} got {array.tolist()}."
            )
        return array


class LearnedWeights(Learner):
    """Sum predictions with the members' ``weights_``, which a subclass learns from held-out rows."""

    weights_: np.ndarray

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the weighted mean over members; see :meth:`Combiner.__call__`."""
        return weighted_sum(self.member_weights(len(P)), P)

    def member_weights(self, n_members: int) -> np.ndarray:
        """Return the learned weights; see :meth:`Combiner.member_weights`."""
        check_fitted(self, "weights_")
        check_members(self, len(self.weights_), n_members)
        return self.weights_

    def narrow(self, n_members: int) -> np.ndarray:
        """Forget members of weight zero; see :meth:`Combiner.narrow`."""
        kept = np.flatnonzero(self.weights_)
        self.weights_ = self.weights_[kept]
        return kept


def weighted_sum(weights: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Return the sum of predictions times weights, shape (n_samples, n_outputs); weights of zero are not read."""
    used = np.flatnonzero(weights)
    return np.tensordot(weights[used], P[used], axes=1).astype(floating(P), copy=False)
