"""What networks have to beat: scikit-learn's dummy, a linear model, and gradient boosting, for inputs of any kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skfusion.data import EmptyAsZero, TableColumns, as_numbers

NAMES = ("dummy", "linear", "boosting")
_CATEGORIES = 200
"""Categories of a column that are kept, the most frequent ones; gradient boosting takes up to 255."""
_RARE = 10
"""Rows of the smallest class below which gradient boosting does not stop early."""


def baselines_of(asked: Any, taken: Collection[str], X: Any, y: Any, classify: bool) -> dict[str, Any]:
    """Return unfitted baselines by the names of their rows, which are different from those that are ``taken``."""
    if asked is None or asked is False:
        return {}
    names = NAMES if asked is True or (isinstance(asked, str) and asked == "all") else asked
    names = [names] if isinstance(names, str) else list(names)
    if wrong := [name for name in names if name not in NAMES]:
        raise ValueError(
            f"There is no baseline {wrong[0]!r}: name some of {list(NAMES)}, or give True for all of them. Another "
            "estimator of scikit-learn can stand among the fusions."
        )
    rows = {name: f"{name} (baseline)" if name in taken else name for name in dict.fromkeys(names)}
    if twice := [row for row in rows.values() if row in taken]:
        raise ValueError(f"A fusion is called {twice[0]!r}, as a baseline is: give it another name.")
    return {row: _built(name, X, y, classify) for name, row in rows.items()}


def _built(name: str, X: Any, y: Any, classify: bool) -> Any:
    y = np.asarray(y)
    several = y.ndim == 2 and (y.shape[1] > 1 or not classify)
    if name == "dummy":
        steps: list[Any] = [_AsTable(_columns(X)[1])]
        steps += [DummyClassifier(strategy="prior") if classify else DummyRegressor()]
    elif name == "linear":
        steps = [*_for_linear(X), LogisticRegression(max_iter=1000) if classify else Ridge()]
    else:
        steps = [*_for_trees(X), _boosting(X, y, classify)]
        steps[-1] = MultiOutputRegressor(steps[-1]) if several and not classify else steps[-1]
    pipeline = make_pipeline(*steps)
    return OneVsRestClassifier(pipeline) if several and classify else pipeline


def _boosting(X: Any, y: np.ndarray, classify: bool) -> Any:
    settings: dict[str, Any] = {"categorical_features": [*range(len(_columns(X)[1]))] or None}
    if not classify:
        return HistGradientBoostingRegressor(**settings)
    if y.ndim == 1 and pd.Series(y).value_counts().min() < _RARE:  # it would hold out some rows of each class
        settings["early_stopping"] = False
    return HistGradientBoostingClassifier(**settings)


def _for_linear(X: Any) -> list[Any]:
    """Return the steps that make standardised numbers of inputs, with medians for missing ones."""
    if issparse(X):
        return [StandardScaler(with_mean=False)]
    numbers, others = _columns(X)
    filled = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    if not others:
        return [_AsTable(others), *filled]
    codes = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_CATEGORIES)
    parts = [("numbers", make_pipeline(*filled), numbers), ("categories", codes, others)]
    return [_AsTable(others), ColumnTransformer(parts)]


def _for_trees(X: Any) -> list[Any]:
    """Return the steps that make codes of categories, in the first columns, and leave numbers as they are."""
    others = _columns(X)[1]
    if not others:
        return [_AsTable(others), EmptyAsZero()]
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
    codes = OrdinalEncoder(**unknown, max_categories=_CATEGORIES)
    parts = ColumnTransformer([("categories", codes, others)], remainder="passthrough")
    return [_AsTable(others), parts, EmptyAsZero()]


def _columns(X: Any) -> tuple[list[int], list[int]]:
    """Return the positions of the columns of numbers, and of the others, as everywhere where tables are read.

    What follows is made of them here, and not as in :class:`TableColumns`, since baselines take what is no table, too:
    images, inputs with names, and sparse ones.
    """
    if isinstance(X, Mapping) or issparse(X):
        return [], []
    columns = TableColumns.of(X if hasattr(X, "iloc") else _flat(X))
    return [*columns.numbers], [*columns.categories]


class _AsTable(TransformerMixin, BaseEstimator):
    """Makes a table of inputs of any kind, whose columns at the positions ``others`` are no numbers."""

    def __init__(self, others: Sequence[int] = ()):
        self.others = others

    def fit(self, X: Any, y: Any = None) -> _AsTable:
        return self

    def transform(self, X: Any) -> Any:
        return _table(X, self.others)


def _table(X: Any, others: Sequence[int]) -> Any:
    """Return inputs as one array of numbers, or as a frame where the columns ``others`` are strings.

    Dates are days since 1970. Images and the like are one row of numbers each, and inputs with names stand side by
    side.
    """
    if isinstance(X, Mapping):
        return np.hstack([_flat(values) for values in X.values()])
    if not hasattr(X, "iloc"):
        X = _flat(X)
        if not others and X.dtype != object:
            return X.astype(np.float64)
        X = pd.DataFrame(X)
    columns = {i: _words(X.iloc[:, i]) if i in others else as_numbers(X.iloc[:, [i]])[:, 0] for i in range(X.shape[1])}
    return pd.DataFrame(columns, index=range(len(X)))


def _flat(X: Any) -> np.ndarray:
    X = X.toarray() if issparse(X) else np.asarray(X)
    return X.reshape(len(X), -1)


def _words(column: pd.Series) -> np.ndarray:
    """Return the cells of a column as strings; one that is missing is an empty one, a category as others are.

    As NaN, as :func:`data.as_text` has it, it would be what gradient boosting takes new categories for.
    """
    return np.array(["" if missing else str(cell) for cell, missing in zip(column, column.isna(), strict=True)], object)
