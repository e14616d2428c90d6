"""Folds for cross-fitting: every row is predicted once, by what was not fitted on it or on its equals."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from skfusion._rows import Rows, Task

Fold = tuple[np.ndarray, np.ndarray]
"""Positions to fit on, and positions to predict."""


class Given(NamedTuple):
    """The data as ``fit`` was given it, which splitters split: in its order, with rows of weight zero."""

    X: Any
    y: Any
    groups: Any = None


def crossfit_folds(rows: Rows, cv: Any, task: Task, seed: int, given: Given) -> list[Fold]:
    """Return folds whose test parts are all rows, each once.

    Parameters
    ----------
    rows : Rows
        What is fitted on. Repetitions by weight stay in one fold.
    cv : int, splitter or iterable
        A number of folds, which are stratified by class; at most as many as there are rows of the largest class. Rows
        of equal inputs, see :meth:`~skfusion._rows.Rows.units`, and the rows of a group are in one of them. A splitter,
        or an iterable of positions, divides the rows that ``fit`` was given, and may part rows that are equal.
    task : {"classification", "regression"}
        Classes are stratified.
    seed : int
        Of the shuffling.
    given : Given
        What ``fit`` was given.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        Positions to fit on and to predict.
    """
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2:
            raise ValueError(f"cv must be at least 2, for class vectors of rows that were not fitted on; got cv={cv}.")
        found = _grouped(rows, int(cv), task, seed) if rows.groups is not None else _shuffled(rows, int(cv), task, seed)
    elif isinstance(cv, str) or not (hasattr(cv, "split") or isinstance(cv, Iterable)):
        raise ValueError(f"cv must be a number of folds, a splitter or an iterable of positions; got {cv!r}.")
    else:
        parts = cv.split(*given) if hasattr(cv, "split") else cv
        found = [(rows.among(train), rows.among(test)) for train, test in parts]
        found = [(train, test) for train, test in found if len(test)]  # all rows of one may have had weight zero
    tested = np.bincount(np.concatenate([np.empty(0, np.int64), *(test for _, test in found)]), minlength=len(rows))
    name = f"cv={cv!r}" if hasattr(cv, "split") else "cv"  # not all positions of an iterable
    if not (tested == 1).all():
        raise ValueError(
            f"The folds of {name} test {int((tested != 1).sum())} of {len(rows)} rows not once: cross-fitting needs a "
            "partition, as KFold makes it."
        )
    if empty := [i for i, (train, _) in enumerate(found) if not len(train)]:
        raise ValueError(f"The folds {empty} of {name} have no rows to fit on.")
    return found


def _shuffled(rows: Rows, n_splits: int, task: Task, seed: int) -> list[Fold]:
    """Return folds of unlike rows, so that no repetition of a row is fitted on when it is predicted."""
    first, unit = rows.units()
    if len(first) == len(rows):
        first = unit = np.arange(len(rows))
    if len(np.unique(rows.keys)) < 2 or len(first) < 2:
        raise ValueError(
            f"Cross-fitting needs at least 2 different rows; got n_samples={len(rows)}, {len(first)} of them different."
        )
    codes = rows.y[first]
    largest = int(np.bincount(codes).max()) if task == "classification" else 1
    if largest >= 2:
        splitter: Any = StratifiedKFold(min(n_splits, largest), shuffle=True, random_state=seed)
    else:
        splitter, codes = KFold(min(n_splits, len(first)), shuffle=True, random_state=seed), None
    with warnings.catch_warnings():  # a class of fewer rows than folds is in some of them only, which is all there is
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = [test for _, test in splitter.split(np.zeros(len(first)), codes)]
    fold_of = np.empty(len(first), np.int64)
    for number, test in enumerate(parts):
        fold_of[test] = number
    return [(np.flatnonzero(fold_of[unit] != i), np.flatnonzero(fold_of[unit] == i)) for i in range(len(parts))]


def _grouped(rows: Rows, n_splits: int, task: Task, seed: int) -> list[Fold]:
    n_groups = len(np.unique(rows.groups))
    if n_groups < 2:
        raise ValueError(f"Folds of whole groups need at least 2 groups; got {n_groups}.")
    n_splits = min(n_splits, n_groups)
    if task == "classification" and np.bincount(rows.y).max() >= n_splits:
        splitter: Any = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    else:
        splitter = GroupKFold(n_splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        found = list(splitter.split(np.zeros(len(rows)), rows.y if task == "classification" else None, rows.groups))
    return [(train, test) for train, test in found if len(test)]
