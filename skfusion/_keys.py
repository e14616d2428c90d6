"""Sets of 64-bit hashes, as rows are known by: by sorting, whose time grows about as the number of hashes does.

NumPy's ``unique``, ``isin`` and ``setdiff1d`` put numbers into a hash table. That of a million takes ten times as long
as sorting them, and twice as many numbers take up to three times as long.
"""

from __future__ import annotations

import numpy as np


def distinct(keys: np.ndarray) -> np.ndarray:
    """Return each of some hashes once, in ascending order."""
    ordered = np.sort(keys)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered


def is_among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each of some hashes whether it is one of the others."""
    if not len(others):
        return np.zeros(len(keys), bool)
    ordered = np.sort(others)
    found: np.ndarray = ordered[np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)] == keys
    return found
