"""Levels of contours of a loss or a score."""

from __future__ import annotations

from typing import Any

import numpy as np

_SERIES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
"""Round numbers of a decade, from coarse to fine."""
_MOST = 16
FAR = 0.95
"""Share of the grid that the levels resolve; worse points are of one colour."""


def levels_of(z: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Return round levels for contours: spaced by factors for losses, which are skewed, and equally for scores."""
    known = z[np.isfinite(z)]
    if not known.size:
        raise ValueError("No value on the plane is finite: the networks overflow everywhere on it.")
    low, high = float(known.min()), float(known.max())
    if higher_is_better:
        low = float(np.quantile(known, 1 - FAR))
    else:
        high = float(np.quantile(known, FAR))
    if low > 0 and not higher_is_better:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.floor(np.log10(high)) + 2)
        for series in reversed(_SERIES):
            grid = np.unique(np.outer(decades, series).round(12))
            kept = _around(grid, low, high)
            if 6 <= len(kept) <= _MOST:
                return kept
    step = max((high - low) / 14, 1e-9 * max(1.0, abs(high)))
    unit = 10.0 ** np.floor(np.log10(step))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= step * (1 - 1e-9))
    first, last = np.floor(low / step), max(np.ceil(high / step), np.floor(low / step) + 2)
    return np.arange(first, last + 1) * step


def _around(grid: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the levels of a grid from just below ``low`` to just above ``high``."""
    first = max(int(np.searchsorted(grid, low, side="right")) - 1, 0)
    last = int(np.searchsorted(grid, high))
    return grid[first : last + 1]


def is_constant(z: Any) -> bool:
    """Return whether all that is finite is one number, but for rounding."""
    known = np.asarray(z)[np.isfinite(z)]
    return bool(np.ptp(known) <= 1e-9 * max(1.0, float(np.abs(known).max())))
