"""Rows to judge trained networks on, taken as they are, and how the outputs of these networks are to be read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pandas.api import types
from torch import nn

from skfusion._rows import one_of
from skfusion.cli import _sources, _table
from skfusion.cli._sources import BUILT_IN, READERS, DataError
from skfusion.cli._table import Data
from skfusion.nets import dtype_of, mlp_classifier, mlp_regressor, tensors, with_module
from skfusion.objective import call, evaluating
from skfusion.state import State

LEAST_ROWS = 10


def rows(source: str, target: str | None, task: str, notes: list[str]) -> Data:
    """Return rows as they are: nothing is scaled or filled in, as the networks were trained on other rows.

    ``source`` is a built-in set, or a ``.csv``, ``.parquet`` or ``.npz`` file; the last has arrays X and y.
    """
    _table.check_task(task)
    if source in BUILT_IN:
        judged = _table.load(source, target, task)
    elif (path := _sources.file_at(source, "--data", *READERS, ".npz")).suffix.lower() == ".npz":
        judged = _labelled_arrays(path, target, task, notes)
    else:
        frame = _table.with_target(_sources.read_table(path, notes), target, notes)
        X = _numbers(frame.drop(columns=target))
        judged = Data(path.stem, X, *_table.read_target(frame[target], task, notes))
    if len(judged.y) < LEAST_ROWS:
        raise DataError(
            f"{len(judged.y)} rows are too few to judge networks on: give at least {LEAST_ROWS}, or hundreds."
        )
    _check_finite(judged.X)
    return judged


def unlabelled_rows(source: str, target: str | None) -> np.ndarray:
    """Return inputs as they are: an ``.npz`` file needs no y, and a table no column ``target``."""
    if source in BUILT_IN:
        return _table.load(source, None, "auto").X
    path = _sources.file_at(source, "--fit-data", *READERS, ".npz")
    if path.suffix.lower() == ".npz":
        (X,) = _arrays(path, "X")
    else:
        X = _numbers(_sources.read_table(path, []).drop(columns=target or [], errors="ignore"))
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
    return Data(path.stem, X, *_table.read_target(pd.Series(y.reshape(len(y)), name="y"), task, notes))


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


_ROWS = 1024
"""Rows that are run at once."""
_SUM = 1e-4
"""By how much the sum of the probabilities of a row may miss one."""


class Seen(NamedTuple):
    """What networks gave for all rows."""

    width: int  # numbers a row
    is_share: bool  # whether all numbers are in [0, 1]
    is_distribution: bool  # whether the numbers of each row are probabilities of classes that exclude each other


def inputs_for(module: nn.Module, X: np.ndarray) -> Any:
    """Return inputs as a module takes them: integers stay integers, under their name, where there is an embedding."""
    if X.dtype.kind in "iu" and any(isinstance(m, nn.Embedding) for m in module.modules()):
        return {next(iter(inspect.signature(module.forward).parameters)): X.astype(np.int64)}
    return X


def net_for(module: nn.Module, states: Sequence[State], judged: Data, notes: list[str]) -> tuple[Any, Any, Any, str]:
    """Return a skorch net with a module, the inputs as it takes them, the classes of its outputs, and the net's code.

    All networks are run on all rows; how their outputs are read is noted. The classes are None in regression.
    """
    X = inputs_for(module, judged.X)
    seen = _seen(module, states, X)
    if judged.task == "regression":
        return with_module(mlp_regressor(), module), X, None, "mlp_regressor()"
    if seen.width == 1:
        classes = _classes(judged.y, 2, "one number, which separates two classes")
    else:
        classes = _classes(judged.y, seen.width, f"{seen.width} numbers")
        notes.append(f"The outputs are taken as {_shown(classes)}, in this order.")
    options, note = _reading(seen, classes)
    notes.append(note)
    words = [f"{name}={value if value is True else f'torch.nn.{value.__name__}'}" for name, value in options.items()]
    return with_module(mlp_classifier(**options), module), X, classes, f"mlp_classifier({', '.join(words)})"


def _reading(seen: Seen, classes: np.ndarray) -> tuple[dict[str, Any], str]:
    """Return the parameters of a classifier that reads such outputs rightly, and a note on that."""
    if seen.width == 1:
        what = f"of {classes[1]} and not {classes[0]}"
        if seen.is_share:
            note = f"The output is read as a probability, that {what}: it is between 0 and 1 for all rows and networks."
            return {"criterion": nn.BCELoss}, note
        return {"multilabel": True}, f"The output is read as log-odds, those {what}: it is not always between 0 and 1."
    if seen.is_distribution:
        # skorch takes the logarithm itself where the criterion is NLLLoss
        note = "The outputs are read as probabilities: they sum to 1 for all rows and networks."
        return {"criterion": nn.NLLLoss}, note
    text = "The outputs are read as logits of classes that exclude each other"
    if seen.is_share:
        text += (
            ", though all are between 0 and 1 without a sum of 1, as sigmoids would be. If they are probabilities, "
            "accuracies of single networks and soups hold, as the largest output wins; losses and the score of "
            "averaged predictions do not. Let the module return logits"
        )
    return {}, f"{text}."


def _seen(module: nn.Module, states: Sequence[State], X: Any) -> Seen:
    width, low, high, off = 1, float("inf"), -float("inf"), 0.0
    for state in states:
        for out in _outputs(module, state, X):
            wide = out.double().reshape(len(out), -1)
            width = wide.shape[1]
            low, high = min(low, float(wide.min())), max(high, float(wide.max()))
            off = max(off, float((wide.sum(1) - 1).abs().max()))
    return Seen(width, low >= 0 and high <= 1, low >= 0 and off < _SUM)


def _outputs(module: nn.Module, state: State, X: Any) -> Iterator[torch.Tensor]:
    n = len(one_of(X))
    for start in range(0, n, _ROWS):
        here = slice(start, start + _ROWS)
        part = {k: v[here] for k, v in X.items()} if isinstance(X, dict) else X[here].astype(np.float32)
        size = len(one_of(part))
        try:
            with torch.no_grad(), evaluating(module):
                out = call(module, state, tensors(part, dtype_of(module)))
        except Exception as error:  # raised by code of the user
            raise DataError(
                f"The module cannot run on rows of shape {one_of(X).shape[1:]}: {type(error).__name__}: {error}. Give "
                "the rows as it was trained on them."
            ) from error
        if out.ndim not in (1, 2) or len(out) != size:
            raise DataError(
                f"The module returns shape {tuple(out.shape)} for {size} rows; only one row of numbers a row can be "
                "judged."
            )
        yield out


def _classes(y: np.ndarray, n: int, outputs: str) -> np.ndarray:
    """Return the labels of n outputs: those in y, or the numbers from 0 where y holds some of them."""
    present = np.unique(y)
    if len(present) == n:
        return present
    if np.issubdtype(present.dtype, np.integer) and present.min() >= 0 and present.max() < n:
        return np.arange(n)
    raise DataError(
        f"The labels do not fit: the target has {len(present)} classes ({_shown(present)}), and the networks give "
        f"{outputs}. Give rows with all classes, or labels as numbers from 0."
    )


def _shown(classes: np.ndarray) -> str:
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
