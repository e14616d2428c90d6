"""Displays of loss and score along paths, one above the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from skfusion.landscape import Profile
from skfusion.plots._display import Display
from skfusion.plots._ranges import keep_within, loss_range, range_of, within
from skfusion.plots._style import finite, largest, mark_missing, muted, strokes, tidy, widen
from skfusion.plots._text import distinct, label_axes, number, room, title


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
            label_axes(ax, y=title(label))

    @abstractmethod
    def _draw_panels(self, axes: list[Any]) -> None:
        """Draw the loss on the first axes, and the score on the second one if there is one."""


def draw_paths(
    axes: Any, paths: Mapping[str, Profile], names: tuple[str, str], score_name: str, labels: Iterable[str] = ()
) -> None:
    """Draw the loss along each path on the first axes, and the score on the second one if there is one.

    ``labels`` say what the paths are, where their names say more than that.
    """
    looks = strokes([*labels] or [*paths])
    for panel, what in zip(axes, ("loss", "score"), strict=False):
        lines = []
        for (name, path), (colour, line, marker) in zip(paths.items(), looks, strict=True):
            values, every = getattr(path, what), max(1, round((len(path.t) - 1) / 12))
            look = {"color": colour, "linestyle": line, "linewidth": 2, "marker": marker, "markersize": 5}
            lines += panel.plot(path.t, finite(values), markevery=every, label=name, **look)
            mark_missing(panel, path.t, values, what, colour)
        drawn = [finite(getattr(path, what))[[0, -1]] for path in paths.values()]
        for k, ends in enumerate(drawn):
            if not any(np.allclose(ends, known, rtol=1e-3, atol=1e-6, equal_nan=True) for known in drawn[:k]):
                panel.plot([0, 1], ends, color=muted(panel), linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        _finish(panel, what, np.concatenate([getattr(path, what) for path in paths.values()]), score_name, lines)
    ticks_between(axes[-1], names)


def draw_path(axes: Any, path: Profile, names: tuple[str, str], score_name: str, label: str) -> None:
    """Draw a single path as :func:`draw_paths` does, with its barrier above it and, if it can be seen, an arrow."""
    ((colour, _, _),) = strokes([label])
    for panel, what in zip(axes, ("loss", "score"), strict=False):
        values = finite(getattr(path, what))
        lines = panel.plot(path.t, values, color=colour, linewidth=2, marker="o", markersize=3.5)
        panel.plot([0, 1], values[[0, -1]], color=muted(panel), linestyle=":", linewidth=1.2)
        mark_missing(panel, path.t, getattr(path, what), what)
        _finish(panel, what, values, score_name, lines)
    ticks_between(axes[-1], names)
    axes[0].set_title(number(path.barrier, "barrier"), fontsize="medium", loc="left")
    if 0.02 * largest(finite(path.loss)) < path.barrier < np.inf:  # of less, the heads of the arrow would be all
        line = (1 - path.t) * path.loss[0] + path.t * path.loss[-1]
        i = int(np.argmax(path.loss - line))
        arrow = {"arrowstyle": "<->", "color": muted(axes[0], 0.8), "shrinkA": 0, "shrinkB": 0, "linewidth": 1.5}
        axes[0].annotate("", (path.t[i], path.loss[i]), xytext=(path.t[i], line[i]), arrowprops=arrow)


def _finish(panel: Any, what: str, values: np.ndarray, score_name: str, lines: Any) -> None:
    """Let the y-axis stay in the range of its numbers, and not blow up a difference of nothing."""
    widen(panel, 0.1 * largest(values))
    keep_within(panel, "y", loss_range(values) if what == "loss" else within(values, range_of(score_name)), lines)
    tidy(panel, "y")


def ticks_between(ax: Any, names: tuple[str, str]) -> None:
    """Let the x-axis begin and end with the names of two networks."""
    letters = room(ax)
    first, last = distinct(names, min(48, letters), max(6, min(16, letters // 4)))
    between = (0.25, 0.5, 0.75) if letters > 40 else (0.5,) if letters > 20 else ()
    ax.set_xticks([0, *between, 1], [first, *map(str, between), last])
