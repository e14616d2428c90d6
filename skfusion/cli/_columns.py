"""What each column of a table is, and what becomes of it: numbers, dates, categories, or nothing to learn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from pandas.api import types

from skfusion.cli._dates import OBJECTS, PARTS, date_format, times_of, varying_parts
from skfusion.cli._sources import DataError

MAX_LEVELS = 100
"""Values of a text column that are encoded one by one, at most; the rarer ones count as one."""
MAX_WIDTH = 2000
"""Numbers that all text columns become, about; where they would be more, fewer values are told apart."""
MANY = 20
"""Different values above which a column of text can be a name or free text though some occur twice."""
NEARLY_ALL = 0.9
"""Share of entries that must be different in a column of names or free text, or numbers where others are any text."""
LONG = 20
"""Characters on average from which text is no name."""
MARKERS = 3
"""Different texts, such as "?" and "n/a", that may stand for missing numbers in a column, at most."""
HALF = 0.5
"""Share of entries that must be numbers where the others can mean nothing but "missing"."""
MISSING = re.compile(
    r"[\W_]*|[#<(\[]?(n\.?[/ ]?a\.?n?|null|missing|unk|unknown|undefined|no data|not?[ _-]?(available|applicable"
    r"|known|given|recorded|specified|reported))[>)\]]?",
    re.IGNORECASE,
)
"""Texts that can be no numbers, however many there are: signs alone, or a word for "missing". "none" may be 0."""


@dataclass(frozen=True)
class Columns:
    """The columns to learn from, by what they hold."""

    numbers: Sequence[str]
    dates: Mapping[str, str]  # formats by column
    categories: Sequence[str]
    max_levels: int = MAX_LEVELS  # values of a category that are encoded one by one


def columns_of(X: pd.DataFrame, notes: list[str]) -> Columns:
    """Return what the columns hold, with notes on all that is not simply a number; raise where the user must decide."""
    formats = {c: _date_format(X[c]) for c in X}
    kinds = {c: _kind(X[c], X.index, formats[c]) for c in X}
    numbers = [c for c, kind in kinds.items() if kind in ("number", "mixed", "duration")]
    _check_finite(X[numbers])
    dates = {c: str(formats[c]) for c, kind in kinds.items() if kind == "date"}
    categories = [c for c, kind in kinds.items() if kind == "category"]
    for kind, why in DROPPED.items():
        if columns := [c for c in X if kinds[c] == kind]:
            notes.append(f"Dropped {_named(columns)}: {why}.")
    if not numbers and not dates and not categories:
        raise DataError("No column is left to learn from.")
    notes += [_about_mixed(X[c]) for c in numbers if kinds[c] == "mixed"]
    if durations := [c for c in numbers if kinds[c] == "duration"]:
        notes.append(f"Durations in {_named(durations)} are turned into days.")
    if dates:
        notes += _about_dates(X, dates)
    levels = {c: X[c].astype(object).map(str, na_action="ignore").nunique(dropna=False) for c in categories}
    max_levels = MAX_LEVELS
    while sum(min(n, max_levels) for n in levels.values()) > MAX_WIDTH and max_levels > 10:
        max_levels //= 2
    notes += _about_categories(levels, max_levels)
    return Columns(numbers, dates, categories, max_levels)


DROPPED = {
    "constant": "the same value in every row, or none",
    "name": "another text in every row, or nearly every one, like a name or an identifier",
    "free text": "free text, of which nearly every entry is different. Turn it into numbers or categories to use it",
    "row number": "the number of the row",
}


def is_number(column: pd.Series) -> bool:
    """Return whether a column is of numbers by its type."""
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def _date_format(column: pd.Series) -> str | None:
    """Return the format of a column of dates, or None; raise where a column cannot be used."""
    if types.is_complex_dtype(column):
        raise DataError(f"Column {column.name!r} holds complex numbers; split it into two columns.")
    if is_number(column) or (found := date_format(column)) is None:
        _check_types(column)
        return None
    return found


def _check_types(column: pd.Series) -> None:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufm":
        return
    odd = next((v for v in column.dropna() if not isinstance(v, _PLAIN)), None)
    if odd is not None:
        raise DataError(
            f"Column {column.name!r} holds values of type {type(odd).__name__}; give numbers, dates or text."
        )


_PLAIN = (str, bool, int, float, np.generic, Decimal, pd.Timedelta)


def _kind(column: pd.Series, index: pd.Index, format: str | None) -> str:
    known, number = column.dropna(), is_number(column)
    text = not number and format is None and not types.is_timedelta64_dtype(column)
    if known.empty or known.nunique() + (text and len(known) < len(column)) < 2:
        return "constant"
    if format is not None:
        return "date"
    if types.is_timedelta64_dtype(column):
        return "duration"
    if number:
        counts = types.is_integer_dtype(column) and len(column) > 2
        return "row number" if counts and (column - index).nunique(dropna=False) == 1 else "number"
    return "mixed" if _has_markers(known) else _kind_of_text(column, known)


def _kind_of_text(column: pd.Series, known: pd.Series) -> str:
    distinct = known.nunique()
    every = len(column) > 2 and distinct == len(column)
    if not every and not (distinct > MANY and distinct >= NEARLY_ALL * len(known)):
        return "category"
    return "free text" if known.astype(str).str.len().mean() >= LONG else "name"


def _numbers(known: pd.Series) -> pd.Series:
    return pd.to_numeric(known.astype(object).map(str), errors="coerce")


def _has_markers(known: pd.Series) -> bool:
    """Return whether entries are numbers, of which some may be written as text, but for a few that say "missing"."""
    if not types.is_object_dtype(known) and not types.is_string_dtype(known):
        return False
    if known.map(lambda value: isinstance(value, bool | np.bool_)).any():
        return False
    parsed = _numbers(known)
    others = known[parsed.isna()]
    texts = known.map(lambda value: isinstance(value, str)).all()
    if texts and others.empty:  # digits that were meant as text
        return False
    missing = all(MISSING.fullmatch(str(value).strip()) for value in others.unique())
    return bool(parsed.notna().mean() >= (HALF if missing else NEARLY_ALL)) and others.nunique() <= MARKERS


def _check_finite(X: pd.DataFrame) -> None:
    numbers = ((c, X[c] if is_number(X[c]) else _numbers(X[c].dropna())) for c in X)
    n_infinite = {
        c: int(np.isinf(values.to_numpy(np.float64, na_value=np.nan)).sum())
        for c, values in numbers
        if not types.is_timedelta64_dtype(X[c])
    }
    if found := [f"{c!r} ({n} row{'s' * (n > 1)})" for c, n in n_infinite.items() if n]:
        head = f"Column {found[0]} has" if len(found) == 1 else f"Columns {', '.join(found)} have"
        raise DataError(
            f"{head} infinite values: leave these cells empty, so that they count as missing, write a number in their "
            "place, or remove the rows."
        )


def _named(columns: Iterable[str]) -> str:
    return ", ".join(map(repr, columns))


def _about_mixed(column: pd.Series) -> str:
    known = column.dropna()
    others = known[_numbers(known).isna()]
    missing = f"; {len(others)} entries that are none ({_named(others.unique())}) count as missing"
    return f"{column.name!r} is read as numbers{missing if len(others) else ''}."


def _about_dates(X: pd.DataFrame, dates: Mapping[str, str]) -> list[str]:
    notes = []
    for column, format in dates.items():
        *most, last = ["days since the first", *varying_parts(times_of(X[column], format))]
        if taken := [name for name in (f"{column} {part}" for part in ("days", *PARTS)) if name in X]:
            raise DataError(f"Column {taken[0]!r} is the name of what dates become: rename it, or drop {column!r}.")
        numbers = f"{', '.join(most)} and {last}" if most else last
        how = "" if format in (OBJECTS, "ISO8601") else f", read as {format},"
        notes.append(f"Dates in {column!r}{how} are turned into {numbers}.")
    return [*notes, "Folds are drawn at random over all dates: scores are not those for later dates."]


def _about_categories(levels: Mapping[str, int], max_levels: int) -> list[str]:
    few = [f"{c!r} ({n} values)" for c, n in levels.items() if n <= max_levels]
    notes = [f"Categories: {', '.join(few)}."] if few else []
    return notes + [
        f"{c!r} has {n} values: the {max_levels - 1} most frequent are categories of their own, the others are one."
        for c, n in levels.items()
        if n > max_levels
    ]
