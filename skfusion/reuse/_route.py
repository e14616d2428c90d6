"""Route each row to the model whose task it belongs to (the job selector of RKME; Wu et al., 2023)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skfusion._rows import one_of, rows_at
from skfusion.reuse._base import Found
from skfusion.reuse._herding import routed, selector
from skfusion.reuse._reuser import Reuser, check_known, check_outputs


class Route(Reuser):
    """Let each row be predicted by the model that it belongs to, as a classifier tells by rows herded from each model.

    Parameters
    ----------
    classifier : sklearn classifier, optional
        The job selector: it learns which model a row belongs to, from rows as the specifications embed them. When
        omitted, a support vector machine with the kernel of the specifications, ``SVC(gamma=pool.gamma, C=10)``.
    n_herded : int, default=1000
        Rows that are herded from all specifications together, of each as many as its weight says.

    Notes
    -----
    It needs no labels. A row costs one model and the job selector. Where models were trained on the same inputs, it
    cannot tell them apart: average or stack these.

    References
    ----------
    Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding specification", IEEE TKDE 35, 2023,
    doi:10.1109/TKDE.2021.3086619.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skfusion import ModelReuseClassifier
    >>> from skfusion.reuse import ReusePool, Route
    >>> X, y = load_digits(return_X_y=True)
    >>> X, pool = X / 16, ReusePool()
    >>> for name, rows in [("low", y[:900] < 5), ("high", y[:900] >= 5)]:
    ...     pool = pool.add(
    ...         LogisticRegression().fit(X[:900][rows], y[:900][rows]), X[:900][rows], name=name
    ...     )
    >>> ModelReuseClassifier(pool, reuse=Route()).fit(X[900:]).score(X[900:], y[900:]) > 0.85
    True
    """

    _test_sets = ({}, {"n_herded": 100})

    def __init__(self, classifier: Any = None, n_herded: int = 1000):
        self.classifier = classifier
        self.n_herded = n_herded

    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Fit the job selector to herded rows; see :meth:`Reuser.fit`."""
        check_known(found, classes)
        self.offers_, self.classes_ = found.chosen, classes
        self.selector_ = None
        if len(self.offers_) > 1:
            specs, weights = self.offers_.specifications, found.chosen_weights
            self.selector_ = selector(specs, weights, self.classifier, self.n_herded, seed)
        return self

    def places(self, X: Any) -> np.ndarray:
        """Return which of the models ``offers_`` each row is routed to.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Positions in ``offers_``.
        """
        if self.selector_ is None:
            return np.zeros(len(one_of(X)), np.int64)
        return routed(self.selector_, self.offers_[0].specification, X)

    def __call__(self, X: Any) -> np.ndarray:
        """Predict each row by its model; see :meth:`Reuser.__call__`."""
        places, parts = self.places(X), dict[str, np.ndarray]()
        for place in np.unique(places):
            offer = self.offers_[int(place)]
            P = offer.predictions(rows_at(X, np.flatnonzero(places == place)))
            parts[offer.name] = P if self.classes_ is None else offer.for_classes(P, self.classes_)
        check_outputs(parts)
        joined = np.concatenate([*parts.values()])
        out = np.empty(joined.shape)
        out[np.argsort(places, kind="stable")] = joined
        return out
