"""Search for the mixture of all models that comes closest to new inputs, less its small weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skfusion.reuse._base import Found, Search
from skfusion.reuse._embeddings import Embeddings

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool


class AllMixtureMMD(Search):
    """Weigh all models so that their mixture comes closest to the new inputs, and keep the largest weights.

    It is :class:`MixtureMMD` in one step, of all models, and so without the errors of a greedy choice.

    Parameters
    ----------
    kept : float, default=0.98
        The sum of the largest weights that are kept; the others are dropped, and these weighed anew. 1 keeps all.

    Notes
    -----
    Whether the mixture fits is decided as for :class:`SingleMMD`. The quadratic program of K models costs at most K^3 a
    step.

    References
    ----------
    Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding specification", IEEE TKDE 35, 2023,
    doi:10.1109/TKDE.2021.3086619.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from skfusion.reuse import AllMixtureMMD, ReusePool
    >>> X, y = np.random.RandomState(0).normal(size=(300, 2)), np.zeros(300)
    >>> pool = ReusePool()
    >>> for shift in (0, 5, 10):
    ...     pool = pool.add(DummyRegressor().fit(X, y), X + shift, name=f"at-{shift}")
    >>> found = pool.search(np.vstack([X[:160], X[:40] + 10]), search=AllMixtureMMD())
    >>> found.names, found.chosen_weights.round(1).tolist()
    (['at-0', 'at-10'], [0.8, 0.2])
    """

    _test_sets = ({}, {"kept": 1.0})

    def __init__(self, kept: float = 0.98):
        self.kept = kept

    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool; see :meth:`Search.__call__`."""
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept must be above 0 and at most 1; got {self.kept!r}.")
        of = Embeddings(pool, X)
        weights = of.mixture([*range(len(pool))])
        order = np.argsort(-weights, kind="stable")
        n_kept = 1 + int(np.searchsorted(np.cumsum(weights[order]), self.kept - 1e-12))
        places = [int(i) for i in order[:n_kept] if weights[i] > 0]
        return of.found(of.mixture(places))
