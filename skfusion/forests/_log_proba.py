"""Logarithms of the probabilities that forests predict."""

from __future__ import annotations

from typing import Any

import numpy as np


class LogProbabilities:
    """For classifiers with ``predict_proba``."""

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Those of ``predict_proba``, in float64; -inf where a probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X).astype(np.float64))
