"""What estimators offer that predict: probabilities, their logarithms and labels, or values."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin


class PredictsClasses(ClassifierMixin):
    """A classifier; ``_inputs(X)`` are validated inputs, of which ``_predict`` returns the probabilities."""

    _task: str = "classification"

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``; of each label by itself in multi-label problems.
        """
        return self._predict(self._inputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of class probabilities; see :meth:`predict_proba`.

        They are float64, and -inf where a probability is 0.
        """
        return logarithms(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels; see :meth:`predict_proba`.

        They are the most probable classes, or an indicator of the labels of probability above 0.5.
        """
        proba = self.predict_proba(X)
        return (proba > 0.5).astype(np.int64) if self._task == "multilabel" else self.classes_[proba.argmax(axis=1)]


class PredictsValues(RegressorMixin):
    """A regressor; ``_predict`` returns the values of validated inputs, in columns even where ``_flat``."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict values.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values, in the shape of the y that was fitted on.
        """
        values = self._predict(self._inputs(X))
        return values[:, 0] if self._flat else values.astype(np.float64)  # scikit-learn asks for float64 here

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def logarithms(proba: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities in float64; -inf where a probability is 0."""
    with np.errstate(divide="ignore"):
        return np.log(proba.astype(np.float64))
