"""What is drawn on a plane: filled contours of loss or score, networks and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skfusion.plots._style import ORANGE, colour_bar, legend_above, plain, write

_SERIES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
"""Round numbers of a decade, from coarse to fine."""
_MOST = 16
_FAR = 0.95
"""Share of the grid that the levels resolve; worse points are of one colour."""


def levels_of(z: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Return round levels for contours: spaced by factors for losses, which are skewed, and equally for scores."""
    known = z[np.isfinite(z)]
    if not known.size:
        raise ValueError("No value on the plane is finite: the networks overflow everywhere on it.")
    low, high = float(known.min()), float(known.max())
    if higher_is_better:
        low = float(np.quantile(known, 1 - _FAR))
    else:
        high = float(np.quantile(known, _FAR))
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


def draw_contours(ax: Any, x: Any, y: Any, z: Any, name: str, higher_is_better: bool = False) -> Any:
    """Draw filled contours with their colour bar, good places dark; return the contours."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import FuncFormatter

    levels = levels_of(np.asarray(z), higher_is_better)
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


def draw_points(
    ax: Any, points: Mapping[str, tuple[float, float]], off: Mapping[str, float], below: bool = False
) -> None:
    """Mark networks by their names; those off the plane are hollow, and the legend says how far they are from it."""
    taken: list[Any] = []
    for name, at in points.items():
        hollow = name in off
        label = f"{plain(name, 16)}: {off[name]:.3g} off the plane" if hollow else None
        inner, edge = ("none", "white") if hollow else ("white", "black")
        (drawn,) = ax.plot(
            *at, "o", color=inner, markeredgecolor=edge, markersize=8.5, markeredgewidth=1.6, zorder=5, label=label
        )
        if hollow:
            _outline(drawn, 3.4)
        write(ax, name, at, _corner(ax, at, taken, below))
    if ax.get_legend_handles_labels()[0]:
        legend_above(ax, 3)


def _corner(ax: Any, at: Any, taken: list[Any], below: bool) -> tuple[float, float]:
    """Return where the name of a point goes: towards the middle, or elsewhere where a name is near already."""
    x, y = ax.transAxes.inverted().transform(ax.transData.transform(at))
    near = sum(abs(x - p) < 0.16 and abs(y - q) < 0.08 for p, q in taken)
    taken.append((x, y))
    right = (x > 0.7) == (near % 4 in (1, 2))
    up = (y <= 0.12 if below else y <= 0.88) == (near % 4 < 2)
    return (9 if right else -9), (9 if up else -11)


def draw_path(ax: Any, path: Any, bends: np.ndarray, ends: Sequence[Any], off: float | None = None) -> None:
    """Draw a curve, and dashed what bends it."""
    if path is None:
        return
    label = "trained curve" if off is None else f"trained curve, up to {off:.3g} off the plane"
    (drawn,) = ax.plot(*path.T, color=ORANGE, linewidth=2.6, zorder=4, label=label)
    _outline(drawn, 4.6)
    ax.plot(*path[[0, -1]].T, color="black", linewidth=3.0, linestyle=":", zorder=3, label="straight line")
    ax.plot(*path[[0, -1]].T, color="white", linewidth=1.6, linestyle=":", zorder=3)
    if len(bends):
        corners = np.concatenate([path[:1], bends, path[-1:]])
        ax.plot(*corners.T, color="white", linewidth=1.2, linestyle=(0, (5, 3)), zorder=3)
        ax.plot(
            *bends.T, "D", color=ORANGE, markeredgecolor="black", markersize=7, zorder=5, linestyle="none",
            label="bend" if len(bends) == 1 else "bends",
        )  # fmt: skip
    for end in path[[0, -1]]:
        if not any(np.allclose(end, known) for known in ends):
            ax.plot(*end, "s", color=ORANGE, markeredgecolor="black", markersize=6, zorder=5)


def _outline(line: Any, width: float) -> None:
    from matplotlib.patheffects import Normal, Stroke

    line.set_path_effects([Stroke(linewidth=width, foreground="black"), Normal()])
