"""Pictures of the ideas of the catalogue's chapters, each for light and for dark pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

INK = {"light": "#333333", "dark": "#d8d8d8"}
FAINT = {"light": "#9a9a9a", "dark": "#7f7f7f"}
BLUE, ORANGE, GREEN, RED = "#3d85c6", "#e08a1e", "#3a9d5d", "#d1495b"


def draw(folder: Path) -> None:
    """Draw all pictures into a folder, as ``<chapter>-light.svg`` and ``<chapter>-dark.svg``."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": "skfusion", "font.size": 9, "font.family": "sans-serif"}
    for shade in INK:
        with matplotlib.rc_context({**settings, "text.color": INK[shade]}):
            for name, idea in IDEAS.items():
                figure = Figure(figsize=(4.8, 2.2))
                axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
                axes.axis("off")
                idea(axes, INK[shade], FAINT[shade])
                figure.savefig(folder / f"{name}-{shade}.svg", transparent=True, metadata={"Date": None})


def mode_connectivity(axes: Any, ink: str, faint: str) -> None:
    """Draw two minima, the straight line over the ridge between them, and a curve around it."""
    x, y = np.meshgrid(np.linspace(-2.9, 2.9, 180), np.linspace(-0.75, 1.6, 90))
    axes.contour(x, y, _arch(x, y), levels=[0.03, 0.12, 0.3, 0.55, 0.9], colors=faint, linewidths=0.7)
    angle = np.linspace(np.pi, 0, 60)
    a, b = ends = np.array([[-1.6, 0.0], [1.6, 0.0]])
    axes.plot(1.6 * np.cos(angle), np.sin(angle), color=GREEN, lw=2.2)
    axes.plot(*ends.T, color=RED, lw=1.6, ls="--")
    axes.plot(*ends.T, "o", color=BLUE, ms=8)
    axes.text(0, 1.5, "a curve of low loss", color=GREEN, ha="center")
    axes.text(0, -0.27, "a barrier on the line", color=RED, ha="center", va="top")
    for end, name in ((a, "network 1"), (b, "network 2")):
        axes.text(end[0], end[1] - 0.62, name, color=ink, ha="center")
    axes.set_xlim(-2.9, 2.9)
    axes.set_ylim(-0.75, 1.7)


def _arch(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a loss that is 0 along an arch with its feet at -1.6 and 1.6."""
    return np.asarray(((x / 1.6) ** 2 + np.maximum(y, 0) ** 2 - 1) ** 2 + 6 * np.minimum(y, 0) ** 2)


def alignment(axes: Any, ink: str, faint: str) -> None:
    """Draw the hidden units of two networks, which do the same work in another order, and their matches."""
    colors = [BLUE, ORANGE, GREEN, RED]
    order = [2, 0, 3, 1]
    height = np.arange(4)[::-1]
    for unit, color in enumerate(colors):
        place = order.index(unit)
        axes.plot([0, 2], [height[unit], height[place]], color=color, lw=1.4, ls="--")
        axes.annotate("", (4.6, height[unit]), (3.5, height[unit]), arrowprops={"arrowstyle": "->", "color": color})
        for x, y in ((0, height[unit]), (2, height[place]), (3.3, height[unit]), (4.8, height[unit])):
            axes.plot(x, y, "o", color=color, ms=11)
    for x, name in ((0, "network 1"), (2, "network 2"), (3.3, "2, aligned"), (4.8, "mean of both")):
        axes.text(x, 3.7, name, color=ink, ha="center")
    axes.text(2.65, 1.5, "→", color=faint, ha="center", va="center", fontsize=16)
    axes.set_xlim(-0.7, 5.6)
    axes.set_ylim(-0.5, 4.2)


def weight_averaging(axes: Any, ink: str, faint: str) -> None:
    """Draw the weights that a training visits on the slopes of a valley, and their mean at its floor."""
    x, y = np.meshgrid(np.linspace(-3.2, 3.2, 120), np.linspace(-1.45, 1.45, 60))
    axes.contour(x, y, (x / 2) ** 2 + (1.3 * y) ** 2, levels=[0.08, 0.4, 1.0, 1.9], colors=faint, linewidths=0.7)
    angle = np.array([2.9, 0.35, 3.7, 5.4, 1.2, 4.3, 2.0])
    visited = np.stack([1.7 * np.cos(angle), 0.75 * np.sin(angle)], 1)
    visited -= visited.mean(0) - [0.08, 0.04]
    axes.plot(*visited.T, color=BLUE, lw=0.9)
    axes.plot(*visited.T, "o", color=BLUE, ms=6)
    axes.plot(*visited.mean(0), "*", color=ORANGE, ms=16)
    arrow = {"arrowstyle": "->", "color": ORANGE, "shrinkB": 8}
    axes.annotate("their mean", visited.mean(0), (1.9, -1.1), color=ORANGE, arrowprops=arrow)
    axes.text(-3.1, 1.3, "weights that a training visits", color=BLUE)


def ensembles(axes: Any, ink: str, faint: str) -> None:
    """Draw curves that agree where there are data and differ elsewhere, and their mean."""
    rng = np.random.default_rng(5)
    x = np.linspace(-3, 3, 160)
    far = np.clip(np.abs(x) - 1.4, 0, None)
    members = [np.sin(1.4 * x) + far * rng.normal(0, 0.55) + 0.1 * rng.normal() for _ in range(7)]
    for member in members:
        axes.plot(x, member, color=BLUE, lw=0.9, alpha=0.75)
    axes.plot(x, np.mean(members, 0), color=ORANGE, lw=2.4)
    at = rng.uniform(-1.4, 1.4, 22)
    axes.plot(at, np.sin(1.4 * at) + 0.13 * rng.normal(size=22), ".", color=ink, ms=5)
    axes.text(-0.1, 1.55, "the data", color=ink, ha="center")
    axes.text(3.1, np.mean(members, 0)[-1], "the mean", color=ORANGE, va="center")
    axes.text(3.1, max(m[-1] for m in members), "members", color=BLUE, va="center")
    axes.set_xlim(-3.1, 4.2)


IDEAS: dict[str, Callable[[Any, str, str], None]] = {
    "mode_connectivity": mode_connectivity,
    "alignment": alignment,
    "weight_averaging": weight_averaging,
    "ensembles": ensembles,
}
