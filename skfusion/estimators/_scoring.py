"""scikit-learn's scorers as functions of predictions."""

from __future__ import annotations

from inspect import signature
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
        if weights and not _takes_weights(scorer):
            raise ValueError(
                f"scoring={scoring!r} takes no sample_weight, but the rows are weighted: give it that parameter, or "
                "make it with sklearn.metrics.make_scorer."
            )
        try:
            return float(scorer(kind(prediction, task), rows.X, rows.y, **weights))
        except ValueError as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge the {len(rows)} held-out rows: {error} Where they lack a class, use "
                "a larger validation_fraction, more rows, or another score."
            ) from error

    return score


def _takes_weights(scorer: Any) -> bool:
    parameters = signature(scorer).parameters
    return "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
