"""Displays of loss and score along paths, one above the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from skfusion.landscape import Profile
from skfusion.plots._display import Display
from skfusion.plots._style import (
    BLUE,
    GREEN,
    GREY,
    STROKES,
    VERMILION,
    finite,
    largest,
    mark_missing,
    number,
    plain,
    tidy,
    title,
    widen,
)


class PathsDisplay(Display):
    """Show the loss along paths between two networks, and the score below it where there is one."""

    names: tuple[str, str]
    loss_name: str
    score_name: str

    def _fit(self, has_score: bool, heights: tuple[float, float]) -> None:
        """Let new axes have room for the loss or, higher, for the score too."""
        self._n_panels = 2 if has_score else 1
        self._height = heights[has_score]

    def _draw(self, axes: list[Any]) -> None:
        axes = axes[: self._n_panels]
        self.score_ax_ = axes[1] if len(axes) > 1 else None
        self._draw_panels(axes)
        for ax, label in zip(axes, (self.loss_name, self.score_name), strict=False):
            ax.set_ylabel(title(label))

    @abstractmethod
    def _draw_panels(self, axes: list[Any]) -> None:
        """Draw the loss on the first axes, and the score on the second one if there is one."""


def draw_paths(axes: Any, paths: Mapping[str, Profile], names: tuple[str, str]) -> None:
    """Draw the loss along each path on the first axes, and the score on the second one if there is one."""
    for panel, what in zip(axes, ("loss", "score"), strict=False):
        for (name, path), (colour, line, marker) in zip(paths.items(), STROKES, strict=False):
            values, every = getattr(path, what), max(1, round((len(path.t) - 1) / 12))
            look = {"color": colour, "linestyle": line, "linewidth": 2, "marker": marker, "markersize": 5}
            panel.plot(path.t, finite(values), markevery=every, label=name, **look)
            mark_missing(panel, path.t, values, what, colour)
        drawn = [finite(getattr(path, what))[[0, -1]] for path in paths.values()]
        for k, ends in enumerate(drawn):
            if not any(np.allclose(ends, known, rtol=1e-3, atol=1e-6, equal_nan=True) for known in drawn[:k]):
                panel.plot([0, 1], ends, color=GREY, linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        widen(panel, 0.1 * max(largest(getattr(path, what)) for path in paths.values()))
        tidy(panel, "y")
    ticks_between(axes[-1], names)


def draw_path(axes: Any, path: Profile, names: tuple[str, str]) -> None:
    """Draw a single path as :func:`draw_paths` does, with its barrier above it and as an arrow."""
    for panel, what, colour in zip(axes, ("loss", "score"), (BLUE, GREEN), strict=False):
        values = finite(getattr(path, what))
        panel.plot(path.t, values, color=colour, linewidth=2, marker="o", markersize=3.5)
        panel.plot([0, 1], values[[0, -1]], color=GREY, linestyle=":", linewidth=1.2)
        mark_missing(panel, path.t, values, what)
        widen(panel, 0.1 * largest(values))
        tidy(panel, "y")
    ticks_between(axes[-1], names)
    axes[0].set_title(number(path.barrier, "barrier"), fontsize="medium", color=VERMILION, loc="left")
    if 0 < path.barrier < np.inf:
        line = (1 - path.t) * path.loss[0] + path.t * path.loss[-1]
        i = int(np.argmax(path.loss - line))
        arrow = {"arrowstyle": "<->", "color": VERMILION, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.5}
        axes[0].annotate("", (path.t[i], path.loss[i]), xytext=(path.t[i], line[i]), arrowprops=arrow)


def ticks_between(ax: Any, names: tuple[str, str]) -> None:
    """Let the x-axis begin and end with the names of two networks."""
    first, last = (plain(name, 28, 14) for name in names)
    wide = ax.get_window_extent().width / ax.figure.dpi > 3.2  # inches
    between = (0.25, 0.5, 0.75) if wide else (0.5,)
    ax.set_xticks([0, *between, 1], [first, *map(str, between), last])
