"""What a fitted estimator of any library predicts for all classes, as numbers of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skfusion._rows import Task


def outputs_of(
    fitted: Any, X: Any, task: Task, n_outputs: int, name: str | None = None, labels: np.ndarray | None = None
) -> np.ndarray:
    """Return a member's prediction, shape (n_samples, n_outputs): values, probabilities of classes, or scores.

    The columns are those of ``labels``, of which the member may know some, in any order; without them its ``classes_``
    are codes, and these the columns. A class that it was not fitted on gets probability 0, or the least score of the
    row: no score rules a class out, but so it is never more likely than another one, and the columns keep their scale.
    """
    who = type(fitted).__name__ if name is None else f"Member {name!r}"
    if task == "regression":
        values = np.asarray(fitted.predict(X))
        values = values.astype(np.result_type(values, np.float32), copy=False)
        return _of_outputs(values.reshape(len(values), -1), n_outputs, who)
    if task == "multilabel":
        if not hasattr(fitted, "predict_proba"):
            return _of_outputs(np.asarray(fitted.predict(X), np.float64), n_outputs, who)
        proba = fitted.predict_proba(X)
        if not isinstance(proba, list):
            return _of_outputs(np.asarray(proba), n_outputs, who)
        known = getattr(fitted, "classes_", [(0, 1)] * len(proba))
        by_label = [_of_label(p, values, who) for p, values in zip(proba, known, strict=True)]
        return _of_outputs(np.stack(by_label, axis=1), n_outputs, who)
    codes = class_columns(fitted, labels, who)
    if hasattr(fitted, "predict_proba"):
        scores = np.asarray(fitted.predict_proba(X))
        if len(codes) == 1:  # of which histogram gradient boosting gives two columns
            scores = np.ones_like(scores[:, :1])
        out = np.zeros((len(scores), n_outputs), scores.dtype)
    elif hasattr(fitted, "decision_function"):
        scores = _decisions(fitted, X, len(codes), who)
        out = np.repeat(scores.min(axis=1, keepdims=True), n_outputs, axis=1)
    else:
        scores = (np.asarray(fitted.predict(X)).reshape(-1, 1) == np.asarray(fitted.classes_)).astype(np.float64)
        out = np.zeros((len(scores), n_outputs))
    if scores.shape[1] != len(codes):
        raise ValueError(f"{who} gives {scores.shape[1]} columns for its {len(codes)} classes_. Leave it out.")
    out[:, codes] = scores
    return out


def class_columns(fitted: Any, labels: np.ndarray | None, who: str) -> np.ndarray:
    """Return the column of each class of a member among ``labels``, or its classes themselves where they are codes.

    Raises ``ValueError`` where it does not say its classes, or knows others.
    """
    known = getattr(fitted, "classes_", None)
    if known is None or (isinstance(known, list) and any(np.ndim(k) for k in known)):
        what = "has no classes_" if known is None else "was fitted on several labels a row"
        raise ValueError(f"{who} {what}, so that it is not known of which class its columns are. Leave it out.")
    if labels is None:
        return np.asarray(known, np.int64)
    places = {label: column for column, label in enumerate(np.asarray(labels).tolist())}
    own = np.asarray(known).tolist()
    if unknown := [label for label in own if label not in places]:
        raise ValueError(
            f"{who} predicts the classes {unknown[:5]}, which are not among those of the pool, {[*places][:20]}. "
            "Leave it out, or fit it on rows of these classes."
        )
    return np.array([places[label] for label in own], np.int64)


def _of_outputs(values: np.ndarray, n_outputs: int, who: str) -> np.ndarray:
    """Return predictions of as many outputs as there are."""
    if values.ndim != 2 or values.shape[1] != n_outputs:
        found = values.shape[1] if values.ndim == 2 else values.shape[1:]
        raise ValueError(f"{who} predicts {found} outputs, and there are {n_outputs}. Leave it out.")
    return values


def _of_label(p: np.ndarray, labels: Any, who: str) -> np.ndarray:
    """Return the probability of 1 among the probabilities of the values of a label, of which a fold may lack one."""
    if p.shape[1] != len(labels):
        raise ValueError(
            f"{who} gives probabilities of {p.shape[1]} values of a label, and its classes_ do not say of which. Use "
            "another one, or wrap it in MultiOutputClassifier."
        )
    column = np.flatnonzero(np.asarray(labels) == 1)
    return p[:, column[0]] if len(column) else np.zeros(len(p))


def _decisions(fitted: Any, X: Any, n_classes: int, who: str) -> np.ndarray:
    """Return a score of each class, shape (n_samples, n_classes)."""
    scores = np.asarray(fitted.decision_function(X))
    if scores.ndim == 1:
        return np.stack([-scores, scores], axis=1)
    inner = fitted
    while not hasattr(inner, "decision_function_shape"):
        if isinstance(inner, Pipeline):
            inner = inner.steps[-1][1]
        elif isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        elif hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        else:
            break
    # of three classes there are three pairs too
    if scores.shape[1] != n_classes or getattr(inner, "decision_function_shape", None) == "ovo":
        raise ValueError(
            f"{who} gives {scores.shape[1]} scores a row for {n_classes} classes: scores of pairs of classes tell of "
            "no class by itself. Give it decision_function_shape='ovr', or wrap it in CalibratedClassifierCV, which "
            "gives probabilities."
        )
    return scores
