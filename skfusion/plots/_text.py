"""Names and numbers as they are drawn: shortened, apart from each other, and wrapped where there is little room."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from textwrap import fill
from typing import Any

import numpy as np

_EM = 0.55
"""Mean width of a letter, as a share of the size of its font."""


def plain(name: Any, most: int = 48, width: int | None = None) -> str:
    """Return a name as it is drawn: its dollar signs are no mathematics, and the middle of a long one is left out."""
    text = _cut(str(name), most)
    return (fill(text, width) if width else text).replace("$", r"\$")


def distinct(names: Sequence[Any], most: int = 48, width: int | None = None) -> list[str]:
    """Return names as they are drawn, of which no two that differ look the same: see :func:`plain`."""
    whole = [str(name) for name in names]
    same = len([*takewhile(lambda column: len({*column}) == 1, zip(*whole, strict=False))])  # what all begin with
    ways = (
        [_cut(name, most) for name in whole],
        [name if len(name) <= most else _cut(f"{name[: most // 4]}…{name[same:]}", most) for name in whole],
        [name if len(name) <= most else f"{_cut(name, most - 5)} ({k})" for k, name in enumerate(whole, 1)],
    )
    short = next(way for way in ways if way is ways[-1] or len({*way}) == len({*whole}))
    return [plain(name, most + 8, width) for name in short]


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


def letter(size: Any = "medium") -> float:
    """Return the width of a letter in inches."""
    from matplotlib.font_manager import FontProperties

    return _EM * FontProperties(size=size).get_size_in_points() / 72


def room(ax: Any, size: Any = "medium", upright: bool = False) -> int:
    """Return how many letters have room along the axes, or along their height."""
    box = ax.get_window_extent()
    inches = (box.height if upright else box.width) / ax.figure.dpi
    return max(8, int(inches / letter(size)))


def wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most so many letters; mathematics is left as it is."""
    if "$" in text.replace(r"\$", ""):
        return text
    return "\n".join(fill(line, width) for line in text.split("\n"))


def label_axes(ax: Any, x: str | None = None, y: str | None = None) -> None:
    """Write what the axes are, in several lines where they are short."""
    if x is not None:
        ax.set_xlabel(wrapped(x, 6 + room(ax, ax.xaxis.label.get_size())))
    if y is not None:
        ax.set_ylabel(wrapped(y, 6 + room(ax, ax.yaxis.label.get_size(), upright=True)))


def _cut(text: str, most: int) -> str:
    """Return a text without the middle of a long one."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"
