"""How different the mistakes of members are, and what averaging gains by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skfusion.evaluate import diversity
from skfusion.plots._heat_map import HeatMap
from skfusion.plots._text import plain

_COLUMNS = {
    "disagreement": ("share of rows with unlike labels", 0.0),
    "double_fault": ("share of rows that both get wrong", np.nan),
    "error_correlation": ("correlation of errors", 1.0),
    "q_statistic": ("Yule's Q of being right", np.nan),
    "squared_difference": ("squared difference of predictions", 0.0),
}
"""What each number is, and its value between a member and itself, where that says anything."""


@dataclass(eq=False, repr=False)
class DiversityDisplay(HeatMap):
    """Show how different the mistakes of each two members are: a heat map, with what averaging gains above it.

    It is best made by :meth:`from_estimator`, :meth:`from_pool` or :meth:`from_frame`.

    Parameters
    ----------
    {matrix}
    label : str, default="diversity"
        What the numbers are, with their unit.
    decomposition : dict, optional
        ``"loss_name"``, ``"mean_loss"``, ``"ambiguity"`` and ``"ensemble_loss"``, as in the ``attrs`` of what
        :func:`skfusion.diagnose.diversity` returns; not written when omitted.

    Attributes
    ----------
    {image}

    References
    ----------
    Kuncheva and Whitaker, "Measures of diversity in classifier ensembles and their relationship with the ensemble
    accuracy", Machine Learning 51, 2003, doi:10.1023/A:1022859003006.

    Examples
    --------
    >>> import pandas as pd
    >>> from skfusion.plots import DiversityDisplay
    >>> index = pd.MultiIndex.from_tuples([("a", "b"), ("a", "c"), ("b", "c")])
    >>> pairs = pd.DataFrame({"disagreement": [0.1, 0.2, 0.3]}, index=index)
    >>> DiversityDisplay.from_frame(pairs).matrix.tolist()
    [[0.0, 0.1, 0.2], [0.1, 0.0, 0.3], [0.2, 0.3, 0.0]]
    """

    label: str = "diversity"
    decomposition: dict[str, Any] | None = None

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, what: str | None = None) -> DiversityDisplay:
        """Take one column of what ``skfusion.diagnose.diversity`` returned.

        Parameters
        ----------
        frame : DataFrame
            One row a pair, by the names of its members.
        what : str, optional
            The column; the first when omitted.

        {not_drawn}
        """
        what = frame.columns[0] if what is None and len(frame.columns) else what
        display = cls._of(frame, what, _COLUMNS, "the result of skfusion.diagnose.diversity")
        display.decomposition = frame.attrs if "ambiguity" in frame.attrs else None
        return display

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, what: str | None = None, *, sample_weight: Any = None
    ) -> DiversityDisplay:
        """Compare each two members of a fitted ensemble.

        Parameters
        ----------
        estimator : fitted estimator
            With ``predict_members``, such as an ensemble or a curve, or a pipeline that ends in one.
        {measured}

        {not_drawn}
        """
        return cls.from_frame(diversity(estimator, X, y, sample_weight=sample_weight), what)

    @classmethod
    def from_pool(
        cls, pool: Any, X: Any, y: Any, what: str | None = None, *, sample_weight: Any = None, estimator: Any = None
    ) -> DiversityDisplay:
        """Compare each two members of a pool.

        Parameters
        ----------
        pool : ModelPool
            Two members or more, of any architectures.
        {measured}
        estimator : estimator of this library or skorch net, optional
            How to run the members; the nets that they carry when omitted.

        {not_drawn}
        """
        return cls.from_frame(diversity(pool, X, y, sample_weight=sample_weight, estimator=estimator), what)

    def _remark(self) -> str:
        """Return what averaging gains, and what is absent."""
        absent, known = super()._remark(), self.decomposition
        if known is None:
            return absent
        loss = plain(known["loss_name"], 24)
        mean, ambiguity, average = (known[what] for what in ("mean_loss", "ambiguity", "ensemble_loss"))
        text = f"{loss}: members' mean {mean:.3g} - ambiguity {ambiguity:.3g} = average {average:.3g}"
        return f"{text}\n{absent}" if absent else text
