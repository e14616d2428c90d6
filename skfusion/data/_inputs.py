"""Validation of inputs: as numbers for networks and forests, or as they are for estimators of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skfusion._rows import Inputs, Rows, key_of, row_keys
from skfusion.data._not_numbers import as_array, check_dates, check_no_none, explained


def check_inputs(
    estimator: BaseEstimator,
    X: Any,
    y: Any = None,
    *,
    reset: bool,
    numeric: bool | None = None,
    missing: bool = False,
) -> tuple[Inputs, Any]:
    """Return inputs as float32 arrays (integers of a dict as int64), and targets as an array.

    A dict names the arguments of the module's ``forward``. ``estimator`` remembers what it is fitted on where
    ``reset``, which is when targets are needed; ``numeric`` targets are values, which is so where the estimator has no
    ``predict_proba`` unless stated. ``missing`` lets NaN stand for a missing value.
    """
    if reset:
        check_given(estimator, y)
        y = y.toarray() if issparse(y) else y  # multi-label indicators
        check_no_none(y)
    numeric = not hasattr(estimator, "predict_proba") if numeric is None else numeric
    if isinstance(X, Mapping) and not issparse(X):  # scipy's dok arrays are dicts too
        X = _check_dict(estimator, X, reset)
        return X, y if y is None else check_targets(estimator, X, y, numeric)
    check_dates(X)
    kept = {
        "dtype": np.float32,
        "order": "C",
        "allow_nd": True,
        "ensure_all_finite": "allow-nan" if missing else True,
    }
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
