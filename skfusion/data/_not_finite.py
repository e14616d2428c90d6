"""Which targets are missing or infinite, and which columns of inputs are infinite, for messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse


def check_targets_known(y: Any, classify: bool) -> None:
    """Raise ``ValueError`` where targets are missing or infinite, with how many rows are so and the first of them."""
    try:
        values = y.toarray() if issparse(y) else np.asarray(y)
        if values.dtype.kind in "US" and values is not y:
            values = np.asarray(y, dtype=object)  # NaN among strings has become one
    except ValueError:  # rows of different lengths, which scikit-learn reports
        return
    if not (values.ndim and values.size) or values.dtype.kind in "biuUS":
        return
    what, remedy = "value", ""
    if classify:
        what, remedy = "label", " Semi-supervised classifiers take -1 for a missing label."
    _refuse(pd.isna(values), f"y has no {what} (NaN or None)", remedy)
    _refuse(_infinite(values), "y is infinite")


def _refuse(wrong: np.ndarray, finding: str, remedy: str = "") -> None:
    """Raise ``ValueError`` where something is wrong with a target of some rows."""
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    if rows.any():
        where = f"in {rows.sum()} of {len(rows)} rows, the first is row {rows.argmax()}"
        raise ValueError(f"{finding} {where}: leave out such rows.{remedy}")


def check_columns_finite(X: Any) -> None:
    """Raise ``ValueError`` where inputs hold infinite values, with the columns of a table, or the inputs of a dict."""
    refuse_infinite([name for name, values in _parts(X) if _infinite(values).any()])


def refuse_infinite(names: list[Any]) -> None:
    """Raise ``ValueError`` where there are names of columns that hold infinite values."""
    if not names:
        return
    listed = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    head = f"Column {listed} of X holds" if len(names) == 1 else f"Columns {listed} of X hold"
    raise ValueError(f"{head} infinite values, or ones too large for float64; put NaN or a number in their place.")


def _parts(X: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Iterate over the columns of a table, or the inputs of a dict, that may hold infinite values."""
    if issparse(X):
        X = X.tocoo()
        for j in np.unique(X.coords[-1][_infinite(X.data)]).tolist():
            yield j, X.data[X.coords[-1] == j]
    elif isinstance(X, Mapping):
        yield from ((name, np.asarray(values)) for name, values in X.items())
    elif hasattr(X, "iloc"):
        for j, name in enumerate(X.columns):
            column = X.iloc[:, j]
            if pd.api.types.is_float_dtype(column.dtype):
                yield name, column.to_numpy(np.float64, na_value=np.nan)
            elif column.dtype == object:
                yield name, column.to_numpy()
    elif _infinite(X).any():  # cells of images are numbered as columns
        yield from enumerate(X.reshape(len(X), -1).T)


def _infinite(values: np.ndarray) -> np.ndarray:
    """Return which of some values are infinite; the text "inf" is not."""
    if values.dtype.kind == "O":
        found = [isinstance(value, float | np.floating) and bool(np.isinf(value)) for value in values.flat]
        return np.array(found, bool).reshape(values.shape)
    return np.isinf(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)
