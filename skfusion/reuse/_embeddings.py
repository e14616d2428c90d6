"""Inner products between the specifications of a pool and new inputs, which all searches by distance ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skfusion.reuse._base import Found
from skfusion.reuse._simplex_program import simplex_weights

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool

SCORE = "minus MMD"
"""By which models are ranked."""


class Embeddings:
    """The specifications of a pool beside new inputs.

    Parameters
    ----------
    pool : ReusePool
        The models.
    X : array-like of shape (n_samples, ...)
        Inputs of a new task.
    """

    def __init__(self, pool: ReusePool, X: Any):
        self.pool, specs = pool, pool.specifications
        self.rows = specs[0].of_rows(X)
        self.square = self.rows.inner(self.rows)
        self.with_rows = np.array([spec.inner(self.rows) for spec in specs])  # shape: (n_members,)
        self.gram = np.empty((len(specs), len(specs)))
        for i, spec in enumerate(specs):
            for j in range(i + 1):
                self.gram[i, j] = self.gram[j, i] = spec.inner(specs[j])

    def distance(self, weights: np.ndarray) -> float:
        """Return the distance of a mixture of specifications from the new inputs."""
        square = weights @ self.gram @ weights - 2 * weights @ self.with_rows + self.square
        return float(np.sqrt(max(0.0, square)))

    @property
    def distances(self) -> np.ndarray:
        """The distance of each specification, shape (n_members,)."""
        return np.sqrt(np.maximum(0.0, np.diag(self.gram) - 2 * self.with_rows + self.square))

    def mixture(self, places: list[int]) -> np.ndarray:
        """Return the weights of some members whose mixture is closest, zeros for the others, shape (n_members,)."""
        weights = np.zeros(len(self.pool))
        weights[places] = simplex_weights(self.gram[np.ix_(places, places)], self.with_rows[places])
        return weights

    def found(self, weights: np.ndarray) -> Found:
        """Return what is found by weights, with the distance that rows of the same sources would hardly exceed."""
        of_sources = np.array([spec.error_ + spec.noise_ for spec in self.pool.specifications])
        threshold = float(weights @ of_sources + self.rows.noise_)
        return Found(self.pool, weights, -self.distances, SCORE, self.distance(weights), threshold)
