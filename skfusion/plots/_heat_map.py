"""Displays of numbers between each two members, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from skfusion.plots._display import Display
from skfusion.plots._labels import names_below, names_beside, settle
from skfusion.plots._style import UNKNOWN, colour_bar, small
from skfusion.plots._text import letter, room, wrapped


@dataclass(eq=False, repr=False)
class HeatMap(Display):
    """Show numbers between each two members by colours, with the numbers in the cells where they have room."""

    matrix: Any
    names: Any
    label: str = "similarity"

    def __post_init__(self) -> None:
        self._as_arrays("matrix")
        self.names = [str(name) for name in self.names]
        n, longest = len(self.names), min(48, max((len(name) for name in self.names), default=0))
        side = max(3.9, min(8.0, 0.5 * n), 0.22 * n)  # inches
        beside = 0.08 * longest
        self._width, self._height = max(6.4, side + beside + 1.1), side + 0.5 + max(0.5, 0.7 * beside)
        if self.matrix.shape != (len(self.names), len(self.names)):
            raise ValueError(
                f"matrix must have a row and a column for each of the {len(self.names)} names; got shape "
                f"{self.matrix.shape}."
            )
        if not np.allclose(self.matrix, self.matrix.T, equal_nan=True):
            raise ValueError("matrix must be symmetric: what stands between two members has no direction.")

    def _draw(self, axes: list[Any]) -> None:
        n, (ax, *_) = len(self.names), axes
        low, high = self._limits()
        masked = np.ma.masked_invalid(self.matrix)
        self.image_ = ax.imshow(masked, cmap="cividis", vmin=low, vmax=high, aspect="equal")
        ax.set_facecolor(UNKNOWN)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        one_value = {"ticks": [low], "format": "%.4g"} if np.ptp(self.matrix[np.isfinite(self.matrix)]) == 0 else {}
        colour_bar(ax, self.image_, self.label, **one_value)
        names_beside(ax, self.names, 48)
        names_below(ax, range(n), self.names)
        ax.tick_params(length=0)
        if remark := self._remark():
            ax.set_title(wrapped(remark, room(ax, "small")), loc="left", **small(ax))
        settle(ax)
        self._write_numbers(ax, (low + high) / 2)

    def _write_numbers(self, ax: Any, middle: float) -> None:
        """Write each number in its cell, if all have room."""
        n = len(self.names)
        cell = ax.get_window_extent().width / n / ax.figure.dpi  # inches
        written = {(i, j): f"{v:.3g}" for (i, j), v in np.ndenumerate(self.matrix) if not np.isnan(v)}
        size = min(10.0, 10 * 0.92 * cell / (max(map(len, written.values())) * 1.15 * letter(10)))
        if size < 6:
            return
        for (i, j), text in written.items():
            dark = np.isfinite(self.matrix[i, j]) and self.matrix[i, j] < middle
            colour = "white" if dark else "black"  # the map goes from dark to bright
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=colour, in_layout=False)

    def _remark(self) -> str:
        """Return what is written above: what is absent."""
        above = self.matrix[np.triu_indices(len(self.names), 1)]
        absent = [(np.isnan(above).sum(), "without a number"), (np.isinf(above).sum(), "infinite")]
        words = [f"{n} pair{'s' * bool(n > 1)} {what}" for n, what in absent if n]
        if not np.isfinite(np.diag(self.matrix)).all():
            words.append("a member and itself")
        return f"grey: {', '.join(words)}" if words else ""

    def _limits(self) -> tuple[float, float]:
        """Return the ends of the colours."""
        known = self.matrix[np.isfinite(self.matrix)]
        if not known.size:
            raise ValueError(f"All numbers are NaN or infinite, so there is nothing to draw: {self.label}.")
        low, high = float(known.min()), float(known.max())
        return (low, high) if high > low else (low, low + 1.0)

    @classmethod
    def _of(cls, frame: pd.DataFrame, what: Any, columns: Mapping[str, tuple[str, float]], remedy: str) -> Self:
        """Take one column of a table of pairs; ``columns`` have a label, and a number between a member and itself."""
        numbers = [*frame.select_dtypes("number").columns]
        if what not in numbers or frame.index.nlevels != 2:
            raise ValueError(
                f"frame needs the two members of a pair as its index and the column {what!r} of numbers; it has "
                f"{numbers} and an index of {frame.index.nlevels} levels. Give {remedy}."
            )
        label, diagonal = columns.get(what, (what.replace("_", " "), np.nan))
        names = [*dict.fromkeys([*frame.index.get_level_values(0), *frame.index.get_level_values(1)])]
        matrix = np.full((len(names), len(names)), np.nan)
        np.fill_diagonal(matrix, diagonal)
        for (a, b), value in frame[what].items():
            i, j = names.index(a), names.index(b)
            matrix[i, j] = matrix[j, i] = value  # NaN stays where a pair is missing
        return cls(matrix, names, label)
