"""Names beside points and below axes, placed so that none covers another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from skfusion.plots._text import distinct, letter

AROUND = ((9, 9), (-9, 9), (9, -11), (-9, -11), (0, 14), (0, -15), (11, 0), (-11, 0), (9, 22), (-9, 22), (9, -24))
"""Where a name may stand beside its point, in points, from the best place to the last resort."""
_LINE = 2.2
"""Height of a line and what is left free above it, as a multiple of the width of a letter."""


def settle(ax: Any) -> None:
    """Lay out the figure of the axes, so that places in pixels are nearly those of the picture."""
    engine = ax.figure.get_layout_engine()
    for _ in range(1 if ax.get_aspect() == "auto" else 3):  # what has a fixed shape comes to its place step by step
        if engine is not None:
            engine.execute(ax.figure)
        ax.apply_aspect()


def write_beside(
    ax: Any,
    names: Sequence[str],
    at: np.ndarray,
    places: Iterable[Sequence[tuple[float, float]]],
    look: dict[str, Any],
    avoid: np.ndarray | None = None,
    radius: float = 5.0,
) -> list[int]:
    """Write names beside points, each at the first of its places that is free; return those that have no free one.

    What is written elsewhere on the axes is not covered, nor are these points, or those to ``avoid`` in
    their stead. A place beyond the axes is taken where they are so small that none is free in them.
    """
    settle(ax)
    marks = ax.transData.transform(np.reshape(at if avoid is None else avoid, (-1, 2)))
    r = radius * ax.figure.dpi / 72
    taken = [np.array([x - r, y - r, x + r, y + r]) for x, y in marks]
    taken += [_box(text) for text in ax.texts if text.get_text()]
    left = []
    for k, (name, choice) in enumerate(zip(names, places, strict=True)):
        written = ax.annotate(name, at[k], xytext=(0, 0), textcoords="offset points", annotation_clip=False, **look)
        boxes = []
        for shift in choice:
            _put(written, shift)
            boxes.append(_box(written))
        free = [not any(_meet(box, other) for other in taken) for box in boxes]
        inside = [_within(box, ax.bbox.extents) for box in boxes]
        best = [j for j, ok in enumerate(free) if ok and inside[j]]
        if not best and len(names) <= 4:
            best = [j for j, ok in enumerate(free) if ok and _within(boxes[j], ax.figure.bbox.extents)]
        if best:
            _put(written, choice[best[0]])
            taken.append(boxes[best[0]])
        else:
            written.remove()
            left.append(k)
    return left


def _put(written: Any, shift: tuple[float, float]) -> None:
    written.set_position(shift)
    written.set(ha="left" if shift[0] > 0 else "right" if shift[0] < 0 else "center", va="center")


def _box(text: Any) -> np.ndarray:
    """Return the corners of what is written, with a little room around it, in pixels."""
    return np.add(text.get_window_extent().extents, (-2, -1, 2, 1))


def _meet(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[:2] < b[2:]).all() and (b[:2] < a[2:]).all())


def _within(box: np.ndarray, frame: np.ndarray) -> bool:
    return bool((box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all())


def names_below(ax: Any, at: Sequence[float], names: Sequence[Any], most: int = 48) -> None:
    """Write names below the x-axis: wrapped where there is room, else turned, and only some where they would touch."""
    settle(ax)
    x = ax.transData.transform(np.column_stack([at, np.zeros(len(at))]))[:, 0] / ax.figure.dpi
    space = float(np.diff(np.sort(x)).min()) if len(x) > 1 else ax.bbox.width / ax.figure.dpi  # inches
    one = letter(ax.xaxis.label.get_size()) * 1.15
    width = int(space / one) - 1
    longest = max(len(part) for name in names for part in re.split(r"(?<=[\s-])", str(name)))  # that is not parted
    flat = distinct(names, most, width) if min(longest, most // 2) <= width else []
    if flat and max(label.count("\n") for label in flat) <= 2:
        ax.set_xticks(at, flat)
        return
    steep, every = space < 1.5 * _LINE * one, 1
    height = max(0.5 * ax.bbox.height, 0.25 * ax.figure.bbox.height) / ax.figure.dpi  # inches
    turned = distinct(names, int(min(most, max(8, height / one / (1 if steep else 0.71)))))
    if steep:
        every = max(1, int(np.ceil(_LINE * one / space))) if space > 0 else len(turned)
    look = {"rotation": 90 if steep else 45, "ha": "center" if steep else "right", "va": "top"}
    ax.set_xticks(at[::every], turned[::every], rotation_mode="default" if steep else "anchor", **look)


def size_for_names(names: Sequence[Any], height: float) -> tuple[float, float]:
    """Return the width and height in inches of a new figure with names below it, as :func:`names_below` writes them."""
    longest = min(48, max((len(str(name)) for name in names), default=0))
    turned = len(names) * longest > 60
    width = max(6.4, 1.2 + 0.3 * len(names)) + (0.04 * longest if turned and len(names) < 20 else 0.0)
    return width, height + (0.05 * longest if turned else 0.0)


def names_beside(ax: Any, names: Sequence[Any], width: int = 28) -> None:
    """Write a name beside each row, in two lines where it is long, and only some where they would touch."""
    one, box = letter(ax.yaxis.label.get_size()) * ax.figure.dpi, ax.get_window_extent()  # pixels
    width = min(width, max(8, int(max(0.6 * box.width, 0.35 * ax.figure.bbox.width) / one)))
    lines = box.height / max(len(names), 1) / one / _LINE
    written = distinct(names, 2 * width - 4, width) if lines >= 2 else distinct(names, width)
    every = max(1, int(np.ceil(0.8 / lines)))
    ax.set_yticks(range(0, len(names), every), written[::every])
    ax.tick_params(axis="y", length=0)


def height_of_rows(names: Sequence[Any], width: int = 28) -> float:
    """Return how many inches rows with names take."""
    return len(names) * (0.42 if max((len(str(name)) for name in names), default=0) > width else 0.34)
