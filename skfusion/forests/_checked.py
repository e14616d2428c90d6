"""Data of forests: validated inputs, and rows of positive weight with encoded targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets

from skfusion._rows import Inputs, Rows
from skfusion.data import (
    check_inputs,
    check_weight,
    encode_classes,
    encode_values,
    groups_of,
    positive,
    warn_of_unlabelled,
)


def check_array_inputs(
    estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool, numeric: bool | None = None
) -> tuple[np.ndarray, Any]:
    """Return inputs of trees, which take one array and may miss values, and targets; see ``data.check_inputs``."""
    if isinstance(X, Mapping) and not issparse(X):
        raise TypeError(
            f"X is a dict of the inputs {sorted(X)}, but {type(estimator).__name__} takes one array, of shape "
            "(n_samples, ...): stack their columns with numpy.hstack."
        )
    return check_inputs(estimator, X, y, reset=reset, numeric=numeric, missing=True)


def class_rows(X: Inputs, y: np.ndarray, sample_weight: Any, groups: Any) -> tuple[Rows, np.ndarray]:
    """Return rows of positive weight with class codes, and the classes."""
    check_classification_targets(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has {y.shape[1]} columns, and a forest of this kind predicts classes that exclude each other. Fit "
            "one a column with sklearn.multioutput.MultiOutputClassifier."
        )
    weight = check_weight(sample_weight, len(y))
    codes, classes, task = encode_classes(y, weight, None)
    warn_of_unlabelled(classes, codes)
    return positive(Rows(X, codes, weight, groups_of(groups, len(codes)), task=task)), classes


def value_rows(X: np.ndarray, y: np.ndarray, sample_weight: Any, groups: Any) -> Rows:
    """Return rows of positive weight with values, shape (n_samples, n_outputs)."""
    weight, values = check_weight(sample_weight, len(y)), encode_values(y)
    return positive(Rows(X, values, weight, groups_of(groups, len(y)), task="regression"))


def check_counts(estimator: BaseEstimator, **least: int) -> None:
    """Raise where parameters are no whole numbers, or smaller than they may be."""
    for name, smallest in least.items():
        value = getattr(estimator, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < smallest:
            raise ValueError(f"{name} must be a whole number of at least {smallest}; got {value!r}.")
