"""Folds for cross-validation and cross-fitting, which keep equal rows and groups together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, check_cv

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task
from skfusion.data._held_out import Fold, sides

ALWAYS_SO = 0
"""A seed for folds that are shuffled, since tables are often sorted, and are the same whenever the rows are."""


def folds(rows: Rows, cv: Any, task: Task, seed: int | None = None, labels: Any = None) -> Iterator[Fold]:
    """Iterate over the training and test positions of each fold.

    A number of folds (5 for None) keeps rows of equal inputs together, so that no row is predicted by a model that was
    fitted on a copy of it, and whole weights and repetitions are the same: the different rows, in the order in which
    they first occur, are cut as scikit-learn cuts them, or shuffled by ``seed``. Where no inputs are equal, or most
    are, see :meth:`~skfusion._rows.Rows.units`, the folds are scikit-learn's own. They are stratified in classification
    and keep groups together where there are some; then equal rows of different groups may be parted. A number that is
    larger than the largest class (or, in regression, than the rows) is reduced to it; classes of fewer rows than folds
    are in some test parts only, and a warning names them, by ``labels`` if they are given.

    A splitter or an iterable is obeyed as it is, also where it parts equal rows. Splitters are given the targets and
    the groups; positions in an iterable count the rows that ``fit`` was given.
    """
    if len(rows) < 2:
        raise ValueError(f"Out-of-fold predictions need at least 2 rows; got n_samples={len(rows)}.")
    if cv is None or isinstance(cv, Integral):
        yield from _numbered(rows, 5 if cv is None else int(cv), task, seed, labels)
    elif isinstance(cv, Iterable) and not isinstance(cv, str):  # some of the rows may have been dropped or held out
        yield from ((rows.among(train), rows.among(test)) for train, test in cv)
    else:
        y = rows.y[:, 0] if rows.y.ndim == 2 and rows.y.shape[1] == 1 else rows.y
        yield from check_cv(cv).split(np.zeros(len(rows)), y, rows.groups)


def _numbered(rows: Rows, n_splits: int, task: Task, seed: int | None, labels: Any) -> Iterator[Fold]:
    if n_splits < 2:
        raise ValueError(f"cv must be at least 2 folds; got cv={n_splits}.")
    first, unit = _units_in_order(rows)
    if not (rows.keys != rows.keys[:1]).any() or len(first) < 2:
        raise ValueError(
            f"Out-of-fold predictions need at least 2 different rows; got n_samples={len(rows)}, all of them equal."
        )
    y = rows.y[first]
    counts = np.bincount(y) if task == "classification" else np.empty(0)
    stratified = bool((counts >= 2).any())  # a class of one row is in the test part of one fold
    n_splits = max(2, min(n_splits, int(counts.max()) if stratified else len(first)))
    groups = None if rows.groups is None else rows.groups[first]
    n_splits = n_splits if groups is None else min(n_splits, _n_groups(groups))
    if len(rare := np.flatnonzero((counts > 0) & (counts < n_splits))):
        _warn_of_rare(rare, counts, n_splits, labels)
    for _, test in _split(n_splits, len(first), y if stratified else None, groups, seed):
        yield sides(np.isin(unit, test))


def _warn_of_rare(rare: np.ndarray, counts: np.ndarray, n_splits: int, labels: Any) -> None:
    names = np.arange(len(counts)).tolist() if labels is None else np.asarray(labels).tolist()
    named = [f"{names[code]!r} ({counts[code]})" for code in rare]
    alone = ", and a class of one row is unknown where that row is tested" if counts[rare].min() == 1 else ""
    warn_caller(
        f"Classes of fewer different rows than the {n_splits} folds: {', '.join(named[:5])}"
        f"{', ...' if len(named) > 5 else ''}. Some test parts lack them{alone}. Fewer folds, more of their rows, or "
        "leaving them out avoids it."
    )


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
    if not (rows.keys != rows.keys[:1]).any() or len(first) < 2:
        raise ValueError(
            f"Cross-fitting needs at least 2 different rows; got n_samples={len(rows)}, {len(first)} of them different."
        )
    codes = rows.y[first]
    largest = int(np.bincount(codes).max()) if task == "classification" else 1
    n_splits = min(n_splits, largest if largest >= 2 else len(first))
    parts = _split(n_splits, len(first), codes if largest >= 2 else None, None, seed)
    return [sides(np.isin(unit, test)) for _, test in parts]


def _grouped(rows: Rows, n_splits: int, task: Task, seed: int) -> list[Fold]:
    n_splits = min(n_splits, _n_groups(rows.groups))
    stratified = task == "classification" and np.bincount(rows.y).max() >= n_splits
    parts = _split(n_splits, len(rows), rows.y if stratified else None, rows.groups, seed)
    return [(train, test) for train, test in parts if len(test)]


def _n_groups(groups: np.ndarray) -> int:
    if (n := len(np.unique(groups))) < 2:
        raise ValueError(f"Folds of whole groups need at least 2 groups; got {n}.")
    return n


def _split(n_splits: int, n: int, y: np.ndarray | None, groups: np.ndarray | None, seed: int | None) -> list[Fold]:
    """Return folds of n rows, stratified by classes ``y``, of whole groups and shuffled where these are given."""
    plain, stratified = (KFold, StratifiedKFold) if groups is None else (GroupKFold, StratifiedGroupKFold)
    shuffled: dict[str, Any] = {} if seed is None else {"shuffle": True, "random_state": seed}
    splitter = (plain if y is None else stratified)(n_splits, **shuffled)
    with warnings.catch_warnings():  # a class of fewer rows than folds is in some of them only
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [*splitter.split(np.zeros(n), y, groups)]
