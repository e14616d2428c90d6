"""Let models predict together in the way in which a search has found them to be best."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from skfusion.reuse._average_found import AverageFound
from skfusion.reuse._base import Found
from skfusion.reuse._reuser import Reuser


class AsFound(Reuser):
    """Reuse models as their search says, such as :class:`skfusion.tuning.TunedReuse`, which tries several ways.

    Notes
    -----
    Where a search says nothing of it, predictions are averaged. Estimators take it by themselves where a search says
    more, so that in each fold the way of that fold is judged.

    References
    ----------
    Zhou and Tan, "Learnware: small models do big", Science China Information Sciences 67, 2024,
    doi:10.1007/s11432-023-3823-6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skfusion.reuse import AsFound, ReusePool
    >>> X, y = load_digits(return_X_y=True)
    >>> pool = ReusePool().add(LogisticRegression(max_iter=500).fit(X[:900], y[:900]), X[:900], name="all")
    >>> reused = AsFound().fit(pool.search(X[900:]), X[900:], y[900:], pool.classes, seed=0)
    >>> type(reused.reuser_).__name__, float((reused(X[900:]).argmax(axis=1) == y[900:]).mean()) > 0.85
    ('AverageFound', True)
    """

    needs_labels = True

    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Fit what the search says; see :meth:`Reuser.fit`."""
        self.reuser_ = clone(AverageFound() if found.reuse is None else found.reuse).fit(found, X, y, classes, seed)
        return self

    def __call__(self, X: Any) -> np.ndarray:
        """Predict by it; see :meth:`Reuser.__call__`."""
        return self.reuser_(X)
