"""Search for a few models whose mixture comes closest to new inputs, added one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skfusion.reuse._base import Found, Search
from skfusion.reuse._embeddings import Embeddings

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool


class MixtureMMD(Search):
    r"""Add the model that brings the best mixture closest to the new inputs, while that still improves.

    .. math:: \min_{w \ge 0,\, 1^\top w = 1} \Big\| \sum_i w_i \mu_i - \mu_X \Big\|^2

    Parameters
    ----------
    max_members : int, default=5
        Most models.
    min_improvement : float, default=0.05
        By which share of the distance the next model must bring the mixture closer. A larger one stops earlier.

    Notes
    -----
    Where the task is a mixture of those of several models, the weights estimate their shares. Whether the mixture fits
    is decided as for :class:`SingleMMD`. Each step solves a small quadratic program for each model.

    References
    ----------
    Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding specification", IEEE TKDE 35, 2023,
    doi:10.1109/TKDE.2021.3086619.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from skfusion.reuse import MixtureMMD, ReusePool
    >>> X, y = np.random.RandomState(0).normal(size=(300, 2)), np.zeros(300)
    >>> pool = ReusePool().add(DummyRegressor().fit(X, y), X, name="one")
    >>> pool = pool.add(DummyRegressor().fit(X, y), X + 5, name="other")
    >>> found = pool.search(np.vstack([X[:160], X[:40] + 5]), search=MixtureMMD())
    >>> found.names, found.chosen_weights.round(1).tolist()
    (['one', 'other'], [0.8, 0.2])
    """

    _test_sets = ({}, {"max_members": 2})

    def __init__(self, max_members: int = 5, min_improvement: float = 0.05):
        self.max_members = max_members
        self.min_improvement = min_improvement

    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool; see :meth:`Search.__call__`."""
        if self.max_members < 1:
            raise ValueError(f"max_members must be at least 1; got {self.max_members!r}.")
        of = Embeddings(pool, X)
        chosen, weights, distance = list[int](), np.empty(0), np.inf
        while len(chosen) < min(self.max_members, len(pool)):
            mixtures = {i: of.mixture([*chosen, i]) for i in range(len(pool)) if i not in chosen}
            distances = {i: of.distance(mixture) for i, mixture in mixtures.items()}
            best = min(distances, key=lambda i: distances[i])
            if chosen and distances[best] > (1 - self.min_improvement) * distance:
                break
            chosen, weights, distance = [*chosen, best], mixtures[best], distances[best]
        return of.found(weights)
