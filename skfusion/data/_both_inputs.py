"""Inputs as users give them, for estimators of any library, beside the arrays that networks take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array

from skfusion._rows import Inputs, Rows, one_of, rows_at
from skfusion.data._not_finite import check_targets_known
from skfusion.data._not_numbers import as_array, check_dates, explained
from skfusion.data._validation import check_given, check_inputs, check_targets, columns_of, table_inputs


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


def check_both_inputs(
    estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool, networks: bool, numeric: bool
) -> tuple[Any, Any, Any]:
    """Return inputs for members of any kind, targets as an array, and what rows are compared by.

    Where there are ``networks``, inputs are numbers; else they are tables of any kind. For other parameters see
    :func:`check_inputs`.
    """
    if isinstance(X, Mapping) and not issparse(X):  # networks and estimators get the same arrays
        return (*check_inputs(estimator, X, y, reset=reset, numeric=numeric), None)
    if networks:
        arrays, y = check_inputs(estimator, X, y, reset=reset, numeric=numeric)
        return BothInputs(X if hasattr(X, "iloc") else np.asarray(X), arrays), y, arrays
    if reset:
        check_given(estimator, y)
        check_targets_known(y, not numeric)
    given = table_inputs(estimator, X, reset=reset)
    arrays = _numbers(given)
    if reset:
        y = y.toarray() if issparse(y) else y  # multi-label indicators
        y = check_targets(estimator, given, y, numeric)
    return BothInputs(given, arrays), y, columns_of(given) if arrays is None and reset else arrays


def _numbers(X: Any) -> np.ndarray | None:
    """Return a table as float32, by which rows are recognised wherever they come from; None where it is none."""
    if issparse(X) or (hasattr(X, "iloc") and not all(pd.api.types.is_numeric_dtype(kind) for kind in X.dtypes)):
        return None
    try:
        return np.ascontiguousarray(X, np.float32)
    except (TypeError, ValueError):
        return None


def rows_to_judge(X: Any, y: np.ndarray) -> Rows:
    """Return rows of validated inputs and encoded targets, to be compared with those that members know."""
    if not isinstance(X, BothInputs):
        return Rows(X, y)
    return Rows(X, y, columns=columns_of(X.given) if X.arrays is None else X.arrays)


def are_known_by_numbers(rows: Rows) -> bool:
    """Return whether rows can be recognised elsewhere: what tables with text are compared by is of themselves alone."""
    return not isinstance(rows.X, BothInputs) or rows.X.arrays is not None


def rows_for_networks(rows: Rows) -> Rows:
    """Return rows with inputs as arrays."""
    return replace(rows, X=for_networks(rows.X), columns=None) if isinstance(rows.X, BothInputs) else rows


def rows_as_given(rows: Rows) -> Rows:
    """Return rows with inputs as they came."""
    return replace(rows, X=rows.X.given) if isinstance(rows.X, BothInputs) else rows


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
