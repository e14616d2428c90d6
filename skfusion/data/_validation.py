"""Validation of data: inputs as numbers or as they are, and the encoding of targets, weights and groups."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from skfusion._caller import warn_caller
from skfusion._rows import Inputs, Rows, Task, key_of, row_keys
from skfusion.data._checked import is_checked
from skfusion.data._not_finite import check_targets_known
from skfusion.data._not_numbers import as_array, check_dates, explained


def check_inputs(
    estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool, numeric: bool | None = None, missing: bool = False
) -> tuple[Inputs, Any]:
    """Return inputs as float32 arrays (integers of a dict as int64), and targets as an array.

    A dict names the arguments of the module's ``forward``. ``estimator`` remembers what it is fitted on where
    ``reset``, which is when targets are needed; ``numeric`` targets are values, which is so where the estimator has no
    ``predict_proba`` unless stated. ``missing`` lets NaN stand for a missing value.
    """
    if not reset and is_checked(estimator, X):
        return X, y
    numeric = not hasattr(estimator, "predict_proba") if numeric is None else numeric
    if reset:
        check_given(estimator, y)
        check_targets_known(y, classify=not numeric)
        y = y.toarray() if issparse(y) else y  # multi-label indicators
    if isinstance(X, Mapping) and not issparse(X):  # scipy's dok arrays are dicts too
        X = _check_dict(estimator, X, reset)
        return X, y if y is None else check_targets(estimator, X, y, numeric)
    if not _are_numbers(X):
        check_dates(X)
    kept = {"dtype": np.float32, "order": "C", "allow_nd": True, "ensure_all_finite": "allow-nan" if missing else True}
    if not reset and isinstance(getattr(estimator, "_shape_in", None), dict):
        raise ValueError(f"X must be a dict with the inputs {sorted(estimator._shape_in)}, as in fit.")
    try:
        if reset:
            X, y = validate_data(estimator, X, y, reset=True, multi_output=True, y_numeric=numeric, **kept)
            estimator._shape_in = X.shape[1:]
        else:
            X = validate_data(estimator, X, reset=False, **kept)
    except (TypeError, ValueError) as error:
        if (reason := explained(X, error)) is error:
            raise
        raise reason from error
    if X.shape[1:] != estimator._shape_in:
        raise ValueError(f"A sample of X has shape {X.shape[1:]}, but had shape {estimator._shape_in} in fit.")
    return X, y


def _are_numbers(values: Any) -> bool:
    """Return whether something is an array of numbers, in which no text or date need be looked for."""
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuf"


def check_given(estimator: BaseEstimator, y: Any) -> None:
    """Raise where an estimator is fitted without targets."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")


def check_targets(estimator: BaseEstimator, X: Any, y: Any, numeric: bool) -> np.ndarray:
    """Return targets as an array of as many rows as validated inputs have."""
    y = check_array(y, ensure_2d=False, dtype=np.float64 if numeric else None, input_name="y", estimator=estimator)
    check_consistent_length(*(X.values() if isinstance(X, Mapping) else [X]), y)
    return y


def _check_dict(estimator: BaseEstimator, X: Mapping[str, Any], reset: bool) -> dict[str, np.ndarray]:
    if not X:
        raise ValueError("X is an empty dict; give an array for each argument of the module's forward.")
    out = {}
    for name, values in X.items():
        array = as_array(name, values)
        kind = np.int64 if array.dtype.kind in "iub" else np.float32
        out[name] = check_array(array, dtype=kind, order="C", allow_nd=True, ensure_2d=False, input_name=f"X[{name!r}]")
    check_consistent_length(*out.values())
    shapes = {name: array.shape[1:] for name, array in out.items()}
    if reset:
        estimator._shape_in, estimator.n_features_in_ = shapes, len(shapes)
    elif shapes != estimator._shape_in:
        raise ValueError(f"The inputs have sample shapes {shapes}, but had {estimator._shape_in} in fit.")
    return out


# ---- targets, weights and groups ----------------------------------------------------------------------


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
    groups = np.asarray(groups).ravel()
    if len(groups) != n:
        raise ValueError(f"groups has {len(groups)} entries for {n} rows; give one a row.")
    if missing := int(pd.isna(groups).sum()):
        raise ValueError(
            f"groups is missing for {missing} of {n} rows; give each of them a group, such as one of its own."
        )
    codes: np.ndarray = np.unique(groups, return_inverse=True)[1].ravel()
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


def encoded_rows(
    X: Any, y: np.ndarray, sample_weight: Any, groups: Any, *, classify: bool, classes: Any = None, columns: Any = None
) -> tuple[Rows, np.ndarray | None]:
    """Return rows of positive weight of validated inputs, with encoded targets, and the classes (None for values)."""
    weight = check_weight(sample_weight, len(y))
    if classify:
        codes, classes, task = encode_classes(y, weight, classes)
    else:
        codes, task = encode_values(y), "regression"
    return positive(Rows(X, codes, weight, groups_of(groups, len(y)), task=task, columns=columns)), classes


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
    check_targets_known(y, classify)
    X = table_inputs(estimator, X, reset=True)
    y = check_targets(estimator, X, y, numeric=not classify)
    rows, classes = encoded_rows(X, y, sample_weight, groups, classify=classify, classes=classes, columns=columns_of(X))
    return rows, classes, y.ndim == 1


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


# ---- tables: inputs that are handed to estimators of any kind as they are ----------------------------


def table_inputs(estimator: BaseEstimator, X: Any, reset: bool = False) -> Any:
    """Return inputs of any container as something that rows can be taken from; ``estimator`` remembers the features."""
    if isinstance(X, Mapping) and not issparse(X):
        X = {name: np.asarray(values) for name, values in X.items()}
        if reset:
            estimator.n_features_in_ = len(X)
        return X
    if issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "iloc"):
        X = check_array(X, dtype=None, allow_nd=True, ensure_all_finite=False)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def table(X: Any, y: np.ndarray) -> Rows:
    """Return rows of a frame, a sparse array, an array of any dtype or a dict of arrays."""
    return Rows(X, y, columns=columns_of(X))


def columns_of(X: Any) -> np.ndarray | None:
    """Return numbers, a row each, that are equal where the inputs are; None for inputs that are numbers themselves.

    Columns of a frame that hold no numbers become the codes of their values. Sparse rows are hashed.
    """
    if isinstance(X, Mapping) and not issparse(X):
        return None
    if issparse(X):
        return _sparse_keys(X)[:, None]
    if not hasattr(X, "iloc"):
        if X.dtype.kind in "biuf":
            return None
        X = pd.DataFrame(X.reshape(len(X), -1))
    try:
        return np.column_stack([_numbers(X.iloc[:, j]) for j in range(X.shape[1])])
    except TypeError:  # cells that cannot be hashed cannot be numbers either: let numpy say which
        return row_keys(np.asarray(X, np.float64), np.zeros(len(X)))[:, None]


def _numbers(column: pd.Series) -> np.ndarray:
    """Return the values of a column where they are numbers, and codes of them elsewhere."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    return pd.factorize(column)[0].astype(np.float64)


def _sparse_keys(X: Any) -> np.ndarray:
    """Return a hash of each row of a sparse array; equal rows have equal ones."""
    X = X.tocsr(copy=True)
    X.sum_duplicates()  # which sorts the indices too
    X.eliminate_zeros()
    indices, data = X.indices.astype(np.int64), X.data.astype(np.float64)
    parts = [slice(a, b) for a, b in pairwise(X.indptr)]
    return np.array([key_of(indices[part].tobytes(), data[part].tobytes()) for part in parts], np.uint64)
