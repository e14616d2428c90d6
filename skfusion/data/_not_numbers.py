"""Which part of the data is not numeric, for messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd


def check_dates(X: Any) -> None:
    """Raise ``ValueError`` where inputs hold dates or times, which would be taken for nanoseconds."""
    is_table = hasattr(X, "columns") and hasattr(X, "dtypes")
    kinds = {_kind(dtype) for dtype in (X.dtypes if is_table else [getattr(X, "dtype", None)])}
    if {"M", "m"} & kinds:
        raise ValueError(_message(X))


def explained(X: Any, error: Exception) -> Exception:
    """Return an error that says which inputs are text or dates, or the original error if none are."""
    message = _message(X)
    return ValueError(message) if message else error


def _message(X: Any) -> str:
    """Return which columns hold text or dates, and what to do with them; an empty string if none do."""
    columns = [(name, values) for name, values in _columns(X) if not _is_numbers(values)]
    if not columns:
        return ""
    dates = [(name, values) for name, values in columns if _kind(values.dtype) in "Mm"]
    text = [name for name, values in columns if _kind(values.dtype) not in "Mm"]
    listed = _some(f"{name!r} ({'text' if _kind(v.dtype) not in 'Mm' else 'dates'})" for name, v in columns)
    few = f"1 column of X is none: {listed}" if len(columns) == 1 else f"{len(columns)} columns of X are none: {listed}"
    ways = []
    if text:
        encoder = "OneHotEncoder(handle_unknown='ignore', sparse_output=False)"
        encoder = f"make_column_transformer(({encoder}, [{_some(map(repr, text))}]), remainder='passthrough')"
        ways.append(f"encode text in a pipeline, such as by {encoder}")
    if dates:
        ways.append(f"turn dates into numbers, such as days{_in_days(*dates[0])}")
    if isinstance(X, pd.DataFrame):
        easy = " Or fit a PortfolioClassifier or PortfolioRegressor, which take tables as they are."
    else:
        easy = ""
    return f"Networks take numbers, and {few}. Leave them out, or {', and '.join(ways)}.{easy}"


def _some(words: Iterable[str]) -> str:
    """Return the first five words, with dots where there are more."""
    words = [*words]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _in_days(name: Any, dates: Any) -> str:
    """Return the code that makes days of the dates of a frame of pandas, behind a colon."""
    if not isinstance(dates, pd.Series):
        return ""
    since = "" if _kind(dates.dtype) == "m" else " - pd.Timestamp(0)"
    if getattr(dates.dtype, "tz", None) is not None:
        since = f" - pd.Timestamp(0, tz={str(dates.dtype.tz)!r})"
    column = f"X[{name!r}]"
    return f": {f'({column}{since})' if since else column} / pd.Timedelta(days=1)"


def as_array(name: str, values: Any) -> np.ndarray:
    """Return an input of a dict as an array of numbers, or raise ``ValueError`` that names it."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"X[{name!r}] has rows of different lengths: pad them to one length, with a mask as another input."
        ) from error
    if not _is_numbers(array):
        what = "dates" if array.dtype.kind in "Mm" else "text"
        raise ValueError(f"X[{name!r}] holds {what}, and networks take numbers: give indices of tokens, or numbers.")
    return array


def _columns(X: Any) -> Iterator[tuple[Any, Any]]:
    """Iterate over the columns of a table with their names, and over those of an array that is not numeric."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        yield from ((name, X.iloc[:, i]) for i, name in enumerate(X.columns))  # names may occur twice
    elif hasattr(X, "columns") and hasattr(X, "__getitem__"):
        yield from ((name, X[name]) for name in X.columns)
    elif isinstance(X, (np.ndarray, list, tuple)):
        array = X if isinstance(X, np.ndarray) else np.array([*X], dtype=object)
        if array.ndim == 2 and array.dtype.kind in "OUSMm":
            yield from enumerate(array.T)


def _kind(dtype: Any) -> str:
    """Return the kind of a dtype as numpy calls it, O where it has none."""
    if any(word in str(dtype).lower() for word in ("date", "duration")):  # of polars, and of pandas with time zones
        return "M"
    return str(getattr(dtype, "kind", "O"))


def _is_numbers(values: Any) -> bool:
    """Return whether some values are numbers, or text that reads as such."""
    kind = _kind(values.dtype)
    if kind in "biufcMm":
        return kind not in "Mm"
    return not any(isinstance(v, (str, bytes)) and not _reads_as_number(v) for v in np.asarray(values).flat)


def _reads_as_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
