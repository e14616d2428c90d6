"""From what users pass to :class:`~skfusion._rows.Rows`, for methods that are their own predictor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from skfusion._rows import Inputs, Rows, warn_of_unlabelled


def check_inputs(
    estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool, missing: bool = False, named: bool = False
) -> Any:
    """Return inputs as a float32 array (integers of a dict as int64), and targets where there are some.

    Parameters
    ----------
    estimator : BaseEstimator
        Remembers what it is fitted on.
    X : array-like of shape (n_samples, ...), or dict of array-like
        Inputs.
    y : array-like, optional
        Targets.
    reset : bool
        Whether this is the data to be fitted on, which has targets.
    missing : bool, default=False
        Whether NaN stands for a missing value.
    named : bool, default=False
        Whether inputs may be a dict.
    """
    if reset and y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    if isinstance(X, Mapping) and not issparse(X):  # scipy's dok arrays are dicts too
        if not named:
            raise TypeError(
                f"X is a dict of the inputs {sorted(X)}, but {type(estimator).__name__} takes one array, of shape "
                "(n_samples, ...): stack their columns with numpy.hstack."
            )
        X = _check_dict(estimator, X, reset)
        if not reset:
            return X
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=estimator)
        check_consistent_length(*X.values(), y)
        return X, y
    if not reset and isinstance(estimator._shape_in, dict):
        raise ValueError(f"X must be a dict with the inputs {sorted(estimator._shape_in)}, as in fit.")
    kept = {
        "dtype": np.float32,
        "order": "C",
        "allow_nd": True,
        "ensure_all_finite": "allow-nan" if missing else True,
    }
    if not reset:
        X = validate_data(estimator, X, reset=False, **kept)
        if X.shape[1:] != estimator._shape_in:
            raise ValueError(f"A sample of X has shape {X.shape[1:]}, but had shape {estimator._shape_in} in fit.")
        return X
    numeric = is_regressor(estimator) or (not is_classifier(estimator) and is_values(y))
    X, y = validate_data(estimator, X, y, reset=True, multi_output=True, y_numeric=numeric, **kept)
    estimator._shape_in = X.shape[1:]
    return X, y


def _check_dict(estimator: BaseEstimator, X: Mapping[str, Any], reset: bool) -> dict[str, np.ndarray]:
    if not X:
        raise ValueError("X is an empty dict; give an array for each argument of the module's forward.")
    out = {}
    for name, values in X.items():
        array = np.asarray(values)
        kind = np.int64 if array.dtype.kind in "iub" else np.float32
        out[name] = check_array(array, dtype=kind, order="C", allow_nd=True, ensure_2d=False, input_name=f"X[{name!r}]")
    check_consistent_length(*out.values())
    shapes = {name: array.shape[1:] for name, array in out.items()}
    if reset:
        estimator._shape_in, estimator.n_features_in_ = shapes, len(shapes)
    elif shapes != estimator._shape_in:
        raise ValueError(f"The inputs have sample shapes {shapes}, but had {estimator._shape_in} in fit.")
    return out


def is_values(y: Any) -> bool:
    """Return whether targets are numbers to be predicted as such, by scikit-learn's ``type_of_target``."""
    return type_of_target(np.asarray(y), input_name="y").startswith("continuous")


def class_rows(X: Inputs, y: np.ndarray, sample_weight: Any, groups: Any) -> tuple[Rows, np.ndarray]:
    """Return rows of positive weight with class codes, and the classes."""
    check_classification_targets(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has {y.shape[1]} columns, and a forest of this kind tells classes apart that exclude each other. Fit "
            "one a column with sklearn.multioutput.MultiOutputClassifier."
        )
    y = column_or_1d(y, warn=True)
    weight = _check_weight(sample_weight, len(y))
    classes = np.unique(y if weight is None else y[weight > 0])
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1).astype(np.int64)
    warn_of_unlabelled(classes, codes)
    return _positive(X, codes, weight, groups), classes


def value_rows(X: np.ndarray, y: np.ndarray, sample_weight: Any, groups: Any) -> Rows:
    """Return rows of positive weight with values, shape (n_samples, n_outputs)."""
    y = np.asarray(y, np.float64)
    return _positive(X, y[:, None] if y.ndim == 1 else y, _check_weight(sample_weight, len(y)), groups)


def _check_weight(sample_weight: Any, n: int) -> np.ndarray | None:
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


def _positive(X: Inputs, y: np.ndarray, weight: np.ndarray | None, groups: Any) -> Rows:
    """Return the rows of positive weight; the others are as good as absent."""
    if groups is not None:
        groups = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
        if len(groups) != len(y):
            raise ValueError(f"groups has {len(groups)} entries for {len(y)} rows; give one a row.")
    rows = Rows(X, y, weight, groups)
    return rows if weight is None or (weight > 0).all() else rows.take(np.flatnonzero(weight > 0))
