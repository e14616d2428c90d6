"""Data for the command line: scikit-learn's own sets, and tables in files with a pipeline that prepares them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skfusion.cli._csv import read_csv

BUILT_IN = {
    "breast_cancer": (datasets.load_breast_cancer, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
    "digits": (datasets.load_digits, "classification"),
    "iris": (datasets.load_iris, "classification"),
    "wine": (datasets.load_wine, "classification"),
}
READERS = {".csv": read_csv, ".parquet": lambda path, notes: pd.read_parquet(path)}
TASKS = ("auto", "classification", "regression")
MAX_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes."""


class DataError(ValueError):
    """The data cannot be used as it is; the message says what to do."""


@dataclass(frozen=True)
class Data:
    """What is to be learnt.

    Parameters
    ----------
    name : str
        For titles.
    X, y : array-like
        Inputs and targets.
    task : {"classification", "regression"}
        What y is.
    prepare : ColumnTransformer, optional
        Turns X into numbers; None where it is numbers already.
    notes : list of str
        What the user should know: rows and columns that were dropped, what was inferred.
    """

    name: str
    X: Any
    y: np.ndarray
    task: str
    prepare: ColumnTransformer | None = None
    notes: list[str] = field(default_factory=list)


def load(source: str, target: str | None, task: str) -> Data:
    """Return a built-in set by its name, or the table in a file.

    Parameters
    ----------
    source : str
        Name of a set, or path of a ``.csv`` or ``.parquet`` file.
    target : str or None
        The column to learn, in files.
    task : {"auto", "classification", "regression"}
        What the target is.

    Returns
    -------
    Data
        Inputs, targets and how to prepare them.
    """
    if task not in TASKS:
        raise DataError(f"Unknown --task {task!r}; there are {', '.join(TASKS)}.")
    if source in BUILT_IN:
        loader, own = BUILT_IN[source]
        if target is not None or task not in ("auto", own):
            raise DataError(f"--data {source} is a {own} set with a target of its own: leave out --target and --task.")
        X, y = loader(return_X_y=True)
        return Data(source, X, y, own)
    path = Path(source)
    if path.suffix.lower() not in READERS:
        raise DataError(f"Unknown --data {source!r}; there are {', '.join(BUILT_IN)}, or a .csv or .parquet file.")
    if not path.is_file():
        raise DataError(f"There is no file {source!r}. --data takes a file or one of {', '.join(BUILT_IN)}.")
    notes: list[str] = []
    frame = read_table(path, notes)
    found = from_frame(frame, target, task, path.stem)
    return replace(found, notes=[*notes, *found.notes])


def read_table(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file of one of :data:`READERS`; how it was read, where that is not plain, is noted."""
    try:
        return READERS[path.suffix.lower()](path, notes)
    except (ValueError, OSError, ImportError) as error:  # pandas' and pyarrow's errors about contents are ValueErrors
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error


def from_frame(frame: pd.DataFrame, target: str | None, task: str, name: str) -> Data:
    """Return a table as data.

    Rows without a target, columns that say nothing, and columns that only number or name the rows are dropped, with a
    note. Numbers are imputed by their median and standardised; all else is text, of which a missing entry is a value of
    its own, and is one-hot encoded. Values unseen in fitting are encoded as zeros.

    Parameters
    ----------
    frame : DataFrame
        The table.
    target : str or None
        The column to learn.
    task : {"auto", "classification", "regression"}
        What the target is.
    name : str
        For titles.

    Returns
    -------
    Data
        Inputs, targets and how to prepare them.
    """
    frame = frame.rename(columns=str)
    if target is None:
        raise DataError(f"Say which column to learn: --target, one of {', '.join(frame.columns)}.")
    if target not in frame.columns:
        raise DataError(f"There is no column {target!r} for --target; there are {', '.join(frame.columns)}.")
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise DataError(f"Column names must be unique; these occur more than once: {', '.join(twice)}.")
    frame, notes = frame.reset_index(drop=True), []
    if missing := int(frame[target].isna().sum()):
        notes.append(f"Dropped {missing} of {len(frame)} rows, which have no {target!r}.")
        frame = frame[frame[target].notna()]
    if frame.empty:
        raise DataError(f"No row has a target {target!r}.")
    y, task = read_target(frame[target], task, notes)
    X = frame.drop(columns=target)
    X = X.drop(columns=_useless(X, notes))
    if not X.columns.size:
        raise DataError("No column is left to learn from.")
    return Data(name, X, y, task, preparation(X), notes)


def preparation(X: pd.DataFrame) -> ColumnTransformer:
    """Return the unfitted transformer of a table into numbers; see :func:`from_frame`."""
    numeric = [c for c in X.columns if _is_number(X[c])]
    text = [c for c in X.columns if c not in numeric]
    numbers = Pipeline(
        [
            ("float", FunctionTransformer(as_float)),
            ("fill", SimpleImputer(strategy="median")),
            ("scale", StandardScaler()),
        ]
    )
    categories = Pipeline(
        [
            ("text", FunctionTransformer(as_text)),
            ("fill", SimpleImputer(strategy="constant", fill_value="missing")),
            ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ]
    )
    parts = [("numbers", numbers, numeric), ("categories", categories, text)]
    return ColumnTransformer([part for part in parts if part[2]])


def as_float(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers as float64 with NaN where one is missing, shape (n_rows, n_columns)."""
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def as_text(frame: pd.DataFrame) -> np.ndarray:
    """Return all values as text with NaN where one is missing, shape (n_rows, n_columns)."""
    found = frame.astype(object).to_numpy(copy=True)
    gone = frame.isna().to_numpy()
    found[~gone] = [str(value) for value in found[~gone]]
    found[gone] = np.nan
    return found


def _is_number(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def read_target(column: pd.Series, task: str, notes: list[str]) -> tuple[np.ndarray, str]:
    """Return a column as labels or values, and which of them it is.

    Parameters
    ----------
    column : Series
        Without missing values.
    task : {"auto", "classification", "regression"}
        What it is.
    notes : list of str
        What was inferred is added to them.

    Returns
    -------
    y : ndarray
        Labels or values.
    task : {"classification", "regression"}
        What they are.
    """
    distinct = column.nunique()
    number = _is_number(column)
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


def _useless(X: pd.DataFrame, notes: list[str]) -> list[str]:
    """Return the columns to drop, with a note on each kind; raise where a column needs the user's decision."""
    constant, names, numbers = [], [], []
    for c in X.columns:
        values = X[c]
        _refuse(values)
        number = _is_number(values)
        if as_text(values.to_frame())[~values.isna(), 0].size == 0 or values.astype(object).nunique(dropna=number) < 2:
            constant.append(c)
        elif not number and len(X) > 2 and values.notna().all() and values.is_unique:
            names.append(c)
        elif types.is_integer_dtype(values) and len(X) > 2 and (values - X.index).nunique(dropna=False) == 1:
            numbers.append(c)
    for found, why in [
        (constant, "the same value in every row, or none"),
        (names, "another text in every row, like a name or an identifier"),
        (numbers, "the number of the row"),
    ]:
        if found:
            notes.append(f"Dropped {', '.join(map(repr, found))}: {why}.")
    return constant + names + numbers


def _refuse(column: pd.Series) -> None:
    advice = "Replace it by numbers, such as year, month, weekday or days since an event, or drop it."
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise DataError(f"Column {column.name!r} holds times. {advice}")
    if _is_number(column):
        if types.is_complex_dtype(column):
            raise DataError(f"Column {column.name!r} holds complex numbers; split it into two columns.")
        if np.isinf(as_float(column.to_frame())).any():
            raise DataError(f"Column {column.name!r} has infinite values; replace them or remove those rows.")
        return
    known = column.dropna()
    odd = [v for v in known if not isinstance(v, str | bool | int | float | np.generic)]
    if odd:
        raise DataError(
            f"Column {column.name!r} holds values of type {type(odd[0]).__name__}; give numbers or text. {advice}"
        )
    dated = known.astype(str).str.fullmatch(r"\d{4}-\d\d?-\d\d?([ T].*)?|\d\d?[./]\d\d?[./]\d{4}.*")
    if len(known) and dated.all():
        raise DataError(f"Column {column.name!r} holds dates as text, such as {known.iloc[0]!r}. {advice}")
