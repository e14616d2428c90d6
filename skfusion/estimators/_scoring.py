"""scikit-learn's scorers as functions of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from skfusion.nets import default_score
from skfusion.rows import Rows, Task


class _Given(BaseEstimator):
    """Stands in for an estimator whose predictions are known already."""

    def __init__(self, prediction: Any = None, task: str = "regression"):
        self.prediction = prediction
        self.task = task

    def fit(self, X: Any, y: Any = None) -> _Given:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _GivenClassifier(ClassifierMixin, _Given):
    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.prediction.shape[1])

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.prediction

    def predict(self, X: Any) -> np.ndarray:
        if self.task == "multilabel":
            return (self.prediction > 0.5).astype(np.int64)
        return self.prediction.argmax(axis=1)


class _GivenRegressor(RegressorMixin, _Given):
    def predict(self, X: Any) -> np.ndarray:
        return self.prediction


def score_function(scoring: Any, task: Task) -> Any:
    """Return ``score(prediction, rows)``, higher is better.

    Parameters
    ----------
    scoring : str, callable or None
        Name of a scikit-learn scorer, or ``scorer(estimator, X, y)``; accuracy or R2 when None. Classes are their
        codes, 0 to n_classes - 1.
    task : {"classification", "multilabel", "regression"}
        What the predictions are.

    Returns
    -------
    callable
        Takes a prediction of shape (n_samples, n_outputs) and the rows that were predicted.
    """
    if scoring is None:
        return default_score(task)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    kind = _GivenRegressor if task == "regression" else _GivenClassifier

    def score(prediction: np.ndarray, rows: Rows) -> float:
        weights = {} if rows.weight is None else {"sample_weight": rows.weight}
        return float(scorer(kind(prediction, task), rows.X, rows.y, **weights))

    return score
