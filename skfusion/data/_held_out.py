"""Held-out rows: which they are, and the two sides of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

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
    if not (rows.keys != rows.keys[:1]).any() or len(first) < 2:
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
    return sides(np.isin(unit, held))


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
    """Return the positions that ``fuse(held_out=)`` means, positions or a mask, among n rows of positive weight."""
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


def sides(tested: np.ndarray) -> Fold:
    """Return the positions of the rows that are not tested, and of those that are."""
    return np.flatnonzero(~tested), np.flatnonzero(tested)
