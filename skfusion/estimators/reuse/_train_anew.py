"""What is left where no model fits: a model of its own, trained on the labelled rows alone."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from skfusion import nets
from skfusion._rows import one_of
from skfusion.collect import Seeds
from skfusion.data import seeded
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators.support._any_estimator import stream
from skfusion.reuse import Found, Reuser, for_classes, task_outputs


class _TrainsAnew(Reuser):
    """Fit an estimator of any kind, or a net as an ensemble of one network, to the labelled rows."""

    needs_labels = True

    def __init__(self, estimator: Any = None):
        self.estimator = estimator

    def fit(self, found: Found | None, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Fit; see :meth:`Reuser.fit`."""
        kind = EnsembleRegressor if classes is None else EnsembleClassifier
        own = self.estimator is None or nets.is_net(self.estimator)
        model = kind(self.estimator, collect=Seeds(1)) if own else clone(self.estimator)
        self.n_classes_ = None if classes is None else len(classes)
        self.others_ = not own and not isinstance(X, dict)
        target = y[:, 0] if classes is None and y is not None and y.shape[1] == 1 else y
        self.only_ = None
        if classes is not None and not own and len(np.unique(target)) == 1:  # of which most classifiers learn nothing
            self.only_ = int(np.asarray(target)[0])
            return self
        with stream(model, seed):
            self.estimator_ = seeded(model, seed).fit(self._as_it_takes(X), target)
        return self

    def __call__(self, X: Any) -> np.ndarray:
        """Predict; see :meth:`Reuser.__call__`."""
        if self.only_ is not None and self.n_classes_ is not None:
            return for_classes(np.ones((len(one_of(X)), 1)), np.array([self.only_]), self.n_classes_)
        return task_outputs(self.estimator_, self._as_it_takes(X), self.n_classes_)

    def _as_it_takes(self, X: Any) -> Any:
        """Return inputs, for estimators of other libraries flat and in double precision."""
        return X.reshape(len(X), -1).astype(np.float64) if self.others_ else X
