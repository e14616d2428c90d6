"""Average the predictions of the models that were found, by their weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skfusion.reuse._base import Found
from skfusion.reuse._reuser import Reuser, check_known, check_outputs


class AverageFound(Reuser):
    r"""Average the predictions of the models that were found, by the weights of the search.

    .. math:: p(y \mid x) = \sum_i w_i \, p_i(y \mid x)

    Notes
    -----
    It needs no labels. A row costs all models. It suits models of one task; those of different tasks are better told
    apart row by row, by :class:`Route`.

    References
    ----------
    Zhou and Tan, "Learnware: small models do big", Science China Information Sciences 67, 2024,
    doi:10.1007/s11432-023-3823-6.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Lasso, Ridge
    >>> from skfusion import ModelReuseRegressor
    >>> from skfusion.reuse import AverageFound, ReusePool
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pool = ReusePool().add(Ridge(0.1).fit(X[:150], y[:150]), X[:150], name="ridge")
    >>> pool = pool.add(Lasso(0.1).fit(X[150:300], y[150:300]), X[150:300], name="lasso")
    >>> ModelReuseRegressor(pool, reuse=AverageFound()).fit(X[300:]).score(X[300:], y[300:]) > 0.4
    True
    """

    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Keep the models and their weights; see :meth:`Reuser.fit`."""
        check_known(found, classes)
        self.offers_, self.weights_, self.classes_ = found.chosen, found.chosen_weights, classes
        return self

    def __call__(self, X: Any) -> np.ndarray:
        """Average; see :meth:`Reuser.__call__`."""
        P = [offer.predictions(X) for offer in self.offers_]
        if self.classes_ is not None:
            P = [offer.for_classes(p, self.classes_) for offer, p in zip(self.offers_, P, strict=True)]
        check_outputs(dict(zip(self.offers_.names, P, strict=True)))
        averaged: np.ndarray = sum(w * p for w, p in zip(self.weights_, P, strict=True))
        return averaged
