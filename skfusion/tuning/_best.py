"""What a search does with the best estimator that it has found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted


def _has(name: str) -> Callable[[Any], bool]:
    return lambda self: hasattr(getattr(self, "best_estimator_", self.estimator), name)


class PredictsWithBest:
    """Predictions, scores and tags of a search."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values with the best fusion.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), frame, or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, indicators or values.
        """
        return self._best().predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities with the best fusion.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), frame, or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._best().predict_proba(X)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of class probabilities with the best fusion.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), frame, or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Those of ``predict_proba``; -inf where a probability is 0.
        """
        return self._best().predict_log_proba(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of the best fusion by ``scoring``.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), frame, or dict of array-like
            Inputs.
        y : array-like
            True targets.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            Higher is better.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        best = self._best()
        return float(self.scorer_(best, X, y, **weights))

    def _best(self) -> Any:
        check_is_fitted(self)
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"This {type(self).__name__} was fitted with refit=False, so it has chosen a fusion and not fitted it: "
                "fit one with best_params_, or search with refit=True."
            )
        return self.best_estimator_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags = deepcopy(own.classifier_tags)
        tags.regressor_tags = deepcopy(own.regressor_tags)
        tags.target_tags = deepcopy(own.target_tags)
        tags.input_tags.sparse = own.input_tags.sparse
        return tags
