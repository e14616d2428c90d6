"""Inputs as users give them, for estimators of any library, beside the arrays that networks take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from skfusion._rows import Inputs, one_of, rows_at
from skfusion.data._not_numbers import as_array, check_dates, explained


@dataclass(frozen=True, eq=False)
class BothInputs:
    """The same rows twice: ``given`` as they came, and ``arrays`` for networks, None where they are no numbers."""

    given: Any
    arrays: Inputs | None

    def __len__(self) -> int:
        return int(one_of(self.given).shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what was given."""
        return tuple(one_of(self.given).shape)

    def __getitem__(self, index: Any) -> BothInputs:
        """Return some rows."""
        arrays = self.arrays
        if arrays is not None:
            arrays = {k: v[index] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[index]
        return BothInputs(rows_at(self.given, index), arrays)


def for_networks(X: Any) -> Inputs:
    """Return inputs as float32 arrays (integers of a dict as int64), or raise ``ValueError`` that says why not."""
    if isinstance(X, BothInputs):
        return for_networks(X.given) if X.arrays is None else X.arrays
    if isinstance(X, Mapping) and not issparse(X):
        return {name: _as_input(name, values) for name, values in X.items()}
    check_dates(X)
    try:
        array: np.ndarray = check_array(X, dtype=np.float32, order="C", allow_nd=True)
    except (TypeError, ValueError) as error:
        raise explained(X, error) from error
    return array


def _as_input(name: str, values: Any) -> np.ndarray:
    array = as_array(name, values)
    return np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iub" else np.float32)


def for_estimator(fitted: Any, X: Any) -> Any:
    """Return inputs with the names of columns that an estimator was fitted with, and without those that it never saw.

    scikit-learn warns where an estimator that was fitted on a frame is given an array, and the other way round.
    """
    if isinstance(X, BothInputs):
        X = X.given
    names = getattr(fitted, "feature_names_in_", None)
    if isinstance(X, pd.DataFrame):
        named = all(isinstance(column, str) for column in X.columns)
        return X.to_numpy() if named and names is None and hasattr(fitted, "n_features_in_") else X
    if names is None or isinstance(X, Mapping) or issparse(X) or hasattr(X, "columns"):
        return X
    X = np.asarray(X)
    return pd.DataFrame(X, columns=names) if X.ndim == 2 and X.shape[1] == len(names) else X
