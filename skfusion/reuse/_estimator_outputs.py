"""What fitted estimators of any library predict: values, or probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion._rows import Task


def own_outputs(fitted: Any, X: Any, task: Task) -> np.ndarray:
    """Return values, or probabilities of an estimator's own classes; ones and zeros where it gives none.

    The shape is (n_samples, n_outputs).
    """
    if task == "regression":
        values = np.asarray(fitted.predict(X))
        return values.reshape(len(values), -1)
    if hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict_proba(X))
    hits: np.ndarray = np.asarray(fitted.predict(X))[:, None] == np.asarray(fitted.classes_)
    return hits.astype(np.float64)


def task_outputs(fitted: Any, X: Any, n_classes: int | None) -> np.ndarray:
    """Return values where there are no classes, or probabilities of all, of an estimator that was fitted on codes."""
    if n_classes is None:
        return own_outputs(fitted, X, "regression")
    return for_classes(own_outputs(fitted, X, "classification"), np.asarray(fitted.classes_, np.int64), n_classes)


def for_classes(P: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return probabilities of some classes as probabilities of all, zero for the others."""
    out = np.zeros((len(P), n_classes))
    out[:, codes] = P
    return out
