"""Linear models on what models that were found predict, or on what their last layers read."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion.data import seeded
from skfusion.reuse._base import Found
from skfusion.reuse._estimator_outputs import for_classes, task_outputs
from skfusion.reuse._offer import Offer
from skfusion.reuse._reuser import Reuser


class _OnOutputs(Reuser):
    """Fit an estimator to numbers that the models give for labelled rows."""

    needs_labels = True

    def __init__(self, final_estimator: Any = None):
        self.final_estimator = final_estimator

    @abstractmethod
    def _numbers(self, offer: Offer, X: Any) -> np.ndarray:
        """Return what a model gives for rows, shape (n_samples, n_numbers)."""

    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Fit the final estimator; see :meth:`Reuser.fit`."""
        if y is None:
            raise ValueError(f"{type(self).__name__} learns from labelled rows: give y.")
        self.offers_, self.n_classes_ = found.chosen, None if classes is None else len(classes)
        final = self.final_estimator
        if final is None:
            linear = RidgeCV(np.logspace(-3, 3, 13)) if classes is None else LogisticRegression(max_iter=1000)
            final = make_pipeline(StandardScaler(), linear)
        self.only_ = None
        if classes is not None and len(np.unique(y)) == 1:  # classifiers ask for two classes
            self.only_ = int(np.asarray(y)[0])
            return self
        target = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        self.final_estimator_ = seeded(clone(final), seed).fit(self._all(X), target)
        return self

    def _all(self, X: Any) -> np.ndarray:
        return np.hstack([self._numbers(offer, X) for offer in self.offers_])

    def __call__(self, X: Any) -> np.ndarray:
        """Predict by the final estimator; see :meth:`Reuser.__call__`."""
        numbers = self._all(X)
        if self.only_ is not None and self.n_classes_ is not None:
            return for_classes(np.ones((len(numbers), 1)), np.array([self.only_]), self.n_classes_)
        return task_outputs(self.final_estimator_, numbers, self.n_classes_).astype(np.float64, copy=False)


class StackFound(_OnOutputs):
    """Learn from labelled rows how to combine what the models predict, by stacking.

    The final estimator reads the probabilities of the classes that the models know, or their values, so that it may
    learn labels that none of them knows.

    Parameters
    ----------
    final_estimator : sklearn estimator, optional
        Fitted on the predictions of the models side by side; logistic regression, or ridge regression with a penalty
        by leave-one-out, on standardised columns when omitted.

    Notes
    -----
    The labelled rows are new to the models, so that no folds are needed. A row costs all models that were found. It
    predicts the labels that are in y.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5, 1992, doi:10.1016/S0893-6080(05)80023-1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion import ModelReuseClassifier
    >>> from skfusion.reuse import ReusePool, StackFound
    >>> X, y = load_digits(return_X_y=True)
    >>> X, X_new, y, y_new = train_test_split(X / 16, y, random_state=0)
    >>> pool = ReusePool().add(LogisticRegression().fit(X, y), X, name="digits")
    >>> odd = y_new % 2 == 1  # labels that the model does not know
    >>> reused = ModelReuseClassifier(pool, reuse=StackFound(), estimator=LogisticRegression())
    >>> reused.fit(X_new[:50], odd[:50], X_unlabelled=X_new[50:]).score(X_new[50:], odd[50:]) > 0.85
    True
    """

    def _numbers(self, offer: Offer, X: Any) -> np.ndarray:
        return offer.predictions(X)


class Probe(_OnOutputs):
    """Fit a linear model to what the last layers of the networks that were found read (a linear probe).

    Parameters
    ----------
    final_estimator : sklearn estimator, optional
        Fitted on the features of the models side by side; logistic regression, or ridge regression with a penalty by
        leave-one-out, on standardised columns when omitted.

    Notes
    -----
    Estimators of other kinds have no layers: their decision scores, probabilities or values are read. It predicts the
    labels that are in y.

    References
    ----------
    Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016, arXiv:1610.01644.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion.nets import mlp_classifier
    >>> from skfusion.reuse import Probe, ReusePool
    >>> X, y = load_digits(return_X_y=True)
    >>> X, X_new, y, y_new = train_test_split(X.astype("float32") / 16, y, random_state=0)
    >>> low = mlp_classifier(max_epochs=30, module__n_in=64, module__n_out=5).fit(X[y < 5], y[y < 5])
    >>> pool = ReusePool().add(low, X[y < 5], name="low")
    >>> probe = Probe().fit(pool.search(X_new), X_new[:100], y_new[:100], classes=np.arange(10), seed=0)
    >>> float((probe(X_new[100:]).argmax(axis=1) == y_new[100:]).mean()) > 0.7
    True
    """

    def _numbers(self, offer: Offer, X: Any) -> np.ndarray:
        return offer.features(X)
