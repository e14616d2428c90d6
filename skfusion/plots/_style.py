"""Colours, and axes to draw on."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


def new_axes(n: int, width: float, height: float) -> Any:
    """Return ``n`` axes, one above the other, of a new figure.

    Parameters
    ----------
    n : int
        Axes.
    width, height : float
        Of the figure, in inches.

    Returns
    -------
    ndarray of Axes, shape (n,)
        They share their x-axis.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "skfusion[plots]".') from error
    _, axes = plt.subplots(n, 1, figsize=(width, height), sharex=True, squeeze=False, layout="constrained")
    return axes[:, 0]


def tidy(ax: Any, grid: str) -> None:
    """Leave the two axis lines that carry a scale, and a faint grid along ``grid``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)


def widen(ax: Any, span: float) -> None:
    """Let the y-axis span at least that much, so that a difference of nothing does not fill it."""
    low, high = ax.get_ylim()
    extra = max(0.0, span - (high - low)) / 2
    ax.set_ylim(low - extra, high + extra)
