"""Splits of the rows: held-out rows, and folds for cross-validation and cross-fitting."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
    train_test_split,
)

from skfusion._rows import Rows, Task

Fold = tuple[np.ndarray, np.ndarray]
"""Positions to fit on, and positions to predict."""


def hold_out(rows: Rows, fraction: float, seed: int, task: Task) -> Fold:
    """Return the positions to train on and those to hold out, each sorted.

    Rows of equal inputs stay on one side, so that the held-out score is honest, unless hardly any rows differ: see
    :meth:`~skfusion._rows.Rows.units`. The split is stratified by class, or keeps groups together where the rows have
    groups; then equal rows of different groups may be parted. The order of the rows has no influence.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1; got {fraction}.")
    if rows.groups is not None:
        return _hold_out_groups(rows, fraction, seed, task)
    first, unit = rows.units()
    if len(np.unique(rows.keys)) < 2 or len(first) < 2:
        raise ValueError(
            f"Holding out rows needs at least 2 different ones: got n_samples={len(rows)}. Give more rows, or a merger "
            "that needs no held-out score, such as Uniform()."
        )
    movable, stratify = np.arange(len(first)), None
    if task == "classification":
        codes = rows.y[first]
        counts = np.bincount(codes)
        movable = np.flatnonzero(counts[codes] >= 2)  # a class of one row must be trained on
        n_held = int(np.ceil(fraction * len(movable)))
        n_classes = len(np.unique(codes[movable]))
        if min(n_held, len(movable) - n_held) >= n_classes:
            stratify = codes[movable]
        if len(movable) < 2:
            movable, stratify = np.arange(len(first)), None
    _, held = train_test_split(movable, test_size=fraction, random_state=seed, stratify=stratify)
    return _sides(np.isin(unit, held))


def _hold_out_groups(rows: Rows, fraction: float, seed: int, task: Task) -> Fold:
    n_groups = len(np.unique(rows.groups))
    if n_groups < 2:
        raise ValueError(f"Holding out whole groups needs at least 2 groups; got {n_groups}.")
    if task == "classification" and fraction <= 0.5:
        n_splits = min(round(1 / fraction), n_groups)
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        smallest = np.bincount(rows.y).min() if len(rows.y) else 0
        if smallest >= n_splits:
            return next(splitter.split(rows.y, rows.y, rows.groups))
    return next(GroupShuffleSplit(1, test_size=fraction, random_state=seed).split(rows.y, groups=rows.groups))


def held_positions(held_out: Any, n: int) -> np.ndarray:
    """Return the positions that ``fuse(held_out=)`` means, in their order, among n rows of positive weight.

    They come as positions or as a mask, and are some of the rows but not all.
    """
    positions = np.asarray(held_out)
    rows = f"the {n} rows of positive weight"
    if positions.ndim != 1:
        raise ValueError(f"held_out must be one list of positions, or one mask; got shape {positions.shape}.")
    if positions.dtype == bool:
        if len(positions) != n:
            raise ValueError(f"held_out is a mask of {len(positions)} entries for {rows}; give one a row.")
        positions = np.flatnonzero(positions)
    if not len(positions):
        raise ValueError("held_out is empty, so no rows are left to judge on. Name some; None judges on all rows.")
    if not np.issubdtype(positions.dtype, np.integer):
        raise TypeError(f"held_out must hold whole numbers, or be a mask of booleans; got dtype {positions.dtype}.")
    if len(outside := positions[(positions < 0) | (positions >= n)]):
        raise ValueError(
            f"held_out has positions that are not from 0 to {n - 1}, among {rows}: {outside[:3].tolist()}."
        )
    places, counts = np.unique(positions, return_counts=True)
    if len(places) < len(positions):
        raise ValueError(f"held_out names rows more than once: {places[counts > 1][:3].tolist()}. Name each once.")
    if len(positions) == n:
        raise ValueError(
            f"held_out holds out all of {rows}, so none are left to train on or to estimate statistics on. Hold out "
            "fewer; None uses all rows for both."
        )
    return positions.astype(np.int64)


def folds(rows: Rows, cv: Any, task: Task, seed: int | None = None) -> Iterator[Fold]:
    """Iterate over the training and test positions of each fold.

    A number of folds (5 for None) keeps rows of equal inputs together, so that no row is predicted by a model that was
    fitted on a copy of it, and whole weights and repetitions are the same: the different rows, in the order in which
    they first occur, are cut as scikit-learn cuts them, or shuffled by ``seed``. Where no inputs are equal, or most
    are, see :meth:`~skfusion._rows.Rows.units`, the folds are scikit-learn's own. They are stratified in classification
    and keep groups together where there are some; then equal rows of different groups may be parted. A number that is
    larger than the smallest class of at least two (or, in regression, than the rows) is reduced to it.

    A splitter or an iterable is obeyed as it is, also where it parts equal rows. Splitters are given the targets and
    the groups; positions in an iterable count the rows that ``fit`` was given.
    """
    if len(rows) < 2:
        raise ValueError(f"Out-of-fold predictions need at least 2 rows; got n_samples={len(rows)}.")
    if cv is None or isinstance(cv, Integral):
        yield from _numbered(rows, 5 if cv is None else int(cv), task, seed)
    elif isinstance(cv, Iterable) and not isinstance(cv, str):  # some of the rows may have been dropped or held out
        yield from ((rows.among(train), rows.among(test)) for train, test in cv)
    else:
        y = rows.y[:, 0] if rows.y.ndim == 2 and rows.y.shape[1] == 1 else rows.y
        yield from check_cv(cv).split(np.zeros(len(rows)), y, rows.groups)


def _numbered(rows: Rows, n_splits: int, task: Task, seed: int | None) -> Iterator[Fold]:
    if n_splits < 2:
        raise ValueError(f"cv must be at least 2 folds; got cv={n_splits}.")
    first, unit = _units_in_order(rows)
    if len(np.unique(rows.keys)) < 2 or len(first) < 2:
        raise ValueError(
            f"Out-of-fold predictions need at least 2 different rows; got n_samples={len(rows)}, all of them equal."
        )
    y = rows.y[first]
    counts = np.bincount(y) if task == "classification" else np.empty(0)
    stratified = bool((counts >= 2).any())  # a class of one row is in the test part of one fold
    n_splits = max(2, min(n_splits, int(counts[counts >= 2].min()) if stratified else len(first)))
    drawn: dict[str, Any] = {} if seed is None else {"shuffle": True, "random_state": seed}
    groups = None if rows.groups is None else rows.groups[first]
    if groups is None:
        splitter: Any = (StratifiedKFold if stratified else KFold)(n_splits, **drawn)
    else:
        splitter = (StratifiedGroupKFold if stratified else GroupKFold)(min(n_splits, _n_groups(groups)), **drawn)
    for _, test in _split(splitter, len(first), y if stratified else None, groups):
        yield _sides(np.isin(unit, test))


def _units_in_order(rows: Rows) -> Fold:
    """Return where each different row (of a group) first occurs, in order, and for each row which of them it equals."""
    _, code = rows.units()
    if rows.groups is not None:
        code = code * (int(rows.groups.max()) + 1) + rows.groups
    _, first, unit = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return first[order], rank[unit]


class Original(NamedTuple):
    """The data as it was passed to ``fit``, which splitters split: in its order, with rows of weight zero."""

    X: Any
    y: Any
    groups: Any = None


def crossfit_folds(rows: Rows, cv: Any, task: Task, seed: int, original: Original) -> list[Fold]:
    """Return folds whose test parts are all rows, each once, so that every row is predicted without its equals.

    A number of folds, shuffled by ``seed`` and stratified by class, is at most that of the rows of the largest class.
    Rows of equal inputs, see :meth:`~skfusion._rows.Rows.units`, repetitions by weight, and the rows of a group are in
    one of them. A splitter, or an iterable of positions, divides the rows that ``fit`` was given, and may part rows
    that are equal.
    """
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2:
            raise ValueError(f"cv must be at least 2, for class vectors of rows that were not fitted on; got cv={cv}.")
        parts = (_shuffled if rows.groups is None else _grouped)(rows, int(cv), task, seed)
    elif isinstance(cv, str) or not (hasattr(cv, "split") or isinstance(cv, Iterable)):
        raise ValueError(f"cv must be a number of folds, a splitter or an iterable of positions; got {cv!r}.")
    else:
        splits = cv.split(*original) if hasattr(cv, "split") else cv
        parts = [(rows.among(train), rows.among(test)) for train, test in splits]
        parts = [(train, test) for train, test in parts if len(test)]  # all rows of one may have had weight zero
    tested = np.bincount(np.concatenate([np.empty(0, np.int64), *(test for _, test in parts)]), minlength=len(rows))
    name = f"cv={cv!r}" if hasattr(cv, "split") else "cv"  # not all positions of an iterable
    if not (tested == 1).all():
        raise ValueError(
            f"The folds of {name} test {int((tested != 1).sum())} of {len(rows)} rows not once: cross-fitting needs a "
            "partition, as KFold makes it."
        )
    if empty := [i for i, (train, _) in enumerate(parts) if not len(train)]:
        raise ValueError(f"The folds {empty} of {name} have no rows to fit on.")
    return parts


def _shuffled(rows: Rows, n_splits: int, task: Task, seed: int) -> list[Fold]:
    """Return folds of different rows, so that no repetition of a row is fitted on when it is predicted."""
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
    return [_sides(np.isin(unit, test)) for _, test in _split(splitter, len(first), codes)]


def _grouped(rows: Rows, n_splits: int, task: Task, seed: int) -> list[Fold]:
    n_splits = min(n_splits, _n_groups(rows.groups))
    stratified = task == "classification" and np.bincount(rows.y).max() >= n_splits
    splitter = (StratifiedGroupKFold if stratified else GroupKFold)(n_splits, shuffle=True, random_state=seed)
    y = rows.y if task == "classification" else None
    return [(train, test) for train, test in _split(splitter, len(rows), y, rows.groups) if len(test)]


def _n_groups(groups: np.ndarray) -> int:
    if (n := len(np.unique(groups))) < 2:
        raise ValueError(f"Folds of whole groups need at least 2 groups; got {n}.")
    return n


def _split(splitter: Any, n: int, y: np.ndarray | None, groups: np.ndarray | None = None) -> list[Fold]:
    """Split, without a warning of a class of fewer rows than folds, which then is in some of them only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [*splitter.split(np.zeros(n), y, groups)]


def _sides(tested: np.ndarray) -> Fold:
    return np.flatnonzero(~tested), np.flatnonzero(tested)
