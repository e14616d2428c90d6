"""Which part of the data is not numeric, for messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


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
    kinds = {name: "dates" if _kind(v.dtype) in "Mm" else "text" for name, v in _columns(X) if not _is_numbers(v)}
    if not kinds:
        return ""
    names = [*kinds]
    listed = ", ".join(f"{name!r} ({kinds[name]})" for name in names[:5]) + (", ..." if len(names) > 5 else "")
    few = f"1 column of X is none: {listed}" if len(names) == 1 else f"{len(names)} columns of X are none: {listed}"
    remedy = "turn dates into numbers, such as the day of the year"
    if "text" in kinds.values():
        remedy = f"encode them, such as by make_column_transformer((OneHotEncoder(), {names[:1]!r}), ...) in a pipeline"
    return f"Networks take numbers, and {few}. Leave them out, or {remedy}."


def check_no_none(y: Any) -> None:
    """Raise ``ValueError`` where targets hold None, with the first row that does."""
    if isinstance(getattr(y, "dtype", None), np.dtype) and y.dtype.kind != "O":
        return
    try:
        values = np.asarray(y, dtype=object)
    except ValueError:  # rows of different lengths, which scikit-learn reports
        return
    missing = np.equal(values, None).reshape(len(values), -1).any(axis=1) if values.ndim else np.zeros(0, bool)
    if missing.any():
        raise ValueError(
            f"y holds None in {missing.sum()} of its {len(missing)} rows, the first of which is row "
            f"{missing.argmax()}: leave these rows out. Semi-supervised classifiers take -1 for a missing label."
        )


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
