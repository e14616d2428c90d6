"""Scores of predictions, by scikit-learn's scorers too, which know all classes where rows lack some."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task
from skfusion.data._scorers import get_scorer, scorer_named

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does."""

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        right = ((p > 0.5) == rows.y).all(axis=1) if task == "multilabel" else p.argmax(axis=1) == rows.y
        if rows.weight is None and len(right):
            return float(np.count_nonzero(right) / len(right))
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

    None is accuracy or R2. A scorer is ``scorer(estimator, X, y)``; classes are their codes, 0 to n_classes - 1. The
    score of a prediction that is not finite is NaN, as is one that is undefined where the rows lack a class; then there
    is a warning.
    """
    if scoring is None:
        return default_score(task)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    kind = _KnownRegressor if task == "regression" else _KnownClassifier

    def score(prediction: np.ndarray, rows: Rows) -> float:
        weights = _weights(scorer, scoring, rows.weight)
        if not np.isfinite(prediction).all():
            return float("nan")
        lacking = _lacking(rows.y, task, prediction.shape[1])
        try:
            with warnings.catch_warnings():
                if lacking:
                    warnings.simplefilter("ignore", UndefinedMetricWarning)  # the warning below has the name
                value = score_by(scorer, kind(prediction, task), rows.X, rows.y, **weights)
        except ValueError as error:
            if not lacking:
                raise ValueError(
                    f"scoring={scoring!r} cannot judge the {len(rows)} held-out rows: {error} Use another score."
                ) from error
            value = float("nan")
        except AttributeError as error:
            reason = str(error).replace(kind.__name__, "what is scored")
            raise ValueError(
                f"scoring={scoring!r} asks for more than there is ({task}): {reason.rstrip('.')}. Scores see "
                f"predictions {'and probabilities ' if task != 'regression' else ''}only; give another one."
            ) from error
        if lacking and np.isnan(value):
            warn_caller(
                f"scoring={scoring!r} is undefined for the {len(rows)} rows, {lacking}.", UndefinedMetricWarning
            )
        return value

    return score


def held_out_score(scoring: Any, task: Task, rows: Rows, n_outputs: int) -> Score:
    """Return the score by which members are judged on held-out rows: the log-loss where ``scoring`` says nothing.

    That is where the rows lack a class, or a label does not vary, and the score of a perfect prediction is undefined or
    that of a wrong one. A warning names it.
    """
    score = score_function(scoring, task)
    lacking = "" if scoring is None else _lacking(rows.y, task, n_outputs)
    if not lacking:
        return score
    right = rows.y.astype(np.float64) if task == "multilabel" else np.eye(n_outputs)[rows.y]
    wrong = 1 - right if task == "multilabel" else np.roll(right, 1, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, worst = (score(prediction, rows) for prediction in (right, wrong))
    if best != worst and not np.isnan(best):
        return score
    warn_caller(
        f"scoring={scoring!r} tells nothing of the {len(rows)} held-out rows, {lacking}, so members are judged by the "
        "log-loss there. Use a larger validation_fraction, more rows, or scoring='neg_log_loss'.",
        UndefinedMetricWarning,
    )
    return _negative_log_loss(task)


def _lacking(y: np.ndarray, task: Task, n_outputs: int) -> str:
    """Return which classes rows lack, or which labels do not vary in them, in words; nothing where there are none."""
    if task == "classification":
        n = int((np.bincount(y, minlength=n_outputs) == 0).sum())
        return f"which lack {n} of {n_outputs} classes" if n else ""
    constant = (y == y[:1]).all(axis=0) if task == "multilabel" else np.zeros(1, bool)
    return f"in which {constant.sum()} of {n_outputs} labels do not vary" if constant.any() else ""


def _negative_log_loss(task: Task) -> Score:
    def score(p: np.ndarray, rows: Rows) -> float:
        tiny = np.finfo(np.float32).eps
        if task == "multilabel":
            losses = -np.log(np.where(rows.y == 1, p, 1 - p).astype(np.float64).clip(tiny, 1)).mean(axis=1)
        else:
            losses = -np.log(p[np.arange(len(p)), rows.y].astype(np.float64).clip(tiny, 1))
        return -float(np.average(losses, weights=rows.weight))

    return score


def scorer_of(
    scoring: Any, y: np.ndarray, weight: np.ndarray | None, task: Task, n_outputs: int
) -> Callable[[np.ndarray], float]:
    """Return the score of a prediction, shape (n_samples, n_outputs), of rows without inputs, as combiners see them.

    It is NaN where it is undefined for a prediction, and the log-loss where it is for all; see :func:`held_out_score`.
    """
    scorer_named(scoring)
    rows = Rows(np.empty((len(y), 0)), y, weight, task=task)

    def explained(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if "takes no sample_weight" in str(error):
                raise
            raise ValueError(
                f"scoring={scoring!r} cannot judge predictions for {len(y)} held-out rows ({task}): {error} A combiner "
                "has probabilities or values and no inputs; use another score."
            ) from error

    score = explained(lambda: held_out_score(scoring, task, rows, n_outputs))
    return lambda prediction: explained(lambda: score(prediction, rows))


def score_by(scorer: Any, estimator: Any, X: Any, y: Any, **weights: Any) -> float:
    """Return the score of a fitted estimator by ``scorer(estimator, X, y)``.

    Where the rows lack a class, scikit-learn asks for the names of all, which the estimator knows: the log-loss then is
    what it is, and the area under a curve NaN, with a warning. A class that the estimator was not fitted on has the
    probability 1.2e-7, which is what float32 tells from 0.
    """
    if not hasattr(scorer, "set_score_request"):  # which scikit-learn's scorers have
        return float(scorer(estimator, X, y, **weights))
    if new := unseen_classes(estimator, y):
        estimator = _WithClasses(estimator, np.union1d(estimator.classes_, new))
    try:
        return float(scorer(estimator, X, y, **weights))
    except ValueError as error:
        classes = getattr(estimator, "classes_", None)
        if not isinstance(classes, np.ndarray) or np.ndim(y) != 1:
            raise
        try:
            with config_context(enable_metadata_routing=True):  # which is what lets ``labels`` through
                return float(scorer(estimator, X, y, labels=classes, **weights))
        except (TypeError, ValueError):
            pass
        if lacking := [label for label in classes.tolist() if label not in set(np.asarray(y).tolist())]:
            raise ValueError(f"{error} The rows lack the classes {lacking}, without which it is undefined.") from error
        raise


def unseen_classes(estimator: Any, y: Any) -> list[Any]:
    """Return the labels of rows that a fitted classifier does not know, as it was fitted on rows that lack them."""
    classes, y = getattr(estimator, "classes_", None), np.asarray(y)
    if not isinstance(classes, np.ndarray) or y.ndim != 1:
        return []
    known = set(classes.tolist())
    return [label for label in dict.fromkeys(y.tolist()) if label not in known]


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


class _WithClasses(ClassifierMixin, BaseEstimator):
    """A fitted classifier that knows more classes, of the least probability."""

    def __init__(self, fitted: Any = None, classes: Any = None):
        self.fitted = fitted
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        return np.asarray(self.classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.fitted.predict(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        some = np.asarray(self.fitted.predict_proba(X))
        proba = np.full((len(some), len(self.classes)), np.finfo(np.float32).eps, some.dtype)
        proba[:, np.searchsorted(self.classes, self.fitted.classes_)] = some
        return proba / proba.sum(axis=1, keepdims=True)


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
