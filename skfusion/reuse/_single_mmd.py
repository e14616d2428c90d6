"""Search for the one model whose training inputs are closest to new ones, by maximum mean discrepancy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skfusion.reuse._base import Found, Search
from skfusion.reuse._embeddings import Embeddings

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool


class SingleMMD(Search):
    r"""Choose the model whose specification is closest to the new inputs.

    .. math:: \operatorname{arg\,min}_i \| \mu_i - \mu_X \|^2
        = \langle \mu_i, \mu_i \rangle - 2 \langle \mu_i, \mu_X \rangle + \langle \mu_X, \mu_X \rangle

    Notes
    -----
    It fits where the distance is at most the sum of three others: that of the specification from the rows that it was
    made of, and bounds, by the bootstrap, for those of these rows and of the new ones from what they were drawn from.
    By the triangle inequality, inputs from the source of the model exceed the sum in at most 5 % of cases. The more
    rows there are, the smaller the differences that are found: a model may still be of use then, which labelled rows
    can tell. For n new rows and K models of M points the cost is n squared, and K n M.

    References
    ----------
    Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding specification", IEEE TKDE 35, 2023,
    doi:10.1109/TKDE.2021.3086619. Gretton et al., "A kernel two-sample test", JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from skfusion.reuse import ReusePool, SingleMMD
    >>> X, y = np.random.RandomState(0).normal(size=(200, 2)), np.zeros(200)
    >>> pool = ReusePool().add(DummyRegressor().fit(X, y), X, name="near")
    >>> pool = pool.add(DummyRegressor().fit(X, y), X + 5, name="far")
    >>> found = pool.search(X[:100], search=SingleMMD())
    >>> found.names, found.fits
    (['near'], True)
    """

    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool; see :meth:`Search.__call__`."""
        of = Embeddings(pool, X)
        weights = np.zeros(len(pool))
        weights[int(np.argmin(of.distances))] = 1.0
        return of.found(weights)
