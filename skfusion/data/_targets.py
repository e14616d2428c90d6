"""Validation and encoding of targets, weights and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task
from skfusion.data._inputs import check_given, check_targets, columns_of, table_inputs
from skfusion.data._not_numbers import check_no_none


def check_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return sample weights as float64, shape (n,), or None where all rows count alike.

    They are non-negative and not all zero; a number is the weight of every row.
    """
    if sample_weight is None:
        return None
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    weight = np.full(n, float(weight)) if weight.ndim == 0 else weight
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array.")
    if len(weight) != n:
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(n,)}: one weight a row.")
    if (weight < 0).any():
        raise ValueError(f"Negative values in data passed to `sample_weight`: {weight[weight < 0][:3]}.")
    if not weight.any():
        raise ValueError("Sample weights are all zero: no rows are left to fit on.")
    return None if (weight == 1).all() else weight


def positive(rows: Rows) -> Rows:
    """Return the rows of positive weight; the others are as good as absent."""
    return rows if rows.weight is None or (rows.weight > 0).all() else rows.take(np.flatnonzero(rows.weight > 0))


def groups_of(groups: Any, n: int) -> np.ndarray | None:
    """Return the groups of n rows as codes."""
    if groups is None:
        return None
    codes = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    if len(codes) != n:
        raise ValueError(f"groups has {len(codes)} entries for {n} rows; give one a row.")
    return codes


def encode_classes(y: np.ndarray, weight: np.ndarray | None, classes: Any) -> tuple[np.ndarray, np.ndarray, Task]:
    """Return class codes (or indicators of labels), the classes by their code, and the task.

    ``classes`` are those that a net or a pool names, in its order; the sorted labels in y when omitted. Rows of weight
    zero do not count, not for the classes either. A binary indicator matrix is a multi-label problem.
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator" and y.shape[1] > 1:
        return y.astype(np.int64), np.arange(y.shape[1]), "multilabel"
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of several classes. Give a binary indicator matrix for multi-label problems, or fit "
            "one estimator a column with sklearn.multioutput.MultiOutputClassifier."
        )
    y = column_or_1d(y, warn=True)
    present = np.unique(y if weight is None else y[weight > 0])
    known = present if classes is None else np.asarray(classes)
    order = np.argsort(known)
    codes = order[np.minimum(np.searchsorted(known, y, sorter=order), len(known) - 1)]
    used = np.ones(len(y), bool) if weight is None else weight > 0
    if (unseen := known[codes] != y)[used].any():
        raise ValueError(
            f"y has labels that are not among the classes {known.tolist()}: {np.unique(y[unseen & used]).tolist()}. "
            f"The members of a pool know only the classes that they were trained on.{_if_codes(known, present)}"
        )
    return codes.astype(np.int64), known, "classification"


def encode_values(y: np.ndarray) -> np.ndarray:
    """Return targets as float64, shape (n_samples, n_outputs)."""
    y = np.asarray(y, np.float64)
    if len(y) and np.abs(y).max() > 1e150:
        raise ValueError("y has values whose squares are too large for float64; scale it (TransformedTargetRegressor).")
    return y[:, None] if y.ndim == 1 else y


def _if_codes(known: np.ndarray, present: np.ndarray) -> str:
    """Return the remedy where the classes may be no more than the codes of the labels that are there."""
    if known.dtype.kind not in "iu" or not np.array_equal(np.sort(known), np.arange(len(present))):
        return ""
    return (
        " If the net was trained on codes of these labels, say so, in the order of the codes: "
        "pool.replace(classes=np.array([...]))."
    )


def check_table(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    sample_weight: Any,
    groups: Any = None,
    *,
    classify: bool,
    classes: Any = None,
) -> tuple[Rows, np.ndarray | None, bool]:
    """Return validated rows for estimators of any kind: inputs as they are, encoded targets, positive weights.

    Also return the classes (None in regression), and whether the targets came without a second axis. ``estimator``
    remembers the features; ``classes`` are those that members name.
    """
    check_given(estimator, y)
    check_no_none(y)
    X = table_inputs(estimator, X, reset=True)
    y = check_targets(estimator, X, y, numeric=not classify)
    weight, flat = check_weight(sample_weight, len(y)), y.ndim == 1
    if classify:
        codes, classes, task = encode_classes(y, weight, classes)
    else:
        codes, task = encode_values(y), "regression"
    rows = Rows(X, codes, weight, groups_of(groups, len(y)), task=task, columns=columns_of(X))
    return positive(rows), classes, flat


def warn_of_unlabelled(classes: np.ndarray, codes: np.ndarray) -> None:
    """Warn that -1 is a class like any other, where it looks as if it marked rows without labels.

    There is no warning where -1 stands beside one other number or a negative one, as classes are often called -1 and 1;
    nor where the classes are -1, 0 and 1, unless at least half of the rows have -1.
    """
    others = classes[classes != -1] if classes.dtype.kind in "if" else classes
    if len(others) == len(classes) or len(others) < 2 or (others < 0).any():
        return
    if others.tolist() == [0, 1] and 2 * (codes == np.flatnonzero(classes == -1)[0]).sum() < len(codes):
        return
    warn_caller(
        f"y has -1 beside the classes {others.tolist()}, and it is taken for a class of its own. If it marks rows "
        "without labels, leave them out, or learn from them: for TemporalEnsemblingClassifier and PiModelClassifier -1 "
        "is no label, and DistillClassifier takes such rows as X_unlabelled. If it is a class, give it another number."
    )
