"""Scores of predictions: accuracy and R2, and scikit-learn's scorers as functions of predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, r2_score

from skfusion._rows import Rows, Task

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does."""

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        right = ((p > 0.5) == rows.y).all(axis=1) if task == "multilabel" else p.argmax(axis=1) == rows.y
        return float(np.average(right, weights=rows.weight))

    accuracy.by_rank = task == "classification"  # which output is largest is all that it reads

    def r2(p: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(p).all():
            return -np.inf
        if len(rows) < 2:  # undefined for a single row
            return -float(np.mean((p - rows.y) ** 2))
        return float(r2_score(rows.y, p, sample_weight=rows.weight))

    return r2 if task == "regression" else accuracy


def score_function(scoring: Any, task: Task) -> Score:
    """Return ``score(prediction, rows)``, higher is better, of a name of scikit-learn's, a scorer, or None.

    None is accuracy or R2. A scorer is ``scorer(estimator, X, y)``; classes are their codes, 0 to n_classes - 1.
    """
    if scoring is None:
        return default_score(task)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    kind = _KnownRegressor if task == "regression" else _KnownClassifier

    def score(prediction: np.ndarray, rows: Rows) -> float:
        weights = _weights(scorer, scoring, rows.weight)
        try:
            return score_by(scorer, kind(prediction, task), rows.X, rows.y, **weights)
        except ValueError as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge the {len(rows)} held-out rows: {error} Where they lack a class, use "
                "a larger validation_fraction, more rows, or another score."
            ) from error
        except AttributeError as error:
            reason = str(error).replace(kind.__name__, "what is scored")
            raise ValueError(
                f"scoring={scoring!r} asks for more than there is ({task}): {reason.rstrip('.')}. Scores see "
                f"predictions {'and probabilities ' if task != 'regression' else ''}only; give another one."
            ) from error

    return score


def scorer_of(scoring: Any, y: np.ndarray, weight: np.ndarray | None, task: Task) -> Callable[[np.ndarray], float]:
    """Return the score of a prediction, shape (n_samples, n_outputs), of held-out rows of which no inputs are known.

    ``scoring`` is as in :func:`score_function`, but not None. Its X has a row for each sample and no column, as a
    combiner sees predictions alone.
    """
    scorer = scorer_named(scoring)
    weights = _weights(scorer, scoring, weight)
    kind = _KnownRegressor if task == "regression" else _KnownClassifier
    X = np.empty((len(y), 0))

    def score(prediction: np.ndarray) -> float:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndefinedMetricWarning)  # the error below says it
                value = score_by(scorer, kind(prediction, task), X, y, **weights)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge predictions for {len(y)} held-out rows ({task}): {error} A combiner "
                "has probabilities or values and no inputs, and the rows may lack a class; use another score, or more "
                "rows."
            ) from error
        if np.isnan(value):
            raise ValueError(
                f"scoring={scoring!r} gives NaN for {len(y)} held-out rows, which may lack a class; use another score, "
                "or more rows."
            )
        return value

    return score


def scorer_named(scoring: Any) -> Any:
    """Return the scorer of scikit-learn that has a name; a callable is one by itself."""
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(f"scoring must be the name of a scorer or scorer(estimator, X, y); got {scoring!r}.")
    return scorer


def score_by(scorer: Any, estimator: Any, X: Any, y: Any, **weights: Any) -> float:
    """Return the score of a fitted estimator by ``scorer(estimator, X, y)``.

    Where the rows lack a class, scikit-learn asks for the names of all, which the estimator knows: the log-loss then is
    what it is, and the area under a curve NaN, with a warning.
    """
    try:
        return float(scorer(estimator, X, y, **weights))
    except ValueError:
        classes = getattr(estimator, "classes_", None)
        if classes is None or not hasattr(scorer, "set_score_request"):  # which scikit-learn's scorers have
            raise
        try:
            with config_context(enable_metadata_routing=True):  # which is what lets ``labels`` through
                return float(scorer(estimator, X, y, labels=classes, **weights))
        except (TypeError, ValueError):
            pass
        raise


def _weights(scorer: Any, scoring: Any, weight: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the weights of rows as an argument of a scorer, or raise where it takes none."""
    if weight is None:
        return {}
    parameters = signature(scorer).parameters
    if "sample_weight" not in parameters and all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(
            f"scoring={scoring!r} takes no sample_weight, but the rows are weighted: give it that parameter, or "
            "make it with sklearn.metrics.make_scorer."
        )
    return {"sample_weight": weight}


class _Known(BaseEstimator):
    """Stands in for an estimator whose predictions are known already."""

    def __init__(self, prediction: Any = None, task: str = "regression"):
        self.prediction = prediction
        self.task = task

    def fit(self, X: Any, y: Any = None) -> _Known:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _KnownClassifier(ClassifierMixin, _Known):
    """Has probabilities that are known already, and the classes or labels that follow from them."""

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.prediction.shape[1])

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.prediction

    def predict(self, X: Any) -> np.ndarray:
        if self.task == "multilabel":
            return (self.prediction > 0.5).astype(np.int64)
        return self.prediction.argmax(axis=1)


class _KnownRegressor(RegressorMixin, _Known):
    """Has values that are known already."""

    def predict(self, X: Any) -> np.ndarray:
        return self.prediction
