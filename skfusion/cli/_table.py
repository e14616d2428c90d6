"""Data for the command line: scikit-learn's own sets, and tables in files with what their columns hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.compose import ColumnTransformer

from skfusion.cli._columns import columns_of, is_number
from skfusion.cli._console import TASKS
from skfusion.cli._near import did_you_mean
from skfusion.cli._prepare import Typed, codes, one_hot
from skfusion.cli._sources import ABOUT, BUILT_IN, READERS, DataError, file_at, read_table
from skfusion.data import as_text

MAX_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes."""


@dataclass(frozen=True)
class Data:
    """Rows to learn from, or to judge networks on."""

    name: str
    X: Any
    y: np.ndarray  # labels or values
    task: str  # classification or regression
    notes: Sequence[str] = ()  # rows and columns that were dropped, and what was inferred
    typed: Typed | None = None  # what made X from the columns of a file; None where X is numbers already

    @property
    def prepare(self) -> ColumnTransformer | None:
        """What turns X into numbers; None where it is numbers already."""
        return None if self.typed is None else one_hot(self.typed)

    @property
    def codes(self) -> ColumnTransformer | None:
        """What turns X into codes of categories, and numbers; None where it is numbers already."""
        return None if self.typed is None else codes(self.typed)

    @property
    def sizes(self) -> dict[str, int]:
        """The parameters of an architecture that the data determine: numbers a row, and outputs for the targets."""
        if self.task == "regression":
            n_out = 1 if self.y.ndim == 1 else self.y.shape[1]
        else:
            classes = np.unique(self.y)
            counted = np.issubdtype(classes.dtype, np.integer) and classes.min() == 0
            n_out = max(len(classes), int(classes.max()) + 1) if counted else len(classes)
        return {"n_in": int(np.prod(self.X.shape[1:])), "n_out": n_out}


def load(source: str, target: str | None, task: str) -> Data:
    """Return a built-in set by its name, or the table in a ``.csv`` or ``.parquet`` file."""
    check_task(task)
    if source in BUILT_IN:
        loader, its_task = BUILT_IN[source]
        if target is not None or task not in ("auto", its_task):
            raise DataError(
                f"--data {source} is a {its_task} set with a target of its own: leave out --target and --task."
            )
        X, y = loader(return_X_y=True)
        return Data(source, X, y, its_task, [ABOUT[source]] if source in ABOUT else [])
    path = file_at(source, "--data", *READERS)
    notes: list[str] = []
    return from_frame(read_table(path, notes), target, task, path.stem, notes)


def check_task(task: str) -> None:
    """Raise ``DataError`` where there is no such task."""
    if task not in TASKS:
        raise DataError(f"Unknown --task {task!r}; there are {', '.join(TASKS)}.{did_you_mean(task, TASKS)}")


def with_target(frame: pd.DataFrame, target: str | None, notes: list[str]) -> pd.DataFrame:
    """Return the rows that have a target, numbered as in the file; how many are dropped is noted."""
    columns = ", ".join(frame.columns)
    if target is None:
        raise DataError(f"Say which column to predict: --target, one of {columns}.")
    if target not in frame.columns:
        near = did_you_mean(target, frame.columns)
        raise DataError(f"There is no column {target!r} for --target; there are {columns}.{near}")
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise DataError(f"Column names must be unique; these occur more than once: {', '.join(twice)}.")
    frame = frame.reset_index(drop=True)
    if missing := int(frame[target].isna().sum()):
        notes.append(f"Dropped {missing} of {len(frame)} rows, which have no {target!r}.")
        frame = frame[frame[target].notna()]
    if frame.empty:
        raise DataError(f"No row has a target {target!r}.")
    return frame


def from_frame(frame: pd.DataFrame, target: str | None, task: str, name: str, notes: Sequence[str] = ()) -> Data:
    """Return a table as data, with its columns as numbers and text.

    Rows without a target, columns that say nothing, columns that only number or name the rows, and free text are
    dropped, with a note.
    """
    notes = [*notes]
    frame = with_target(frame.rename(columns=str), target, notes)
    y, task = read_target(frame[target], task, notes)
    X = frame.drop(columns=target)
    typed = Typed(columns_of(X, notes)).fit(X)
    return Data(name, typed.transform(X), y, task, notes, typed)


def read_target(column: pd.Series, task: str, notes: list[str]) -> tuple[np.ndarray, str]:
    """Return a column without missing values as labels or values, and the task; what was inferred is noted."""
    distinct = column.nunique()
    number = is_number(column)
    if number and not np.isfinite(column.to_numpy(dtype=np.float64)).all():
        raise DataError(f"The target {column.name!r} has infinite values; remove those rows.")
    whole = number and bool((column == column.round()).all())
    if task == "auto":
        task = "classification" if not number or (whole and distinct <= MAX_CLASSES) else "regression"
        notes.append(f"Taken as {task}: {column.name!r} has {distinct} distinct values (--task says otherwise).")
    if task == "regression":
        if not number:
            raise DataError(f"The target {column.name!r} is not numeric, so it cannot be a --task regression.")
        return column.to_numpy(dtype=np.float64), task
    if number and not whole:
        raise DataError(f"The target {column.name!r} has fractions, so it has no classes: use --task regression.")
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise DataError(f"The target {column.name!r} holds times; turn it into numbers or classes.")
    if distinct < 2:
        raise DataError(
            f"The target {column.name!r} has a single class, {column.iloc[0]!r}: there is nothing to learn."
        )
    labels = column.to_numpy(dtype=np.int64) if number else as_text(column.to_frame())[:, 0].astype(str)
    return labels, task
