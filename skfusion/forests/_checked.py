"""Data of forests: validated inputs, and rows of positive weight with encoded targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skfusion._rows import Inputs, Rows
from skfusion.data import check_inputs, encoded_rows, warn_of_unlabelled


class OfArrays(BaseEstimator):
    """An estimator made of trees, which take one array of numbers, of which some may be missing."""

    def _checked(self, X: Any, y: Any = None, *, reset: bool, numeric: bool | None = None) -> tuple[np.ndarray, Any]:
        """Return inputs and targets; see ``data.check_inputs``."""
        if isinstance(X, Mapping) and not issparse(X):
            raise TypeError(
                f"X is a dict of the inputs {sorted(X)}, but {type(self).__name__} takes one array, of shape "
                "(n_samples, ...): stack their columns with numpy.hstack."
            )
        return check_inputs(self, X, y, reset=reset, numeric=numeric, missing=True)

    def _inputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._checked(X, reset=False)[0]

    def _encoded(self, X: np.ndarray, y: np.ndarray, sample_weight: Any, groups: Any, classify: bool) -> Rows:
        """Return rows of positive weight with codes or values; set the classes, and how many outputs there are."""
        if classify:
            rows, self.classes_ = class_rows(X, y, sample_weight, groups)
            self._n_outputs = len(self.classes_)
        else:
            rows, _ = encoded_rows(X, y, sample_weight, groups, classify=False)
            self._flat, self._n_outputs = y.ndim == 1, rows.y.shape[1]
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags


def class_rows(X: Inputs, y: np.ndarray, sample_weight: Any, groups: Any) -> tuple[Rows, np.ndarray]:
    """Return rows of positive weight with class codes, and the classes."""
    check_classification_targets(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has {y.shape[1]} columns, and a forest of this kind predicts classes that exclude each other. Fit "
            "one a column with sklearn.multioutput.MultiOutputClassifier."
        )
    rows, classes = encoded_rows(X, y, sample_weight, groups, classify=True)
    warn_of_unlabelled(classes, rows.y)
    return rows, classes


def check_counts(estimator: BaseEstimator, **least: int) -> None:
    """Raise where parameters are no whole numbers, or smaller than they may be."""
    for name, smallest in least.items():
        value = getattr(estimator, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < smallest:
            raise ValueError(f"{name} must be a whole number of at least {smallest}; got {value!r}.")
