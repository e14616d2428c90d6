"""How unlike the mistakes of members are, and what averaging gains by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skfusion.evaluate import diversity
from skfusion.plots._similarity import SimilarityDisplay
from skfusion.plots._style import GREY, plain

_LABELS = {
    "disagreement": "share of rows with unlike labels",
    "double_fault": "share of rows that both get wrong",
    "error_correlation": "correlation of errors",
    "q_statistic": "Yule's Q of being right",
    "squared_difference": "squared difference of predictions",
}
_DIAGONAL = {"disagreement": 0.0, "error_correlation": 1.0, "squared_difference": 0.0}


class DiversityDisplay:
    """Show how unlike the mistakes of each two members are: a heat map, with what averaging gains above it.

    It is best made by :meth:`from_estimator`, :meth:`from_pool` or :meth:`from_frame`.

    Parameters
    ----------
    matrix : array-like of shape (n_members, n_members)
        Symmetric; NaN where unknown, which is drawn in grey.
    names : sequence of str
        The members.
    label : str, default="diversity"
        What the numbers are, with their unit.
    decomposition : dict, optional
        ``"loss_name"``, ``"mean_loss"``, ``"ambiguity"`` and ``"ensemble_loss"``, as in the ``attrs`` of what
        :func:`skfusion.diagnose.diversity` returns; not written when omitted.

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

    def __init__(self, matrix: Any, names: Any, label: str = "diversity", decomposition: dict[str, Any] | None = None):
        drawn = SimilarityDisplay(matrix, names, label)  # which checks them
        self.matrix, self.names, self.label = drawn.matrix, drawn.names, label
        self.decomposition = decomposition

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, what: str | None = None) -> DiversityDisplay:
        """Take one column of what ``skfusion.diagnose.diversity`` returned.

        Parameters
        ----------
        frame : DataFrame
            One row a pair, by the names of its members.
        what : str, optional
            The column; the first when omitted.

        Returns
        -------
        DiversityDisplay
            Not drawn yet.
        """
        what = frame.columns[0] if what is None and len(frame.columns) else what
        if what not in frame.columns or frame.index.nlevels != 2:
            raise ValueError(
                f"frame needs the two members of a pair as its index and the column {what!r}; it has {[*frame.columns]}"
                f" and an index of {frame.index.nlevels} levels. Give the result of skfusion.diagnose.diversity."
            )
        drawn = SimilarityDisplay.from_pairs(frame, what)
        np.fill_diagonal(drawn.matrix, _DIAGONAL.get(what, np.nan))
        known = frame.attrs if "ambiguity" in frame.attrs else None
        return cls(drawn.matrix, drawn.names, _LABELS.get(what, drawn.label), known)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, what: str | None = None, *, sample_weight: Any = None
    ) -> DiversityDisplay:
        """Compare each two members of a fitted ensemble.

        Parameters
        ----------
        estimator : fitted estimator
            With ``predict_members``, such as an ensemble or a curve, or a pipeline that ends in one.
        X, y : array-like
            Rows that no member was trained on; a warning says where one was.
        what : str, optional
            A column of :func:`skfusion.diagnose.diversity`: ``"disagreement"`` when omitted, or
            ``"error_correlation"`` where values are predicted.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows.

        Returns
        -------
        DiversityDisplay
            Not drawn yet.
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
        X, y : array-like
            Rows that no member was trained on; a warning says where one was.
        what : str, optional
            A column of :func:`skfusion.diagnose.diversity`: ``"disagreement"`` when omitted, or
            ``"error_correlation"`` where values are predicted.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows.
        estimator : estimator of this library or skorch net, optional
            How to run the members; the nets that they carry when omitted.

        Returns
        -------
        DiversityDisplay
            Not drawn yet.
        """
        return cls.from_frame(diversity(pool, X, y, sample_weight=sample_weight, estimator=estimator), what)

    def plot(self, ax: Any = None) -> DiversityDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; on a new figure when omitted.

        Returns
        -------
        DiversityDisplay
            This object, with ``image_``, ``ax_`` and ``figure_``.
        """
        drawn = SimilarityDisplay(self.matrix, self.names, self.label).plot(ax)
        if (known := self.decomposition) is not None:
            loss = plain(known["loss_name"], 24)
            drawn.ax_.set_title(
                f"{loss}: members' mean {known['mean_loss']:.3g} - ambiguity {known['ambiguity']:.3g}"
                f" = average {known['ensemble_loss']:.3g}",
                fontsize="small",
                color=GREY,
                loc="left",
            )
        self.image_, self.ax_, self.figure_ = drawn.image_, drawn.ax_, drawn.figure_
        return self
