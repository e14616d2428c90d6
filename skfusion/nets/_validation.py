"""The rows that a net validates on while it trains: neither copies nor group members of those that it trains on."""

from __future__ import annotations

import copy
import warnings
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, StratifiedGroupKFold
from skorch.dataset import ValidSplit, get_len
from skorch.utils import to_numpy
from torch.utils.data import Subset

from skfusion._random import seed_scope
from skfusion._rows import Rows
from skfusion.nets._prepare import targets, task_of


class UnitSplit:
    """A ``train_split`` that divides rows as the user's split does, but keeps equal rows, and groups, together.

    Rows that all differ and have no groups are left to the user's split. Otherwise it divides one row of each unit, see
    :meth:`~skfusion._rows.Rows.units`, or of each group, and the other rows follow that one. skorch's ``ValidSplit`` of
    a number or a share becomes one of groups. Validation data that is no part of the given data, such as that of
    ``predefined_split``, stays as it is.

    ``index`` has the positions of the rows that the dataset holds, with repetitions; all rows when omitted. ``made``
    keeps what nets on the same rows share.
    """

    def __init__(self, split: Any, rows: Rows, index: np.ndarray | None = None, made: dict[Any, Any] | None = None):
        self.split, self.rows, self.index, self.made = split, rows, index, made

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """A row of each unit, in the order of the rows or groups, the unit of each row, and the groups."""
        rows = self.rows if self.index is None else self.rows.take(self.index)
        if rows.groups is None:
            one_of_each, unit = rows.units()
            if len(one_of_each) == len(unit):
                return np.arange(len(unit)), unit, None
            return np.sort(np.unique(unit, return_index=True)[1]), unit, None
        return *np.unique(rows.groups, return_index=True, return_inverse=True)[1:], rows.groups

    def __call__(self, dataset: Any, y: Any = None, **options: Any) -> tuple[Any, Any]:
        """Return what is trained on, and what is held out."""
        first, unit, groups = self._units
        given = () if y is None else (y,)
        if get_len(dataset) != len(unit) or (groups is None and len(first) == len(unit)):
            if type(self.split) is ValidSplit:
                return self._of_distinct(dataset, y, **options)
            return self.split(dataset, *given, **options)
        if groups is not None and len(first) < 2:
            raise ValueError(
                "The net's train_split keeps groups together, and all rows of a training are of one group. Give more "
                "groups, or a net with train_split=None."
            )
        if groups is not None and type(self.split) is ValidSplit:
            parts = _of_groups(self.split, y, groups)
            if parts is not None:
                return Subset(dataset, parts[0]), Subset(dataset, parts[1])
        some, split, given = Subset(dataset, first), self.split, tuple(part[first] for part in given)
        if type(split) is ValidSplit:
            split = _of_few(split, len(first), *given)
            options |= {} if groups is None else {"groups": groups[first]}
        with warnings.catch_warnings():  # a class of few rows is in some parts only, which cannot be helped
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
            parts = split(some, *given, **options)

        def whole(part: Any) -> Any:
            index = _within(part, some)
            return part if index is None else Subset(dataset, np.flatnonzero(np.isin(unit, unit[first[index]])))

        train, valid = parts
        return (dataset if train is some else whole(train)), whole(valid)

    def _of_distinct(self, dataset: Any, y: Any, **options: Any) -> tuple[Any, Any]:
        """Return the parts by skorch's split; folds, which are not drawn, are found once for all nets on the rows."""
        n, split, given = get_len(dataset), self.split, () if y is None else (y,)
        if self.made is None or options or not isinstance(split.cv, Integral):
            return _of_few(split, n, *given)(dataset, *given, **options)
        key = "folds", split.cv, split.stratified, n
        if key not in self.made or self.made[key][0] is not y:
            parts = _of_few(split, n, *given)(dataset, *given)
            self.made[key] = y, [part.indices for part in parts]
        train, valid = self.made[key][1]
        return Subset(dataset, train), Subset(dataset, valid)


class FixedSplit:
    """A ``train_split`` that holds out the same rows each time, also of a part; none where no others are left."""

    keeps_units = True

    def __init__(self, held: np.ndarray):
        self.held = held

    def __call__(self, dataset: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Return what is trained on, and what is held out."""
        if self.held.all() or not self.held.any():
            return dataset, None
        return Subset(dataset, np.flatnonzero(~self.held)), Subset(dataset, np.flatnonzero(self.held))


def fixed_split(net: Any, rows: Rows, seed: int) -> FixedSplit | None:
    """Return the split of a net, drawn once by ``seed``; None where the net validates on no part of the rows."""
    if net.train_split is None:
        return None
    with seed_scope(seed, net.device):
        y = targets(net, rows.y, task_of(net, rows))
        dataset = net.get_dataset(rows.X, y)
        _, valid = unit_split(net.train_split, rows)(dataset, y)
    held = None if valid is None else _within(valid, dataset)
    return None if held is None else FixedSplit(np.isin(np.arange(len(rows)), held))


def unit_split(split: Any, rows: Rows, index: np.ndarray | None = None, made: dict[Any, Any] | None = None) -> Any:
    """Return a ``train_split`` in place of a net's, which keeps equal rows and groups on one side; None for None.

    A split whose attribute ``keeps_units`` is true stays as it is. ``index`` has the positions of the rows that are
    trained on, with repetitions; all rows when omitted. ``made`` keeps what nets on the same rows share.
    """
    if isinstance(split, FixedSplit):
        place = rows.position if index is None else index
        return split if place is None else FixedSplit(split.held[place])
    if split is None or isinstance(split, UnitSplit) or getattr(split, "keeps_units", False):
        return split
    return UnitSplit(split, rows, index, made)


def _within(part: Any, source: Any) -> np.ndarray | None:
    """Return the positions of a part in the dataset that it was taken from; None where it comes from elsewhere."""
    index = np.arange(len(source))
    chain = []
    while isinstance(part, Subset) and part is not source:
        chain.append(np.asarray(part.indices))
        part = part.dataset
    for positions in reversed(chain):
        index = index[positions]
    return index if part is source else None


def _of_groups(split: ValidSplit, y: Any, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return positions to train on and to hold out; None where the split is of a splitter, which is given groups."""
    n_groups, seed, cv = len(np.unique(groups)), split.random_state, 5 if split.cv is None else split.cv
    if not isinstance(cv, (Integral, float)):
        return None
    labels, nothing = to_numpy(y) if split.stratified else None, np.zeros(len(groups))
    share = isinstance(cv, float) and not cv.is_integer()
    n_splits = min(n_groups, max(2, round(1 / cv)) if share else int(cv))
    if labels is not None and np.unique(labels, return_counts=True)[1].max() >= n_splits:
        shuffled = {"shuffle": True, "random_state": seed} if share else {}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            return next(StratifiedGroupKFold(n_splits, **shuffled).split(nothing, labels, groups))
    splitter = GroupShuffleSplit(1, test_size=cv, random_state=seed) if share else GroupKFold(n_splits)
    return next(splitter.split(nothing, None, groups))


def _of_few(split: ValidSplit, n: int, y: Any = None) -> ValidSplit:
    """Return a split that can divide few rows: in fewer parts, or without regard to classes where it must."""
    fitting = copy.copy(split)
    counts = np.unique(to_numpy(y), return_counts=True)[1] if split.stratified and y is not None else np.array([n])
    if isinstance(split.cv, Integral):
        fitting.stratified = split.stratified and bool(counts.max() >= 2)
        fitting.cv = max(2, min(int(split.cv), int(counts.max()) if fitting.stratified else n))
    elif isinstance(split.cv, float):
        n_held = int(np.ceil(split.cv * n))
        fitting.stratified = split.stratified and bool(counts.min() >= 2 and min(n_held, n - n_held) >= len(counts))
    return fitting
