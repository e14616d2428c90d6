"""Displays of loss and score along paths, one above the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

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
    new_axes,
    number,
    plain,
    tidy,
    title,
    widen,
)


class PathsDisplay(Display):
    """Show the loss along paths between two networks, and the score below it where there is one."""

    score_ax_: Any
    _heights: ClassVar[tuple[float, float]]

    def __init__(self, names: tuple[str, str], loss_name: str, score_name: str, n_panels: int):
        self.names = names
        self.loss_name = loss_name
        self.score_name = score_name
        self._n_panels = n_panels

    def _new_axes(self) -> Any:
        return new_axes(self._n_panels, 6.4, self._heights[self._n_panels - 1])

    def _draw(self, axes: list[Any]) -> None:
        axes = axes[: self._n_panels]
        self.score_ax_ = axes[1] if len(axes) > 1 else None
        self._draw_panels(axes)

    @abstractmethod
    def _draw_panels(self, axes: list[Any]) -> None:
        """Draw the loss on the first axes, and the score on the second one if there is one."""


def draw_paths(axes: Any, paths: Mapping[str, Profile], names: tuple[str, str], labels: tuple[str, str]) -> None:
    """Draw the loss along each path on the first axes, and the score on the second one if there is one."""
    for panel, what, label in zip(axes, ("loss", "score"), labels, strict=False):
        for k, (name, path) in enumerate(paths.items()):
            colour, line, marker = STROKES[k]
            values, every = getattr(path, what), max(1, round((len(path.t) - 1) / 12))
            panel.plot(
                path.t, finite(values), color=colour, linestyle=line, linewidth=2, marker=marker, markersize=5,
                markevery=every, label=name,
            )  # fmt: skip
            mark_missing(panel, path.t, values, what, colour)
        drawn = [finite(getattr(path, what))[[0, -1]] for path in paths.values()]
        for k, ends in enumerate(drawn):
            if not any(np.allclose(ends, known, rtol=1e-3, atol=1e-6, equal_nan=True) for known in drawn[:k]):
                panel.plot([0, 1], ends, color=GREY, linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        panel.set_ylabel(title(label))
        widen(panel, 0.1 * max(largest(getattr(path, what)) for path in paths.values()))
        tidy(panel, "y")
    ticks_between(axes[-1], names)


def draw_path(axes: Any, path: Profile, names: tuple[str, str], labels: tuple[str, str]) -> None:
    """Draw a single path as :func:`draw_paths` does, with its barrier above it and as an arrow."""
    for panel, what, label, colour in zip(axes, ("loss", "score"), labels, (BLUE, GREEN), strict=False):
        values = finite(getattr(path, what))
        panel.plot(path.t, values, color=colour, linewidth=2, marker="o", markersize=3.5)
        panel.plot([0, 1], values[[0, -1]], color=GREY, linestyle=":", linewidth=1.2)
        mark_missing(panel, path.t, values, what)
        panel.set_ylabel(title(label))
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


def check_paths(paths: Mapping[str, Any], purpose: str) -> None:
    """Raise ``ValueError`` where there is nothing to draw, or more than can be told apart."""
    if not paths:
        raise ValueError(f"{purpose} needs at least one profile; got none.")
    if len(paths) > len(STROKES):
        raise ValueError(
            f"{purpose} can tell {len(STROKES)} paths apart; got {len(paths)}: {[*paths]}. Draw the others elsewhere."
        )
