"""Columns of tables with numbers, categories, dates and missing values, made ready for estimators of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, SplineTransformer, StandardScaler

from skfusion.data._not_finite import refuse_infinite

MOST_CODES = 254
"""Categories of a column that are told apart as codes, the most frequent ones; boosted trees take 255 at most."""

MOST_INDICATORS = 32
"""The same as columns of zeros and ones."""


@dataclass(frozen=True)
class TableColumns:
    """Positions of the columns that are numbers, or dates, and of those that are categories.

    Transformers put categories first, so that codes stand in the columns ``range(len(categories))``.
    """

    numbers: tuple[int, ...]
    categories: tuple[int, ...]

    @classmethod
    def of(cls, X: Any) -> TableColumns:
        """Return the columns of a frame or an array of two axes, by their types; no values are learned from."""
        if issparse(X):
            raise TypeError("Sparse input is not supported: a portfolio takes tables, an array or a DataFrame.")
        if isinstance(X, Mapping):
            raise TypeError("A portfolio takes tables, an array or a DataFrame; got a dict: use pd.DataFrame(X).")
        frame = as_frame(X)
        categories = tuple(j for j in range(frame.shape[1]) if _is_category(frame.iloc[:, j]))
        return cls(tuple(j for j in range(frame.shape[1]) if j not in categories), categories)

    def coded(self, impute: bool) -> ColumnTransformer:
        """Return codes of categories, -1 for what is missing or new, and numbers, imputed or with NaN."""
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, max_categories=MOST_CODES
        )
        return self._both(codes, [_imputer() if impute else EmptyAsZero()])

    def indicated(self, n_knots: int = 0) -> ColumnTransformer:
        """Return categories as zeros and ones, and imputed numbers of mean 0, or splines of them with some knots."""
        ones = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_INDICATORS, sparse_output=False)
        splines = [SplineTransformer(n_knots, knots="quantile", extrapolation="linear")] if n_knots else []
        return self._both(ones, [_imputer(), StandardScaler(), *splines])

    def _both(self, encoder: Any, of_numbers: list[Any]) -> ColumnTransformer:
        categories = make_pipeline(FunctionTransformer(as_text), encoder)
        numbers = make_pipeline(FunctionTransformer(as_numbers), *of_numbers)
        parts = [("categories", categories, [*self.categories]), ("numbers", numbers, [*self.numbers])]
        return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)


class EmptyAsZero(TransformerMixin, BaseEstimator):
    """Put 0 in columns that have no value in the training rows, which boosted trees cannot bin."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember which columns are empty."""
        self.empty_ = np.isnan(np.asarray(X, np.float64)).all(axis=0)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return a table whose empty columns are zeros."""
        return np.where(self.empty_, 0.0, np.asarray(X, np.float64))


def as_frame(X: Any) -> pd.DataFrame:
    """Return a table as a frame; columns of an array of objects are numbers where all they hold are."""
    if hasattr(X, "iloc"):
        return X
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"A portfolio takes tables, which have two axes; got X of shape {X.shape}.")
    return pd.DataFrame(X)


def as_numbers(X: Any) -> np.ndarray:
    """Return numbers and dates, these in days, as float64 with NaN for what is missing; refuse infinite ones."""
    frame = as_frame(X)
    if not frame.shape[1]:
        return np.empty(frame.shape)
    values = np.column_stack([_floats(frame.iloc[:, j]) for j in range(frame.shape[1])])
    refuse_infinite([frame.columns[j] for j in np.flatnonzero(np.isinf(values).any(axis=0))])
    return values


def as_text(X: Any) -> np.ndarray:
    """Return categories as strings, so that they may be of several types; NaN for what is missing."""
    frame = as_frame(X).astype(object)
    values = np.full(frame.shape, np.nan, dtype=object)
    known = frame.notna().to_numpy()
    values[known] = [str(value) for value in frame.to_numpy()[known]]
    return values


def _imputer() -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _is_category(column: pd.Series) -> bool:
    kinds = pd.api.types
    if kinds.is_numeric_dtype(column.dtype) or _is_time(column):
        return kinds.is_complex_dtype(column.dtype)
    if column.dtype != object:
        return True
    known = column.dropna()
    return not len(known) or not all(isinstance(value, (Number, np.bool_)) for value in known)


def _is_time(column: pd.Series) -> bool:
    kinds = pd.api.types
    return kinds.is_datetime64_any_dtype(column.dtype) or kinds.is_timedelta64_dtype(column.dtype)


def _floats(column: pd.Series) -> np.ndarray:
    if _is_time(column):
        start = pd.Timedelta(0) if pd.api.types.is_timedelta64_dtype(column.dtype) else pd.Timestamp(0, tz=column.dt.tz)
        return ((column - start) / pd.Timedelta(days=1)).to_numpy(np.float64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
