"""Colours, axes to draw on, and how names and missing numbers are drawn."""

from __future__ import annotations

from contextlib import suppress
from textwrap import fill
from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
STROKES = ((VERMILION, "--", "s"), (BLUE, "-", "o"), (GREEN, "-.", "^"), (ORANGE, ":", "D"), ("#CC79A7", "-", "v"))
"""Colour, line and marker of each of several lines, so that they also differ without colour."""
SMALL = {"fontsize": "small", "color": GREY}
LEGEND = {"fontsize": "small", "labelcolor": GREY, "frameon": False}


def plain(name: Any, most: int = 36, width: int | None = None) -> str:
    """Return a name as it is drawn: its dollar signs are no mathematics, and the middle of a long one is left out."""
    text = str(name)
    if len(text) > most:
        tail = (most - 1) // 2
        text = f"{text[: most - 1 - tail]}…{text[-tail:]}"
    return (fill(text, width) if width else text).replace("$", r"\$")


def title(text: str, most: int = 60) -> str:
    """Return what numbers are as it is drawn: mathematics between dollar signs where it is valid, else as a name."""
    from matplotlib.mathtext import MathTextParser

    with suppress(ValueError):
        MathTextParser("path").parse(text)
        if "$" in text:
            return text
    return plain(text, most, 30 if len(text) > most else None)


def number(value: float, what: str) -> str:
    """Return what a number is and its value, or that it is unknown, which is not that there is none."""
    return f"{what} unknown" if np.isnan(value) else f"{what} {value:.3g}"


def finite(values: np.ndarray) -> np.ndarray:
    """Return numbers with NaN, which is not drawn, for those that are infinite."""
    return np.where(np.isfinite(values), values, np.nan)


def largest(values: np.ndarray) -> float:
    """Return the largest size among numbers that are finite; 0 where none is."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def mark_missing(ax: Any, t: np.ndarray, values: np.ndarray, what: str, colour: str = GREY) -> None:
    """Put a cross on the x-axis at each position without a finite number, and say what is missing."""
    if not np.isfinite(values).any() and not ax.dataLim.height > 0:
        ax.set_yticks([])  # which would stand for nothing
    if (bad := ~np.isfinite(values)).any():
        where = ax.get_xaxis_transform()
        ax.plot(t[bad], np.zeros(bad.sum()), "x", color=colour, transform=where, clip_on=False, zorder=5)
        ax.annotate(f"× no {what}", (0.99, 0.05), xycoords="axes fraction", ha="right", zorder=6, **SMALL)


def say_missing(ax: Any, rows: np.ndarray, values: np.ndarray, what: str, others: bool = False) -> None:
    """Write at the left of each row without a finite number that it has none; ``others`` are drawn beside them."""
    if not (np.isfinite(values).any() or others):
        ax.set_xticks([])  # which would stand for nothing
    for row, value in zip(rows, values, strict=True):
        if not np.isfinite(value):
            text, where = f"no {what}" if np.isnan(value) else f"no {what} ({value})", ax.get_yaxis_transform()
            ax.annotate(text, (0.02, row), xycoords=where, va="center", fontstyle="italic", **SMALL)


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


def colour_bar(ax: Any, drawn: Any, name: str, **options: Any) -> Any:
    """Explain colours beside the axes, as high as they are."""
    return ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), label=title(name), **options)


def legend_above(ax: Any, columns: int, handles: Any = None) -> None:
    """Explain lines and markers above the axes, where nothing is covered, in fewer columns where they are narrow."""
    room = ax.get_window_extent().width / ax.figure.dpi  # inches
    columns = max(1, min(columns, int(room / 1.5)))
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(handles=handles, ncols=columns, handlelength=2.6, **place, **LEGEND)


def write(ax: Any, text: str, at: Any, shift: tuple[float, float], dark: bool = True) -> None:
    """Write a text beside a point, readable on any ground."""
    from matplotlib.patheffects import withStroke

    ink, halo = ("white", "black") if dark else ("black", "white")
    look = {"fontsize": "small", "color": ink, "path_effects": [withStroke(linewidth=2.2, foreground=halo)]}
    place = {"xytext": shift, "textcoords": "offset points", "ha": "left" if shift[0] > 0 else "right"}
    ax.annotate(plain(text, 20), at, va="center", annotation_clip=False, zorder=6, **place, **look)
