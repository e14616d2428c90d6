"""The held-out rows that are nearest to a row, by output profiles: the members' predictions for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist

from skfusion.combine._held_out import HeldOut
from skfusion.combine._weights import floating

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

    def __init__(self, held: HeldOut, n_neighbors: int):
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
