"""Which rows ``fuse(held_out=)`` means."""

from __future__ import annotations

from typing import Any

import numpy as np


def held_positions(held_out: Any, n: int) -> np.ndarray:
    """Return the positions of the held-out rows, in the order in which they were given.

    Parameters
    ----------
    held_out : array-like of int or bool
        Positions, or a mask.
    n : int
        Rows of positive weight, which it counts.

    Returns
    -------
    ndarray of int
        Some of the positions from 0 to n - 1, but not all.
    """
    given = np.asarray(held_out)
    rows = f"the {n} rows of positive weight"
    if given.ndim != 1:
        raise ValueError(f"held_out must be one list of positions, or one mask; got shape {given.shape}.")
    if given.dtype == bool:
        if len(given) != n:
            raise ValueError(f"held_out is a mask of {len(given)} entries for {rows}; give one a row.")
        given = np.flatnonzero(given)
    if not len(given):
        raise ValueError("held_out is empty, so no rows are left to judge on. Name some; None judges on all rows.")
    if not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"held_out must hold whole numbers, or be a mask of booleans; got dtype {given.dtype}.")
    if len(outside := given[(given < 0) | (given >= n)]):
        raise ValueError(
            f"held_out has positions that are not from 0 to {n - 1}, among {rows}: {outside[:3].tolist()}."
        )
    places, counts = np.unique(given, return_counts=True)
    if len(places) < len(given):
        raise ValueError(f"held_out names rows more than once: {places[counts > 1][:3].tolist()}. Name each once.")
    if len(given) == n:
        raise ValueError(
            f"held_out holds out all of {rows}, so none are left to train on or to estimate statistics on. Hold out "
            "fewer; None uses all rows for both."
        )
    return given.astype(np.int64)
