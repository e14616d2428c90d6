"""Columns of dates: how they are recognised, and the numbers that they are turned into."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from skfusion.cli._sources import DataError

ISO = r"\d{4}([-/.])\d\d?\1\d\d?([ T].*)?"
LOCAL = r"\d\d?([./])\d\d?[./]\d{4}(.*)"
OBJECTS = "objects"
"""The format of columns whose entries are no text but dates."""
MOST = 0.9
"""Share of the entries that must be dates, so that a column of text is one; the others count as missing."""
PARTS = {"month": "month", "weekday": "day_of_week", "hour": "hour"}
"""Beside the days: names and where pandas has them."""


def date_format(column: pd.Series) -> str | None:
    """Return the format of a column of dates, as ``pandas.to_datetime`` takes it; None where it holds none."""
    known = column.dropna()
    if types.is_datetime64_any_dtype(column) or isinstance(column.dtype, pd.PeriodDtype):
        return OBJECTS
    if known.empty or types.is_numeric_dtype(column):
        return None
    if known.map(lambda value: isinstance(value, datetime.date | np.datetime64)).all():
        return OBJECTS
    texts = known.astype(str).str.strip()
    if texts.str.fullmatch(ISO).all():
        return "ISO8601" if _share(texts, "ISO8601") >= MOST else None
    return _local_format(column.name, texts) if texts.str.fullmatch(LOCAL).all() else None


def _share(texts: pd.Series, format: str) -> float:
    return float(pd.to_datetime(texts, format=format, utc=True, errors="coerce").notna().mean())


def _local_format(name: Any, texts: pd.Series) -> str | None:
    """Return the format of dates such as 31.12.2020; raise where day and month cannot be told apart."""
    orders = ["%d.%m.%Y"] if "." in texts.iloc[0] else ["%d/%m/%Y", "%m/%d/%Y"]
    found = [o + time for o in orders for time in ("", " %H:%M", " %H:%M:%S") if _share(texts, o + time) == 1]
    if len(found) > 1:
        raise DataError(
            f"Column {name!r} holds dates as text, such as {texts.iloc[0]!r}, in which day and month could be either "
            "way round: write them as 2020-12-31, or drop the column."
        )
    return found[0] if found else None


def times_of(column: pd.Series, format: str) -> pd.Series:
    """Return a column as times without a zone: those of the clock, or UTC for text; NaT where there is none."""
    if isinstance(column.dtype, pd.PeriodDtype):
        return column.dt.to_timestamp()
    if types.is_datetime64_any_dtype(column):
        return column.dt.tz_localize(None)
    as_text = format != OBJECTS and column.map(lambda value: isinstance(value, str)).any()
    values = column.astype(object)
    return pd.to_datetime(values, format=format if as_text else None, utc=True, errors="coerce").dt.tz_localize(None)


def varying_parts(times: pd.Series) -> list[str]:
    """Return which of month, weekday and hour vary in a column of times."""
    return [part for part, where in PARTS.items() if getattr(times.dt, where).nunique() > 1]


def numbers_of(times: pd.Series, first: pd.Timestamp, parts: Sequence[str]) -> pd.DataFrame:
    """Return days since the first one, and parts of a date, under names such as ``sold days``."""
    numbers = {"days": (times - first) / pd.Timedelta(days=1)}
    numbers |= {part: getattr(times.dt, PARTS[part]) for part in parts}
    return pd.DataFrame({f"{times.name} {part}": values.astype(np.float64) for part, values in numbers.items()})
