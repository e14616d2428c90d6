"""Combiners that judge members anew for every row, on the nearest held-out rows (dynamic ensemble selection).

Rows are near when the members' predictions for them are similar: distances are taken between output profiles.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from skfusion._rows import Task
from skfusion.combine._base import Combiner
from skfusion.combine._held_out import HeldOut
from skfusion.combine._weights import check_fitted, check_members, floating

AT_A_TIME = 2_000_000
"""Distances, or judgements of members, that are held in memory."""

ROUNDING = 1e-9
"""A weight that is left over by rounding makes no neighbour."""


class Neighbours:
    """Held-out rows with the members' predictions for them, and how good these are.

    ``n_neighbors`` is the weight of the rows that are near enough; without weights, their number. ``most`` is how many
    rows can be near. ``quality``, shape (n_samples, n_members, n_targets), tells whether a member is right, or in
    regression has its squared errors; classes have one target, labels and values one each.
    """

    def __init__(self, owner: str, held: HeldOut, n_neighbors: int):
        _check_neighbors(n_neighbors, owner)
        self.n_neighbors, self.weight = n_neighbors, held.weight
        self.scale = np.sqrt(held.variances()) if held.task == "regression" else np.ones(held.P.shape[2])
        self.profiles = self._profiles(held.P)
        quality = {
            "classification": lambda: (held.P.argmax(axis=2) == held.y)[:, :, None],
            "multilabel": lambda: (held.P > 0.5) == (held.y == 1),
            "regression": lambda: held.errors() ** 2,
        }[held.task]()
        self.quality = quality.transpose(1, 0, 2)
        lightest = np.cumsum(np.sort(self.weight))  # most rows are near where those of the least weight are
        self.most = min(len(self.weight), 1 + int(np.searchsorted(lightest, n_neighbors - ROUNDING)))

    def combine(self, P: np.ndarray, shares: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return predictions, shape (n_samples, n_outputs), that are averaged with other weights for each row.

        ``shares`` gets the quality of the nearest rows, the nearest first, shape (n_samples, n_near, n_members,
        n_targets), and their weights, shape (n_samples, n_near); it returns weights of members, not negative, shape
        (n_samples, n_members, n_targets).
        """
        combined = np.empty(P.shape[1:], floating(P))
        step = max(1, AT_A_TIME // max(len(self.profiles), self.most * self.quality[0].size))
        for start in range(0, P.shape[1], step):
            part = P[:, start : start + step]
            near, weight = self.nearest(part)
            share = shares(self.quality[near], weight)
            share = share / share.sum(axis=1, keepdims=True)
            combined[start : start + step] = (share * part.transpose(1, 0, 2)).sum(axis=1)
        return combined

    def nearest(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest rows and the weights with which they count, both of shape (n_samples, n_near).

        The nearest come first; of rows at the same distance the earlier one. The weights of each row sum to
        ``n_neighbors``, or to the weight of all held-out rows where that is less; they are zero beyond that.
        """
        order = np.argsort(cdist(self._profiles(P), self.profiles, "sqeuclidean"), axis=1, kind="stable")
        weight = self.weight[order]
        before = np.cumsum(weight, axis=1) - weight
        left = self.n_neighbors - before
        weight = np.where(left > ROUNDING, np.minimum(left, weight), 0.0)
        n_near = int((weight > 0).sum(axis=1).max())
        return order[:, :n_near], weight[:, :n_near]

    def _profiles(self, P: np.ndarray) -> np.ndarray:
        return (P.astype(np.float64) / self.scale).transpose(1, 0, 2).reshape(P.shape[1], -1)


class ByNeighbours(Combiner):
    """Average the members with weights that follow, for each row, from their quality on the nearest held-out rows."""

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, n_neighbors: int = 7):
        self.n_neighbors = n_neighbors

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for an invalid number of neighbours; see :meth:`Combiner.check`."""
        _check_neighbors(self.n_neighbors, type(self).__name__)

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> ByNeighbours:
        """Remember the held-out rows; see :meth:`Combiner.fit`."""
        self.check(task)
        owner = type(self).__name__
        self.neighbours_ = Neighbours(owner, HeldOut.checked(owner, P, y, task, sample_weight), self.n_neighbors)
        self.task_: Task = task
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the mean of the members, weighted for each row on its own; see :meth:`Combiner.__call__`."""
        check_fitted(self, "neighbours_")
        check_members(self, self.neighbours_.quality.shape[1], len(P))
        return self.neighbours_.combine(P, self._shares)

    @abstractmethod
    def _shares(self, quality: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the weights of members; see :meth:`Neighbours.combine`."""

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}


def _check_neighbors(n_neighbors: object, owner: str) -> None:
    """Raise where a number of neighbours is not a whole number above zero."""
    if not isinstance(n_neighbors, Integral) or n_neighbors < 1:
        raise ValueError(f"n_neighbors of {owner} must be a whole number, 1 or more; got {n_neighbors!r}.")
