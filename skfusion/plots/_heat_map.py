"""Displays of numbers between each two members, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from skfusion.plots._display import Display
from skfusion.plots._style import colour_bar, plain


@dataclass(eq=False, repr=False)
class HeatMap(Display):
    """Show a symmetric matrix of numbers between members by colours, with the numbers in the cells."""

    matrix: Any
    names: Any
    label: str = "similarity"

    def __post_init__(self) -> None:
        self._height = 4.9
        self._as_arrays("matrix")
        self.names = [str(name) for name in self.names]
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
        ax.set_facecolor("#BBBBBB")
        long = max(map(len, self.names)) > 6
        names = [plain(name, 24) for name in self.names]
        ax.set_xticks(range(n), names, rotation=35 if long else 0, ha="right" if long else "center")
        ax.set_yticks(range(n), names)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        size = float(np.clip(72 / n, 5, 10))
        for i, j in np.ndindex(n, n):
            value = self.matrix[i, j]
            if not np.isnan(value):
                dark = np.isfinite(value) and value < (low + high) / 2
                colour = "white" if dark else "black"  # the map goes from dark to bright
                ax.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=size, color=colour)
        colour_bar(ax, self.image_, self.label)

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
