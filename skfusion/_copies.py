"""Whether rows of equal inputs are copies of each other, or what new data is like, as of categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FEW_INPUTS = 10
"""Fewer inputs than these, each many times, are the cases of a table and no copies."""

MANY_TIMES = 10
"""How often each of few inputs occurs, on average, at least."""

FULL = 10
"""Combinations of the columns' values for each that occurs, at most, where columns are categories."""


def are_categories(X: Any, inputs: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether equal inputs are categories and no copies.

    They are where fewer than a third of the rows differ in their inputs, most of those whose inputs occur again have
    equals with other targets, and the inputs are whole numbers that fill the grid of their columns' values. Of
    measurements that are repeated, with noise in their targets, the last does not hold.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...), or dict of them
        Inputs. Those of dtype uint64 are hashes, which are no categories.
    inputs, rows : ndarray of shape (n_samples,)
        Hashes of the inputs of each row, and of its inputs and target.

    Returns
    -------
    bool
        Whether a split may part rows of equal inputs.
    """
    _, first, group, size = np.unique(inputs, return_index=True, return_inverse=True, return_counts=True)
    if len(size) < FEW_INPUTS and len(size) * MANY_TIMES < len(rows):
        return True
    if len(size) * 3 >= len(rows):
        return False
    n_targets = np.bincount(group[np.unique(rows, return_index=True)[1]])
    return 2 * size[n_targets > 1].sum() > size[size > 1].sum() and _fill_a_grid(X, first)


def _fill_a_grid(X: Any, first: np.ndarray) -> bool:
    """Return whether inputs, one row of each, are whole numbers, and many of the combinations that columns allow."""
    n_cells = 1
    for part in X.values() if isinstance(X, Mapping) else [X]:
        if part.dtype == np.uint64:
            return False
        for column in part.reshape(len(part), -1).T:
            values = np.unique(column[first])
            n_cells *= len(values)
            if n_cells > FULL * len(first) or (values != np.rint(values)).any():
                return False
    return True
