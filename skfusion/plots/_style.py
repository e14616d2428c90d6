"""Colours, one for each idea, and axes to draw on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skfusion.plots._text import room, title, wrapped

AS_TRAINED = "#D55E00"
"""Networks as their training left them, and the straight line between such ones."""
ALIGNED = "#0072B2"
"""The same after their units were matched."""
MERGED = "#009E73"
"""One network made of several, and what goes into it."""
ENSEMBLE = "#56B4E9"
"""The mean prediction of several networks."""
BEST_MEMBER = "#E69F00"
"""The best single network."""
CURVE = "#CC79A7"
"""A path or subspace that a connector has found or trained."""
FUSION = ALIGNED
"""A fusion of any kind, where fusions are compared."""
UNKNOWN = "#BBBBBB"
"""The ground where a number is not finite."""

STROKES = (
    (AS_TRAINED, "--", "s"),
    (ALIGNED, "-", "o"),
    (MERGED, "-.", "^"),
    (BEST_MEMBER, ":", "D"),
    (CURVE, "-", "v"),
)
"""Colour, line and marker of each of several lines, so that they also differ without colour."""
_KNOWN = {
    "as trained": STROKES[0],
    "straight line": STROKES[0],
    "units matched": STROKES[1],
    "trained curve": STROKES[4],
}
"""Those of lines that are the same idea everywhere."""


def strokes(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return colour, line and marker of each of several lines, the same for the same label in every display."""
    taken = {_KNOWN[label][0] for label in labels if label in _KNOWN}
    free = iter([stroke for stroke in STROKES if stroke[0] not in taken])
    return [_KNOWN[label] if label in _KNOWN else next(free) for label in labels]


def ink(ax: Any) -> Any:
    """Return the colour that the axes write in, which a dark style sheet makes bright."""
    return ax.xaxis.label.get_color()


def muted(ax: Any, share: float = 0.6) -> str:
    """Return a colour between the ground of the axes and what they write in."""
    from matplotlib.colors import to_hex, to_rgb

    ground, text = np.array(to_rgb(ax.get_facecolor())), np.array(to_rgb(ink(ax)))
    return to_hex(ground + share * (text - ground))


def small(ax: Any) -> dict[str, Any]:
    """Return the look of small remarks."""
    return {"fontsize": "small", "color": muted(ax)}


def beside(ax: Any, dark: bool = True) -> dict[str, Any]:
    """Return the look of names that can be read on any ground, or on that of the axes."""
    from matplotlib.patheffects import withStroke

    text, halo = ("white", "black") if dark else (ink(ax), ax.get_facecolor())
    return {
        "fontsize": "small",
        "color": text,
        "zorder": 6,
        "path_effects": [withStroke(linewidth=2.2, foreground=halo)],
    }


def finite(values: np.ndarray) -> np.ndarray:
    """Return numbers with NaN, which is not drawn, for those that are infinite."""
    return np.where(np.isfinite(values), values, np.nan)


def largest(values: np.ndarray) -> float:
    """Return the largest size among numbers that are finite; 0 where none is."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def mark_missing(ax: Any, t: np.ndarray, values: np.ndarray, what: str, colour: Any = None) -> None:
    """Put a cross on the x-axis at each position without a finite number, and say what is missing."""
    if not np.isfinite(values).any() and not ax.dataLim.height > 0:
        ax.set_yticks([])  # which would stand for nothing
    if (bad := ~np.isfinite(values)).any():
        where, colour = ax.get_xaxis_transform(), muted(ax) if colour is None else colour
        ax.plot(t[bad], np.zeros(bad.sum()), "x", color=colour, transform=where, clip_on=False, zorder=5)
        remark = f"× no {what}"
        if not any(remark in text.get_text() for text in ax.texts):
            note(ax, remark)


def note(ax: Any, text: str) -> None:
    """Write a remark in the lower right corner of the axes, above those that stand there, readable on any ground."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground=ax.get_facecolor())]
    look = {"ha": "right", "va": "bottom", "zorder": 6, "path_effects": halo, **small(ax)}
    before = [remark for remark in ax.texts if remark.get_gid() == "note"]
    for remark in before:
        text = f"{text}\n{remark.get_text()}"
        remark.remove()
    ax.annotate(text, (0.99, 0.02), xycoords="axes fraction", gid="note", **look)


def explain(ax: Any, text: str, marker: str = "none", **look: Any) -> None:
    """Let the legend explain something that is no line or marker of its own."""
    ax.plot([], [], marker=marker, linestyle="none", label=text, **look)


def say_missing(ax: Any, rows: np.ndarray, values: np.ndarray, what: str, others: bool = False) -> None:
    """Write at the left of each row without a finite number that it has none; ``others`` are drawn beside them."""
    if not (np.isfinite(values).any() or others):
        ax.set_xticks([])  # which would stand for nothing
    for row, value in zip(rows, values, strict=True):
        if not np.isfinite(value):
            text, where = f"no {what}" if np.isnan(value) else f"no {what} ({value})", ax.get_yaxis_transform()
            ax.annotate(text, (0.02, row), xycoords=where, va="center", fontstyle="italic", **small(ax))


def say_empty(ax: Any, text: str) -> None:
    """Say in the middle of axes that there is nothing to show, in place of ticks that would stand for nothing."""
    ax.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", **small(ax))
    ax.set(xticks=[], yticks=[])


def tidy(ax: Any, grid: str) -> None:
    """Leave the two axis lines that carry a scale, and a faint grid along ``grid``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=False)
    ax.grid(axis=grid, color=muted(ax, 0.133), linewidth=0.8)
    ax.set_axisbelow(True)


def widen(ax: Any, span: float) -> None:
    """Let the y-axis span at least that much, so that a difference of nothing does not fill it."""
    low, high = ax.get_ylim()
    extra = max(0.0, span - (high - low)) / 2
    ax.set_ylim(low - extra, high + extra)


def colour_bar(ax: Any, drawn: Any, name: str, **options: Any) -> Any:
    """Explain colours beside the axes, as high as they are."""
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), **options)
    bar.set_label(wrapped(title(name), 6 + room(ax, upright=True)))
    return bar


def legend_above(ax: Any, columns: int, handles: Any = None, right: bool = False) -> None:
    """Explain lines and markers above the axes, where nothing is covered, in as many columns as have room there.

    Where the axes were given and nothing makes room above them, the legend stands inside of them.
    """
    if handles is None and not ax.get_legend_handles_labels()[0]:
        return
    figure, box, side = ax.figure, ax.get_window_extent(), 1 if right else 0
    alone = len(figure.axes) == 1
    width = box.width if not alone else box.x1 if right else figure.bbox.width - box.x0
    place = {"loc": "lower right" if right else "lower left", "bbox_to_anchor": (side, 1), "borderaxespad": 0.2}
    look = {"fontsize": "small", "labelcolor": muted(ax), "frameon": False, "handlelength": 2.6}
    for n in range(columns, 0, -1):
        legend = ax.legend(handles=handles, ncols=n, **place, **look)
        if legend.get_window_extent().width <= width:
            break
    else:
        letters = max(10, int(room(ax, "small") * width / box.width) - 7)  # beside the line that is explained
        for text in legend.get_texts():
            text.set_text(wrapped(text.get_text(), letters))
    above = [other.get_window_extent().y0 for other in figure.axes if other.get_window_extent().y0 > box.y1]
    if figure.get_layout_engine() is None and legend.get_window_extent().y1 > min([figure.bbox.height, *above]):
        legend.set_bbox_to_anchor((0, 0, 1, 1), ax.transAxes)
        legend.set_loc("best")
        legend.set_frame_on(True)
        for text in legend.get_texts():
            text.set_size("x-small")
