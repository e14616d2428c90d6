"""Predictions of a search, which are those of its best estimator."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any

import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skfusion.estimators import EnsembleClassifier, StackingFusion


def _by_best(method: Callable[..., np.ndarray]) -> Any:
    """Return a method of an estimator as one of a search, which has it where its best estimator has it."""

    @wraps(method)
    def by_best(self: Any, X: Any) -> np.ndarray:
        return getattr(self._best(), method.__name__)(X)

    def has_it(self: Any) -> bool:
        return hasattr(getattr(self, "best_estimator_", self.estimator), method.__name__)

    return available_if(has_it)(by_best)


class PredictsWithBest:
    """Predictions, scores and tags of a search."""

    predict = _by_best(StackingFusion.predict)
    predict_proba = _by_best(EnsembleClassifier.predict_proba)
    predict_log_proba = _by_best(EnsembleClassifier.predict_log_proba)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of the best fusion by ``scoring``, higher is better; see :meth:`StackingFusion.score`."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(self.scorer_(self._best(), X, y, **weights))

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
        best = get_tags(self.estimator)
        for name in ("estimator_type", "classifier_tags", "regressor_tags", "target_tags"):
            setattr(tags, name, deepcopy(getattr(best, name)))
        tags.input_tags.sparse = best.input_tags.sparse
        return tags
