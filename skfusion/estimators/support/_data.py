"""From what users pass to :class:`~skfusion._rows.Rows`: validation and encoding of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from skfusion._rows import Inputs, Task
from skfusion.estimators.support._not_numbers import as_array, check_dates, check_no_none, explained


def check_inputs(estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool) -> tuple[Inputs, Any]:
    """Return inputs as float32 arrays (integers of a dict as int64), and targets as an array.

    Parameters
    ----------
    estimator : BaseEstimator
        Remembers what it is fitted on.
    X : array-like of shape (n_samples, ...), or dict of array-like
        A dict names the arguments of the module's ``forward``.
    y : array-like, optional
        Targets; not looked at in prediction.
    reset : bool
        Whether this is the data to be fitted on.

    Returns
    -------
    X : ndarray or dict of ndarray
        Inputs.
    y : ndarray or None
        Targets.
    """
    if reset and y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    y = y.toarray() if issparse(y) else y  # multi-label indicators
    if reset:
        check_no_none(y)
    if isinstance(X, Mapping) and not issparse(X):  # scipy's dok arrays are dicts too
        return _check_dict(estimator, X, reset), None if y is None else _check_targets(estimator, X, y)
    check_dates(X)
    try:
        return _check_array(estimator, X, y, reset)
    except (TypeError, ValueError) as error:
        if (told := explained(X, error)) is error:
            raise
        raise told from error


def _check_array(estimator: BaseEstimator, X: Any, y: Any, reset: bool) -> tuple[Inputs, Any]:
    kept = {"dtype": np.float32, "order": "C", "allow_nd": True}
    if reset:
        numeric = not hasattr(estimator, "predict_proba")
        X, y = validate_data(estimator, X, y, reset=True, multi_output=True, y_numeric=numeric, **kept)
        estimator._shape_in = X.shape[1:]
        return X, y
    if isinstance(getattr(estimator, "_shape_in", None), dict):
        raise ValueError(f"X must be a dict with the inputs {sorted(estimator._shape_in)}, as in fit.")
    X = validate_data(estimator, X, reset=False, **kept)
    if X.shape[1:] != estimator._shape_in:
        raise ValueError(f"A sample of X has shape {X.shape[1:]}, but had shape {estimator._shape_in} in fit.")
    return X, y


def check_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return sample weights as float64, shape (n,), or None where all rows count alike.

    Parameters
    ----------
    sample_weight : array-like of shape (n,), float or None
        Non-negative, not all zero.
    n : int
        Rows.

    Returns
    -------
    ndarray of shape (n,) or None
        The weights; None when they are all one.
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


def encode_classes(y: np.ndarray, weight: np.ndarray | None, classes: Any) -> tuple[np.ndarray, np.ndarray, Task]:
    """Return class codes (or indicators), the classes, and the task.

    Parameters
    ----------
    y : ndarray
        Labels, or a binary indicator matrix of shape (n_samples, n_labels) for multi-label problems.
    weight : ndarray of shape (n_samples,), optional
        Rows of weight zero do not count, not for the classes either.
    classes : array-like, optional
        The classes, where a net or a pool names them; those in y when omitted.

    Returns
    -------
    codes : ndarray of int64
        Positions in the classes, or indicators.
    classes : ndarray of shape (n_classes,)
        Labels by their code: sorted, or in the order of ``classes``.
    task : {"classification", "multilabel"}
        What the outputs will be.
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


def _check_dict(estimator: BaseEstimator, X: Mapping[str, Any], reset: bool) -> Inputs:
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
        estimator._shape_in = shapes
        estimator.n_features_in_ = len(shapes)
    elif shapes != estimator._shape_in:
        raise ValueError(f"The inputs have sample shapes {shapes}, but had {estimator._shape_in} in fit.")
    return out


def _check_targets(estimator: BaseEstimator, X: Mapping[str, Any], y: Any) -> np.ndarray:
    numeric = not hasattr(estimator, "predict_proba")
    y = check_array(y, ensure_2d=False, dtype=np.float64 if numeric else None, input_name="y", estimator=estimator)
    check_consistent_length(next(iter(X.values())), y)
    return y
