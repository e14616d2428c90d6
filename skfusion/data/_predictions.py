"""Labels and logarithms of probabilities, from probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin


class PredictsClasses(ClassifierMixin):
    """A classifier whose ``predict_proba`` says all that it predicts."""

    _task: str = "classification"

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


def logarithms(proba: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities in float64; -inf where a probability is 0."""
    with np.errstate(divide="ignore"):
        return np.log(proba.astype(np.float64))
