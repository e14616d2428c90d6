"""How similar the members of a pool are: distances, barriers and CKA."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from skfusion.evaluate import WAYS, pool_on_data
from skfusion.geometry import LEAST_ROWS, alignments, geometry, gram
from skfusion.landscape import loss_along, segment
from skfusion.plots._heat_map import HeatMap
from skfusion.pool import ModelPool

_WEIGHTS = {
    "distance": ("Euclidean distance of weights", 0.0),
    "cosine": ("cosine of task vectors", 1.0),
    "sign_conflict": ("share of weights moved in opposite directions", 0.0),
}
_OF_POOL = {**_WEIGHTS, "barrier": ("barrier of the loss", 0.0), "cka": ("CKA of outputs", 1.0)}
_COLUMNS = {
    **_OF_POOL,
    "agreement": ("agreement of predictions", 1.0),
    "cka_mean": ("CKA, mean of the layers", 1.0),
    "cka_last": ("CKA of the last layer", 1.0),
    **{f"barrier_{how}": (f"barrier of the loss, {words}", 0.0) for how, words in WAYS.items()},
    **{f"fall_{how}": (f"fall of the score, {words}", 0.0) for how, words in WAYS.items()},
}
"""What each number is, and its value between a member and itself."""


class SimilarityDisplay(HeatMap):
    """Show how each member stands to each other one: a heat map with its numbers.

    It is best made by :meth:`from_pairs` or :meth:`from_pool`.

    Parameters
    ----------
    {matrix}
    label : str, default="similarity"
        What the numbers are, with their unit.

    Attributes
    ----------
    {image}

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

        {not_drawn}
        """
        if what == "barrier" and what not in frame and "barrier_line" in frame:
            what = "barrier_line"
        remedy = "the result of skfusion.diagnose.pairwise, or the pairs of a skfusion.diagnose.FusionReport"
        display = cls._of(frame, what, _COLUMNS, remedy)
        display.label = display.label if label is None else label
        return display

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
        {estimator}
        n_points : int, default=11
            Positions on each line at which the loss is taken, for ``"barrier"``.

        {not_drawn}

        Notes
        -----
        Barriers cost K (K - 1) / 2 pairs of ``n_points`` evaluations for K members, CKA costs K evaluations, and
        K Gram matrices of the rows.
        """
        if what not in _OF_POOL:
            raise ValueError(f"what must be one of {[*_OF_POOL]}; got {what!r}.")
        label, _ = _OF_POOL[what]
        if what in _WEIGHTS:
            if what != "distance" and pool.base is None:
                raise ValueError(
                    f"{what!r} is one of task vectors, from the common start of the members, and the pool has no base: "
                    "give what='distance', or name the start by pool.replace(base=state)."
                )
            pool.check_compatible()
            return cls(getattr(geometry(pool.states, pool.base), what).numpy(), pool.names, label)
        if X is None or y is None:
            raise ValueError(f"{what!r} is measured on data: give X and y, rows that no member was trained on.")
        data = pool_on_data(pool, X, y, estimator, purpose="to compare members")
        if what == "cka":
            if len(data.rows) < LEAST_ROWS:
                raise ValueError(f"CKA needs at least {LEAST_ROWS} rows; got {len(data.rows)}.")
            grams = [gram(out).cpu() for out in data.objective.outputs(data.states)]
            return cls(alignments(grams).numpy(), pool.names, label)
        barriers = np.zeros((len(pool), len(pool)))
        for i, j in combinations(range(len(pool)), 2):
            path = segment(data.states[i], data.states[j])
            barriers[i, j] = barriers[j, i] = loss_along(path, data.objective, n_points).barrier
        return cls(barriers, pool.names, f"{label}, {data.loss_name}")
