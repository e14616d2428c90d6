"""Rows to judge finished networks on, taken as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from skfusion.cli._table import BUILT_IN, READERS, TASKS, DataError, load, read_table, read_target

LEAST_ROWS = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows as they came.

    Parameters
    ----------
    X : ndarray
        Inputs.
    y : ndarray
        Labels or values.
    task : {"classification", "regression"}
        What y is.
    """

    X: Any
    y: np.ndarray
    task: str

    @property
    def n_in(self) -> int:
        """Numbers a row."""
        return int(np.prod(self.X.shape[1:]))

    @property
    def n_out(self) -> int:
        """Outputs that the targets ask for, as far as they tell."""
        if self.task == "regression":
            return 1 if self.y.ndim == 1 else self.y.shape[1]
        classes = np.unique(self.y)
        whole = np.issubdtype(classes.dtype, np.integer) and classes.min() >= 0
        return max(len(classes), int(classes.max()) + 1) if whole and classes.min() == 0 else len(classes)


def rows(source: str, target: str | None, task: str, notes: list[str]) -> Judged:
    """Return rows as they are: nothing is scaled or filled in, as the networks have learnt from other rows.

    Parameters
    ----------
    source : str
        Name of a built-in set, or a ``.csv``, ``.parquet`` or ``.npz`` file; the last has arrays X and y.
    target : str or None
        The column to predict, in tables.
    task : {"auto", "classification", "regression"}
        What the target is.
    notes : list of str
        What was inferred is added to them.

    Returns
    -------
    Judged
        Inputs and targets.
    """
    if task not in TASKS:
        raise DataError(f"Unknown --task {task!r}; there are {', '.join(TASKS)}.")
    if source in BUILT_IN:
        found = load(source, target, task)
        return _checked(Judged(np.asarray(found.X), found.y, found.task))
    path = _path(source, "--data")
    if path.suffix.lower() == ".npz":
        return _checked(_arrays(path, target, task, notes))
    return _checked(_table(read_table(path, notes).rename(columns=str), target, task, notes))


def inputs(source: str, target: str | None) -> np.ndarray:
    """Return inputs as they are, of rows that need no labels.

    Parameters
    ----------
    source : str
        As in :func:`rows`; an ``.npz`` file needs no y, and a table no target.
    target : str or None
        The column of a table that is no input, where it is there.

    Returns
    -------
    ndarray
        The inputs.
    """
    if source in BUILT_IN:
        return np.asarray(load(source, None, "auto").X)
    path = _path(source, "--fit-data")
    if path.suffix.lower() == ".npz":
        (X,) = _read(path, "X")
        _check_inputs(X, path)
    else:
        X = _numbers(read_table(path, []).rename(columns=str).drop(columns=target or [], errors="ignore"))
    if len(X) < 2:
        raise DataError(f"--fit-data {source} has {len(X)} rows, which have no spread: give at least 2, or hundreds.")
    _check_finite(X)
    return X


def _path(source: str, option: str) -> Path:
    path = Path(source)
    if path.suffix.lower() not in (*READERS, ".npz"):
        raise DataError(
            f"Unknown {option} {source!r}; there are {', '.join(BUILT_IN)}, or a .csv, .parquet or .npz file."
        )
    if not path.is_file():
        raise DataError(f"There is no file {source!r}. {option} takes a file or one of {', '.join(BUILT_IN)}.")
    return path


def _read(path: Path, *names: str) -> list[np.ndarray]:
    """Return arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in names if name not in file.files]:
                raise DataError(
                    f"{path} has no array {missing[0]!r}; it has {', '.join(file.files)}. Save "
                    f"{' and '.join(f'{name}=' for name in names)}."
                )
            return [file[name] for name in names]
    except DataError:
        raise
    except Exception as error:  # of zip files, headers, and pickles, which are not read
        raise DataError(f"{path} cannot be read: {error}") from error


def _check_inputs(X: np.ndarray, path: Path) -> None:
    if X.ndim < 2 or X.dtype.kind not in "fiub":
        raise DataError(f"X of {path} must be numbers of shape (n_rows, ...); it is {X.dtype} of shape {X.shape}.")


def _arrays(path: Path, target: str | None, task: str, notes: list[str]) -> Judged:
    if target is not None:
        raise DataError("--target is for tables; the targets of an .npz file are its array y.")
    X, y = _read(path, "X", "y")
    _check_inputs(X, path)
    if len(X) != len(y):
        raise DataError(f"{path} has {len(X)} rows in X and {len(y)} in y.")
    if y.ndim > 1 and y.shape[1:] != (1,):
        if task == "classification":
            raise DataError(f"y of {path} has shape {y.shape}; give one label a row.")
        return Judged(X, y.astype(np.float64), "regression")
    y, task = read_target(pd.Series(y.reshape(len(y)), name="y"), task, notes)
    return Judged(X, y, task)


def _table(frame: pd.DataFrame, target: str | None, task: str, notes: list[str]) -> Judged:
    if target is None or target not in frame.columns:
        what = "Say which column to predict: --target, one of" if target is None else f"No column {target!r}; there are"
        raise DataError(f"{what} {', '.join(frame.columns)}.")
    if missing := int(frame[target].isna().sum()):
        notes.append(f"Dropped {missing} of {len(frame)} rows, which have no {target!r}.")
        frame = frame[frame[target].notna()].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"No row has a target {target!r}.")
    X = _numbers(frame.drop(columns=target))
    y, task = read_target(frame[target], task, notes)
    return Judged(X, y, task)


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    if text := [c for c in frame if not types.is_numeric_dtype(frame[c])]:
        raise DataError(
            f"Column {text[0]!r} is no number. The networks get the columns as they are: give the table that they were "
            "trained on, in its order, with all columns as numbers."
        )
    return frame.to_numpy(np.float32, na_value=np.nan)


def _checked(found: Judged) -> Judged:
    if len(found.y) < LEAST_ROWS:
        raise DataError(
            f"{len(found.y)} rows are too few to judge networks on: give at least {LEAST_ROWS}, or hundreds."
        )
    _check_finite(found.X)
    return found


def _check_finite(X: np.ndarray) -> None:
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise DataError("X has missing or infinite values; fill them in as for training, or drop their rows.")
