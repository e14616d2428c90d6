"""How members stand to each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from skfusion.evaluate import WAYS, PoolOnData, pool_on_data
from skfusion.geometry import LEAST_ROWS, alignments, geometry, gram
from skfusion.landscape import loss_along, segment
from skfusion.plots._style import colour_bar, new_axes, plain
from skfusion.pool import ModelPool

_WEIGHTS = {
    "distance": "Euclidean distance of weights",
    "cosine": "cosine of task vectors",
    "sign_conflict": "share of weights moved in opposite directions",
}
_DATA = {"barrier": "barrier of the loss", "cka": "CKA of outputs"}
_DIAGONAL = {"distance": 0.0, "cosine": 1.0, "sign_conflict": 0.0, "barrier": 0.0, "cka": 1.0}
_REPORT = {
    "agreement": "agreement of predictions",
    "cka_mean": "CKA, mean of the layers",
    "cka_last": "CKA of the last layer",
    **{
        f"{what}_{how}": f"{text}, {words}"
        for what, text in (("barrier", _DATA["barrier"]), ("fall", "fall of the score"))
        for how, words in WAYS.items()
    },
}
"""Columns of a diagnosis that have a label, and a diagonal: 0 of barriers and falls, and 1 of the others."""


class SimilarityDisplay:
    """Show how each member stands to each other one: a heat map with its numbers.

    It is best made by :meth:`from_pairs` or :meth:`from_pool`.

    Parameters
    ----------
    matrix : array-like of shape (n_members, n_members)
        Symmetric; NaN where unknown, which is drawn in grey, as is what is infinite.
    names : sequence of str
        The members.
    label : str, default="similarity"
        What the numbers are, with their unit.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The heat map.
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    References
    ----------
    Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, arXiv:1905.00414 (linear
    CKA). Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021, arXiv:2010.15327
    (its estimator). Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020,
    arXiv:1912.05671 (barriers).

    Examples
    --------
    >>> import pandas as pd
    >>> from skfusion.plots import SimilarityDisplay
    >>> index = pd.MultiIndex.from_tuples([("a", "b"), ("a", "c"), ("b", "c")])
    >>> pairs = pd.DataFrame({"barrier": [0.1, 0.2, 0.3]}, index=index)
    >>> SimilarityDisplay.from_pairs(pairs, "barrier").matrix.tolist()
    [[0.0, 0.1, 0.2], [0.1, 0.0, 0.3], [0.2, 0.3, 0.0]]
    """

    def __init__(self, matrix: Any, names: Any, label: str = "similarity"):
        self.matrix = np.asarray(matrix, np.float64)
        self.names = [str(name) for name in names]
        if self.matrix.shape != (len(self.names), len(self.names)):
            raise ValueError(
                f"matrix must have a row and a column for each of the {len(self.names)} names; got shape "
                f"{self.matrix.shape}."
            )
        if not np.allclose(self.matrix, self.matrix.T, equal_nan=True):
            raise ValueError("matrix must be symmetric: what stands between two members has no direction.")
        self.label = label

    @classmethod
    def from_pairs(cls, frame: pd.DataFrame, what: str = "barrier", label: str | None = None) -> SimilarityDisplay:
        """Take one column of what ``skfusion.diagnose.pairwise`` returned, or of the pairs of a diagnosis.

        Parameters
        ----------
        frame : DataFrame
            One row a pair, by the names of its members. Pairs that are missing are drawn in grey.
        what : str, default="barrier"
            The column. The pairs of a diagnosis have barriers of several lines: there, ``"barrier"`` stands for
            ``"barrier_line"``, that with recalibrated BatchNorm statistics.
        label : str, optional
            What the numbers are, with their unit; a description of the column when omitted.

        Returns
        -------
        SimilarityDisplay
            Not drawn yet.
        """
        numbers = [*frame.select_dtypes("number").columns]
        if what == "barrier" and what not in numbers and "barrier_line" in numbers:
            what = "barrier_line"
        if what not in numbers or frame.index.nlevels != 2:
            raise ValueError(
                f"frame needs the two members of a pair as its index and the column {what!r} of numbers; it has "
                f"{numbers} and an index of {frame.index.nlevels} levels. Give the result of "
                "skfusion.diagnose.pairwise, or the pairs of a skfusion.diagnose.FusionReport."
            )
        names = [*dict.fromkeys([*frame.index.get_level_values(0), *frame.index.get_level_values(1)])]
        matrix = np.full((len(names), len(names)), np.nan)
        of_report = float(not what.startswith(("barrier", "fall"))) if what in _REPORT else np.nan
        np.fill_diagonal(matrix, _DIAGONAL.get(what, of_report))
        for (a, b), value in frame[what].items():
            i, j = names.index(a), names.index(b)
            matrix[i, j] = matrix[j, i] = value
        return cls(
            matrix,
            names,
            {**_WEIGHTS, **_DATA, **_REPORT}.get(what, what.replace("_", " ")) if label is None else label,
        )

    @classmethod
    def from_pool(
        cls,
        pool: ModelPool,
        X: Any = None,
        y: Any = None,
        what: str = "barrier",
        *,
        estimator: Any = None,
        n_points: int = 11,
    ) -> SimilarityDisplay:
        """Compare each pair of members of a pool.

        Parameters
        ----------
        pool : ModelPool
            Members of one architecture.
        X, y : array-like, optional
            Rows that no member was trained on; ``"barrier"`` and ``"cka"`` need them.
        what : {"barrier", "cka", "distance", "cosine", "sign_conflict"}, default="barrier"
            The loss barrier on the line between two members; the linear CKA of their outputs for the rows, at most 1,
            and about 0 for unrelated ones; the Euclidean distance of their weights; the cosine of their task vectors,
            and the share of weights that they moved in opposite directions, which both need the base of the pool.
        estimator : estimator of this library or skorch net, optional
            The architecture; the pool's own net when omitted. A pool that comes from a file has none.
        n_points : int, default=11
            Positions on each line at which the loss is taken, for ``"barrier"``.

        Returns
        -------
        SimilarityDisplay
            Not drawn yet.

        Notes
        -----
        Barriers cost K (K - 1) / 2 pairs of ``n_points`` evaluations for K members, CKA costs K evaluations, and
        K Gram matrices of the rows.
        """
        if what not in _DIAGONAL:
            raise ValueError(f"what must be one of {[*_DIAGONAL]}; got {what!r}.")
        if what in _WEIGHTS:
            if what != "distance" and pool.base is None:
                raise ValueError(
                    f"{what!r} is one of task vectors, from the common start of the members, and the pool has no base: "
                    "give what='distance', or name the start by pool.replace(base=state)."
                )
            pool.check_compatible()
            return cls(getattr(geometry(pool.states, pool.base), what).numpy(), pool.names, _WEIGHTS[what])
        if X is None or y is None:
            raise ValueError(f"{what!r} is measured on data: give X and y, rows that no member was trained on.")
        data = pool_on_data(pool, X, y, estimator, purpose="to compare members")
        if what == "cka":
            if len(data.rows) < LEAST_ROWS:
                raise ValueError(f"CKA needs at least {LEAST_ROWS} rows; got {len(data.rows)}.")
            grams = [gram(out).cpu() for out in data.judge.outputs(data.states)]
            return cls(alignments(grams).numpy(), pool.names, _DATA[what])
        return cls(_barriers(data, n_points), pool.names, f"{_DATA[what]}, {data.loss_name}")

    def plot(self, ax: Any = None) -> SimilarityDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; on a new figure when omitted.

        Returns
        -------
        SimilarityDisplay
            This object, with ``image_``, ``ax_`` and ``figure_``.
        """
        n = len(self.names)
        ax = new_axes(1, 6.4, 4.9)[0] if ax is None else ax
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
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _limits(self) -> tuple[float, float]:
        """Return the ends of the colours."""
        known = self.matrix[np.isfinite(self.matrix)]
        if not known.size:
            raise ValueError(f"All numbers are NaN or infinite, so there is nothing to draw: {self.label}.")
        low, high = float(known.min()), float(known.max())
        return (low, high) if high > low else (low, low + 1.0)


def _barriers(data: PoolOnData, n_points: int) -> np.ndarray:
    n = len(data.states)
    found = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        path = segment(data.states[i], data.states[j])
        found[i, j] = found[j, i] = loss_along(path, data.objective, n_points).barrier
    return found
