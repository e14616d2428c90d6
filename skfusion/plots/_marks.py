"""Networks and curves on a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skfusion.plots._style import ORANGE, legend_above, plain, write


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
