"""How columns of a table become numbers: types first, for the whole table, then what is fitted inside each fold."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skfusion.cli._columns import Columns
from skfusion.cli._dates import numbers_of, times_of, varying_parts
from skfusion.data import as_text


class Typed(TransformerMixin, BaseEstimator):
    """Turn the columns of a file into float64 and strings, with NaN where an entry is missing.

    Dates become days since the first one, and month, weekday and hour as far as these vary. Nothing is filled in or
    scaled, and no row has an influence on another one but by the first day, and by which of its parts vary.

    Attributes
    ----------
    numbers_ : list of str
        Columns of numbers in the result, which come first.
    categories_ : list of str
        Columns of strings.
    """

    def __init__(self, columns: Columns):
        self.columns = columns

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the first day of each column of dates, and which parts vary in it."""
        times = {c: times_of(X[c], format) for c, format in self.columns.dates.items()}
        self.dates_ = {c: (values.min(), varying_parts(values)) for c, values in times.items()}
        self.categories_ = list(self.columns.categories)
        self.numbers_ = [c for c in self.transform(X.iloc[:1]) if c not in self.categories_]
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns by their types."""
        numbers = pd.DataFrame({c: as_float(X[c]) for c in self.columns.numbers}, index=X.index)
        dates = [
            numbers_of(times_of(X[c], self.columns.dates[c]), first, parts) for c, (first, parts) in self.dates_.items()
        ]
        texts = {c: as_text(X[[c]])[:, 0] for c in self.columns.categories}
        categories = pd.DataFrame(texts, index=X.index, dtype=object)  # also where all are missing
        return pd.concat([numbers, *dates, categories], axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of the result."""
        return np.array([*self.numbers_, *self.categories_], object)


def one_hot(typed: Typed) -> ColumnTransformer:
    """Return a transformer to standardised numbers: missing ones become the median, and each text a column.

    A missing text is one of its own; one that is unseen in fitting is what the rare ones are, or zeros where none is.
    """
    filled = ("fill", SimpleImputer(strategy="median", keep_empty_features=True))
    most = typed.columns.max_levels
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=most, sparse_output=False)
    parts = [
        ("numbers", Pipeline([filled, ("scale", StandardScaler())]), typed.numbers_),
        ("categories", Pipeline([_missing_as_text(), ("encode", encode)]), typed.categories_),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def codes(typed: Typed) -> ColumnTransformer:
    """Return a transformer to codes of text, which come first and are -1 where unseen in fitting, and raw numbers.

    Numbers that are missing become the median.
    """
    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, max_categories=typed.columns.max_levels
    )
    parts = [
        ("categories", Pipeline([_missing_as_text(), ("encode", encode)]), typed.categories_),
        ("numbers", filled, typed.numbers_),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def _missing_as_text() -> tuple[str, SimpleImputer]:
    return "fill", SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True)


def as_float(column: pd.Series) -> np.ndarray:
    """Return numbers as float64 with NaN where there is none; durations are in days."""
    if types.is_timedelta64_dtype(column):
        column = column / pd.Timedelta(days=1)
    elif not types.is_numeric_dtype(column):
        column = pd.to_numeric(column.astype(object).where(column.notna()).map(str), errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
