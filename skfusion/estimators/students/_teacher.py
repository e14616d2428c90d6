"""What a teacher predicts for rows, in the classes or outputs of its student."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skfusion._rows import Rows, Task
from skfusion.data import outputs_of
from skfusion.pool import ModelPool


def is_estimator(teacher: Any) -> bool:
    return hasattr(teacher, "fit") and not isinstance(teacher, (type, ModelPool))


def is_fitted(teacher: Any) -> bool:
    try:
        check_is_fitted(teacher)
    except NotFittedError:
        return False
    return True


def check_teacher(teacher: Any, of_classes: bool) -> None:
    """Raise where an estimator, fitted or not, cannot teach what the student is to predict."""
    name = type(teacher).__name__
    if of_classes and not hasattr(teacher, "predict_proba"):
        raise TypeError(
            f"The teacher {name} has no predict_proba, and the student learns probabilities: give another one, or "
            "CalibratedClassifierCV(teacher)."
        )
    if not of_classes and (is_classifier(teacher) or not hasattr(teacher, "predict")):
        raise TypeError(f"The teacher {name} predicts no values: give a regressor, or use DistillClassifier.")


def check_classes(known: np.ndarray, y: np.ndarray) -> None:
    """Raise where y has labels that the teacher does not know."""
    if unknown := {*y.tolist()} - {*known.tolist()}:
        remedy = "Train the teacher on them too, or leave their rows out."
        if unknown == {-1}:
            remedy = "If these rows have no label, give them apart, as fit(X, y, X_unlabelled=...)."
        raise ValueError(
            f"The teacher knows the classes {known.tolist()}, and y has others: {sorted(unknown, key=str)}. {remedy}"
        )


def probabilities(teacher: Any, X: Any, task: Task, labels: list[Any]) -> np.ndarray:
    """Return the probability of each label, in the order of the student's columns; 0 for what the teacher lacks."""
    if task == "multilabel":
        P = outputs_of(teacher, X, task, len(labels))
        if P.shape[1] != len(labels):
            raise ValueError(f"The teacher knows {P.shape[1]} labels, and y has {len(labels)}.")
        return P
    column = {label: i for i, label in enumerate(labels)}
    known = np.asarray(teacher.classes_).tolist()
    if unknown := [label for label in known if label not in column]:
        raise ValueError(
            f"The teacher knows classes that the student does not: {unknown}. Name all of them in the net's parameter "
            "classes=[...], or leave it unset."
        )
    P = np.asarray(teacher.predict_proba(X))
    out = np.zeros((len(P), len(column)))
    out[:, [column[label] for label in known]] = P
    return out


def values(teacher: Any, X: Any, n_outputs: int) -> np.ndarray:
    """Return the values, shape (n_samples, n_outputs)."""
    predicted = np.asarray(teacher.predict(X))
    predicted = predicted.reshape(len(predicted), -1)
    if predicted.shape[1] != n_outputs:
        raise ValueError(f"The teacher predicts {predicted.shape[1]} values a row, and y has {n_outputs}.")
    return predicted


def predicted_once(student: Any, rows: Rows) -> np.ndarray:
    """Return what the teacher predicts, each row once: rounding depends on how many are computed together."""
    _, first, inverse = np.unique(rows.keys, return_index=True, return_inverse=True)
    soft = student._taught(rows.take(first).X)
    if not np.isfinite(soft).all():
        raise ValueError(f"The teacher {type(student.teacher_).__name__} predicts values that are NaN or infinite.")
    return soft[inverse]
