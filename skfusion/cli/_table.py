"""Data for the command line: scikit-learn's own sets, and tables in files with a pipeline that prepares them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
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

BUILT_IN = {
    "breast_cancer": (datasets.load_breast_cancer, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
    "digits": (datasets.load_digits, "classification"),
    "iris": (datasets.load_iris, "classification"),
    "wine": (datasets.load_wine, "classification"),
}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
TASKS = ("auto", "classification", "regression")
MAX_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes."""


class DataError(ValueError):
    """The data cannot be used as it is; the message says what to do."""


@dataclass(frozen=True)
class Data:
    """Rows to learn from, or to judge networks on."""

    name: str
    X: Any
    y: np.ndarray  # labels or values
    task: str  # classification or regression
    prepare: ColumnTransformer | None = None  # turns X into numbers; None where it is numbers already
    notes: Sequence[str] = ()  # rows and columns that were dropped, and what was inferred

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
        return Data(source, X, y, its_task)
    path = file_at(source, "--data", *READERS)
    notes: list[str] = []
    return from_frame(read_table(path, notes), target, task, path.stem, notes)


def check_task(task: str) -> None:
    """Raise ``DataError`` where there is no such task."""
    if task not in TASKS:
        raise DataError(f"Unknown --task {task!r}; there are {', '.join(TASKS)}.")


def file_at(source: str, option: str, *endings: str) -> Path:
    """Return the path of a file with one of these endings, which an option of the command names."""
    path = Path(source)
    if path.suffix.lower() not in endings:
        kinds = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise DataError(f"Unknown {option} {source!r}; there are {', '.join(BUILT_IN)}, or a {kinds} file.")
    if not path.is_file():
        raise DataError(f"There is no file {source!r}. {option} takes a file or one of {', '.join(BUILT_IN)}.")
    return path


def read_csv(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file; notes say where columns have no commas between them, or numbers have commas."""
    separator = separator_of(path)
    if separator == ",":
        return pd.read_csv(path)
    notes.append(f"{path.name} is read with {SEPARATORS[separator]} between its columns.")
    frame = pd.read_csv(path, sep=separator)
    if any(_has_decimal_commas(frame[column]) for column in frame):
        notes.append(f"Commas in the numbers of {path.name} are read as decimal points.")
        return pd.read_csv(path, sep=separator, decimal=",")
    return frame


def separator_of(path: Path) -> str:
    """Return what separates columns: a comma, or what gives more, equally many in the first two lines."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [line for line in islice(file, 2) if line.strip()]
    if len(lines) < 2:
        return ","
    n_columns = {sep: [len(row) for row in csv.reader(lines, delimiter=sep)] for sep in (",", *SEPARATORS)}
    n_in_both = {sep: n[0] for sep, n in n_columns.items() if sep == "," or (len(n) == 2 and n[0] == n[1])}
    return max(n_in_both, key=n_in_both.__getitem__)


def _has_decimal_commas(column: pd.Series) -> bool:
    known = column.dropna()
    texts = known[known.map(lambda value: isinstance(value, str))]
    return len(texts) == len(known) > 0 and bool(texts.str.fullmatch(r"\s*[+-]?\d*(,\d+)?([eE][+-]?\d+)?\s*").all())


READERS = {".csv": read_csv, ".parquet": lambda path, notes: pd.read_parquet(path)}


def read_table(path: Path, notes: list[str]) -> pd.DataFrame:
    """Return the table in a file of one of :data:`READERS`; what was guessed about its format is noted."""
    try:
        return READERS[path.suffix.lower()](path, notes).rename(columns=str)
    except (ValueError, OSError, ImportError) as error:  # pandas' and pyarrow's errors about contents are ValueErrors
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error


def with_target(frame: pd.DataFrame, target: str | None, notes: list[str]) -> pd.DataFrame:
    """Return the rows that have a target, numbered as in the file; how many are dropped is noted."""
    columns = ", ".join(frame.columns)
    if target is None:
        raise DataError(f"Say which column to predict: --target, one of {columns}.")
    if target not in frame.columns:
        raise DataError(f"There is no column {target!r} for --target; there are {columns}.")
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
    """Return a table as data, with the transformer that prepares it.

    Rows without a target, columns that say nothing, and columns that only number or name the rows are dropped, with a
    note. Numbers are imputed by their median and standardised; all else is text, of which a missing entry is a value of
    its own, and is one-hot encoded. Values unseen in fitting are encoded as zeros.
    """
    notes = [*notes]
    frame = with_target(frame.rename(columns=str), target, notes)
    y, task = read_target(frame[target], task, notes)
    X = frame.drop(columns=target)
    X = X.drop(columns=_useless(X, notes))
    if not X.columns.size:
        raise DataError("No column is left to learn from.")
    numeric = [c for c in X.columns if _is_number(X[c])]
    fill = SimpleImputer(strategy="constant", fill_value="missing")
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [("float", FunctionTransformer(as_float)), ("fill", SimpleImputer(strategy="median"))]
    categories = [("text", FunctionTransformer(as_text)), ("fill", fill), ("encode", encode)]
    parts = [
        ("numbers", Pipeline([*numbers, ("scale", StandardScaler())]), numeric),
        ("categories", Pipeline(categories), [c for c in X.columns if c not in numeric]),
    ]
    return Data(name, X, y, task, ColumnTransformer([part for part in parts if part[2]]), notes)


def as_float(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers as float64 with NaN where one is missing, shape (n_rows, n_columns)."""
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def as_text(frame: pd.DataFrame) -> np.ndarray:
    """Return all values as text with NaN where one is missing, shape (n_rows, n_columns)."""
    values = frame.astype(object).to_numpy(copy=True)
    missing = frame.isna().to_numpy()
    values[~missing] = [str(value) for value in values[~missing]]
    values[missing] = np.nan
    return values


def _is_number(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def read_target(column: pd.Series, task: str, notes: list[str]) -> tuple[np.ndarray, str]:
    """Return a column without missing values as labels or values, and the task; what was inferred is noted."""
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
    for columns, why in [
        (constant, "the same value in every row, or none"),
        (names, "another text in every row, like a name or an identifier"),
        (numbers, "the number of the row"),
    ]:
        if columns:
            notes.append(f"Dropped {', '.join(map(repr, columns))}: {why}.")
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
