"""Parts of the data: held-out rows and folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

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


def hold_out(rows: Rows, fraction: float, seed: int, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions to train on and those to hold out.

    Rows of equal inputs stay on one side, so that the held-out score is honest, unless hardly any rows differ: see
    :meth:`~skfusion._rows.Rows.units`. The split is stratified by class, or keeps groups together where the rows have
    groups; then equal rows of different groups may be parted.

    Parameters
    ----------
    rows : Rows
        All rows.
    fraction : float
        Share to hold out, between 0 and 1.
    seed : int
        Of the split; the order of the rows has no influence.
    task : {"classification", "multilabel", "regression"}
        What to stratify by.

    Returns
    -------
    fit, held : ndarray of int
        Positions, each sorted.
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
    is_held = np.isin(unit, held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _hold_out_groups(rows: Rows, fraction: float, seed: int, task: Task) -> tuple[np.ndarray, np.ndarray]:
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


def folds(rows: Rows, cv: Any, task: Task, seed: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over the training and test positions of each fold.

    A number of folds keeps rows of equal inputs together, so that no row is predicted by what was fitted on a copy of
    it, and whole weights and repetitions are the same: the different rows, in the order in which they first occur, are
    cut as scikit-learn cuts them. Where no inputs are equal, or most are, see :meth:`~skfusion._rows.Rows.units`, the
    folds are scikit-learn's own. A splitter or an iterable is obeyed as it is, also where it parts equal rows.

    Parameters
    ----------
    rows : Rows
        All rows.
    cv : int, splitter or iterable
        As in scikit-learn. A number of folds is 5 where it is None, at least 2, stratified in classification, and
        keeps groups together where there are some; then equal rows of different groups may be parted. A number that
        is larger than the smallest class of at least two (or, in regression, than the rows) is reduced to it. Splitters
        are given the targets and the groups. Positions in an iterable count the rows that ``fit`` was given.
    task : {"classification", "multilabel", "regression"}
        Classes are stratified.
    seed : int, optional
        A number of folds is drawn by it, from shuffled rows; rows are cut in their order when omitted.

    Yields
    ------
    train, test : ndarray of int
        Positions.
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


def _numbered(rows: Rows, n_splits: int, task: Task, seed: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if n_splits < 2:
        raise ValueError(f"cv must be at least 2 folds; got cv={n_splits}.")
    first, unit = _units(rows)
    if len(np.unique(rows.keys)) < 2 or len(first) < 2:
        raise ValueError(
            f"Out-of-fold predictions need at least 2 different rows; got n_samples={len(rows)}, all of them equal."
        )
    y, most = rows.y[first], len(first)
    counts = np.bincount(y) if task == "classification" else np.empty(0)
    stratified = bool((counts >= 2).any())  # a class of one row is in the test part of one fold
    n_splits = max(2, min(n_splits, int(counts[counts >= 2].min()) if stratified else most))
    groups = None if rows.groups is None else rows.groups[first]
    drawn: dict[str, Any] = {} if seed is None else {"shuffle": True, "random_state": seed}
    splitter: Any = (StratifiedKFold if stratified else KFold)(n_splits, **drawn)
    if groups is not None:
        if (n_groups := len(np.unique(groups))) < 2:
            raise ValueError(f"Folds of whole groups need at least 2 groups; got {n_groups}.")
        splitter = (StratifiedGroupKFold if stratified else GroupKFold)(min(n_splits, n_groups), **drawn)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = [test for _, test in splitter.split(np.zeros(len(first)), y if stratified else None, groups)]
    for test in parts:
        tested = np.isin(unit, test)
        yield np.flatnonzero(~tested), np.flatnonzero(tested)


def _units(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return where each different row (of a group) first occurs, in order, and for each row which of them it equals."""
    _, code = rows.units()
    if rows.groups is not None:
        code = code * (int(rows.groups.max()) + 1) + rows.groups
    _, first, unit = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return first[order], rank[unit]
