"""scikit-learn's scorers as functions of predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer

from skfusion._rows import Task
from skfusion.combine._held_out import HeldOut


class _Known(BaseEstimator):
    """Stands in for an estimator whose predictions are known already."""

    def __init__(self, prediction: Any = None, task: str = "regression"):
        self.prediction = prediction
        self.task = task

    def fit(self, X: Any, y: Any = None) -> _Known:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class KnownClassifier(ClassifierMixin, _Known):
    """Says probabilities that are known already, and the classes or labels that follow."""

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.prediction.shape[1])

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.prediction

    def predict(self, X: Any) -> np.ndarray:
        if self.task == "multilabel":
            return (self.prediction > 0.5).astype(np.int64)
        return self.prediction.argmax(axis=1)


class KnownRegressor(RegressorMixin, _Known):
    """Says values that are known already."""

    def predict(self, X: Any) -> np.ndarray:
        return self.prediction


def scorer_of(scoring: Any, held: HeldOut) -> Callable[[np.ndarray], float]:
    """Return the score of a prediction for held-out rows, higher is better.

    Parameters
    ----------
    scoring : str or callable
        Name of a scikit-learn scorer, or ``scorer(estimator, X, y)``. Classes are their codes, 0 to n_classes - 1, and
        X has a row for each sample and no column: a combiner sees predictions alone.
    held : HeldOut
        The rows.

    Returns
    -------
    callable
        Takes a prediction of shape (n_samples, n_outputs).
    """
    scorer = scorer_named(scoring)
    weights = {"sample_weight": held.weight} if held.weighted else {}
    if weights and not takes_weights(scorer):
        raise ValueError(
            f"scoring={scoring!r} takes no sample_weight, but the rows are weighted: give it that parameter, or "
            "make it with sklearn.metrics.make_scorer."
        )
    X = np.empty((len(held.y), 0))
    return lambda prediction: _score(scorer, scoring, prediction, held.task, X, held.y, weights)


def scorer_named(scoring: Any) -> Any:
    """Return the scorer of scikit-learn that has a name; a callable is one by itself."""
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(f"scoring must be the name of a scorer or scorer(estimator, X, y); got {scoring!r}.")
    return scorer


def _score(
    scorer: Any, scoring: Any, prediction: np.ndarray, task: Task, X: np.ndarray, y: np.ndarray, weights: dict[str, Any]
) -> float:
    kind = KnownRegressor if task == "regression" else KnownClassifier
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)  # an error says it
            found = score_by(scorer, kind(prediction, task), X, y, **weights)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"scoring={scoring!r} cannot judge predictions for {len(y)} held-out rows ({task}): {error} A combiner has "
            "probabilities or values and no inputs, and the rows may lack a class; use another score, or more rows."
        ) from error
    if np.isnan(found):
        raise ValueError(
            f"scoring={scoring!r} gives NaN for {len(y)} held-out rows, which may lack a class; use another score, or "
            "more rows."
        )
    return found


def score_by(scorer: Any, estimator: Any, X: Any, y: Any, **weights: Any) -> float:
    """Return the score of an estimator.

    Where the rows lack a class, scikit-learn asks for the names of all, which the estimator knows: the log-loss then is
    what it is, and the area under a curve NaN, with a warning.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)``.
    estimator : estimator
        A fitted one.
    X, y : array-like
        The rows.
    **weights : array-like
        As ``sample_weight``, where they do not count alike.

    Returns
    -------
    float
        Higher is better.
    """
    try:
        return float(scorer(estimator, X, y, **weights))
    except ValueError:
        classes = getattr(estimator, "classes_", None)
        if classes is None or not hasattr(scorer, "set_score_request"):  # as scikit-learn's own have
            raise
        try:
            with config_context(enable_metadata_routing=True):  # which is what lets ``labels`` through
                return float(scorer(estimator, X, y, labels=classes, **weights))
        except (TypeError, ValueError):
            pass
        raise


def takes_weights(scorer: Any) -> bool:
    """Return whether a scorer can be given ``sample_weight``."""
    parameters = signature(scorer).parameters
    return "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
