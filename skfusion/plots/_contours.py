"""Filled contours of loss or score on a plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion.plots._style import colour_bar, write

_SERIES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
"""Round numbers of a decade, from coarse to fine."""
_MOST = 16
_FAR = 0.95
"""Share of the grid that the levels resolve; worse points are of one colour."""


def levels_of(z: np.ndarray, logarithmic: bool, higher_is_better: bool = False) -> np.ndarray:
    """Return round levels for contours."""
    known = z[np.isfinite(z)]
    if not known.size:
        raise ValueError("No value on the plane is finite: the networks overflow everywhere on it.")
    low, high = float(known.min()), float(known.max())
    if higher_is_better:
        low = float(np.quantile(known, 1 - _FAR))
    else:
        high = float(np.quantile(known, _FAR))
    if logarithmic and low > 0:
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


def draw_contours(ax: Any, x: Any, y: Any, z: Any, name: str, higher_is_better: bool = False) -> Any:
    """Draw filled contours with their colour bar, good places dark; return the contours."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import FuncFormatter

    levels = levels_of(np.asarray(z), not higher_is_better, higher_is_better)
    beyond = (np.nanmin(z) < levels[0], np.nanmax(np.where(np.isfinite(z), z, np.nan)) > levels[-1])
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    colours = "viridis_r" if higher_is_better else "viridis"
    norm = BoundaryNorm(levels, 256, extend=extend)
    known = np.ma.masked_invalid(z)
    drawn = ax.contourf(x, y, known, levels=levels, norm=norm, cmap=colours, extend=extend)
    ax.contour(x, y, known, levels=levels, colors="white", linewidths=0.5, alpha=0.5)
    ax.set_facecolor("#BBBBBB")  # where the network overflows
    if not np.isfinite(z).all():
        write(ax, "grey: not finite", (x[-1], y[0]), (-4, 8))
    ticks = levels if len(levels) <= 10 else levels[::2]
    bar = colour_bar(ax, drawn, name, ticks=ticks, spacing="uniform")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    bar.ax.minorticks_off()
    return drawn
