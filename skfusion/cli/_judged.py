"""Rows to judge trained networks on, taken as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api import types

from skfusion.cli._table import (
    BUILT_IN,
    READERS,
    Data,
    DataError,
    check_task,
    file_at,
    load,
    read_table,
    read_target,
    with_target,
)

LEAST_ROWS = 10


def rows(source: str, target: str | None, task: str, notes: list[str]) -> Data:
    """Return rows as they are: nothing is scaled or filled in, as the networks were trained on other rows.

    ``source`` is a built-in set, or a ``.csv``, ``.parquet`` or ``.npz`` file; the last has arrays X and y.
    """
    check_task(task)
    if source in BUILT_IN:
        judged = load(source, target, task)
    elif (path := file_at(source, "--data", *READERS, ".npz")).suffix.lower() == ".npz":
        judged = _labelled_arrays(path, target, task, notes)
    else:
        frame = with_target(read_table(path, notes), target, notes)
        X = _numbers(frame.drop(columns=target))
        judged = Data(path.stem, X, *read_target(frame[target], task, notes))
    if len(judged.y) < LEAST_ROWS:
        raise DataError(
            f"{len(judged.y)} rows are too few to judge networks on: give at least {LEAST_ROWS}, or hundreds."
        )
    _check_finite(judged.X)
    return judged


def unlabelled_rows(source: str, target: str | None) -> np.ndarray:
    """Return inputs as they are: an ``.npz`` file needs no y, and a table no column ``target``."""
    if source in BUILT_IN:
        return load(source, None, "auto").X
    path = file_at(source, "--fit-data", *READERS, ".npz")
    if path.suffix.lower() == ".npz":
        (X,) = _arrays(path, "X")
    else:
        X = _numbers(read_table(path, []).drop(columns=target or [], errors="ignore"))
    if len(X) < 2:
        raise DataError(f"--fit-data {source} has {len(X)} rows, which have no spread: give at least 2, or hundreds.")
    _check_finite(X)
    return X


def _arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Return arrays of an .npz file, of which the first, X, holds inputs."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in names if name not in file.files]:
                raise DataError(
                    f"{path} has no array {missing[0]!r}; it has {', '.join(file.files)}. Save "
                    f"{' and '.join(f'{name}=' for name in names)}."
                )
            X, *others = [file[name] for name in names]
    except DataError:
        raise
    except Exception as error:  # of zip files, headers, and pickles, which are not read
        raise DataError(f"{path} cannot be read: {error}") from error
    if X.ndim < 2 or X.dtype.kind not in "fiub":
        raise DataError(f"X of {path} must be numbers of shape (n_rows, ...); it is {X.dtype} of shape {X.shape}.")
    return [X, *others]


def _labelled_arrays(path: Path, target: str | None, task: str, notes: list[str]) -> Data:
    if target is not None:
        raise DataError("--target is for tables; the targets of an .npz file are its array y.")
    X, y = _arrays(path, "X", "y")
    if len(X) != len(y):
        raise DataError(f"{path} has {len(X)} rows in X and {len(y)} in y.")
    if y.ndim > 1 and y.shape[1:] != (1,):
        if task == "classification":
            raise DataError(f"y of {path} has shape {y.shape}; give one label a row.")
        return Data(path.stem, X, y.astype(np.float64), "regression")
    return Data(path.stem, X, *read_target(pd.Series(y.reshape(len(y)), name="y"), task, notes))


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    if text := [c for c in frame if not types.is_numeric_dtype(frame[c])]:
        raise DataError(
            f"Column {text[0]!r} is no number. The networks get the columns as they are: give the table that they were "
            "trained on, in its order, with all columns as numbers."
        )
    return frame.to_numpy(np.float32, na_value=np.nan)


def _check_finite(X: np.ndarray) -> None:
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise DataError("X has missing or infinite values; fill them in as for training, or drop their rows.")
