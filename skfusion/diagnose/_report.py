"""The result of a diagnosis, for programs, terminals, notebooks and browsers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from skfusion.diagnose.judge._notes import Recommendation
from skfusion.landscape import Profile


@dataclass(frozen=True, eq=False, repr=False)
class FusionReport:
    """The result of :func:`diagnose`.

    It prints as text, shows as tables in notebooks and, by ``rich.print``, in terminals, and :meth:`to_html` makes a
    page of it.

    Parameters
    ----------
    pairs : DataFrame
        One row a pair of members, by their names. ``distance`` is that of their weights; ``cosine`` and
        ``sign_conflict`` compare their task vectors, where the pool has a base. ``reason`` names the first tensor by
        which two differ that cannot be averaged, as they have different architectures or see different columns. With
        data, there are also the barrier of the loss as ``barrier_*``, that of the negative score as ``fall_*``, and the
        score of the middle as ``midpoint_*``, each of the line by itself (``raw``), with recalibrated BatchNorm
        statistics (``line``), and of the line after units are matched (``weights``, ``activations``), also with Repair
        (``weights_repair``, ``activations_repair``); then ``cka_mean`` over the layers, ``cka_last`` of the last one,
        and ``agreement``: the share of rows with the same prediction, or the correlation of values.
    members : DataFrame
        One row a member: ``n_parameters``, the ``norm`` of its weights and, with data, ``loss``, ``score`` and
        ``score_recalibrated``, which is that with BatchNorm statistics estimated on the rows that those of averages are
        estimated on; the same without BatchNorm, and NaN without data.
    pool : Series
        Scores of what all members give together: ``best_member``, ``mean_member``, the uniform ``soup`` with
        recalibrated statistics, ``soup_raw`` without, ``soup_weights`` and so on after alignment, and ``ensemble``, the
        averaged predictions. Empty without data.
    similarity : dict of Series
        CKA of the representations by layer, for each pair of one architecture.
    basins : list of tuple of str
        Members that are joined by lines on which the score does not fall by more than the tolerance. Empty without
        data.
    advice : DataFrame
        One row a way to fuse: ``verdict`` (yes, no or maybe), its price in ``networks`` at prediction and in further
        ``training``, and ``why``.
    recommendation : Recommendation
        Two sentences: ``one_network`` and ``best_score``.
    notes : list of str
        What else one should know: first whether members were trained on the rows, then which networks are equal, on
        which rows statistics were estimated, and more.
    profiles : dict of dict of Profile
        Loss and score along the line of each pair, by the ways to average as in ``pairs``.
    tolerance : float
        A fall of the score up to this counted as none.
    n_rows : int
        Rows that were judged on.
    loss_name, score_name : str
        What loss and score are.
    """

    pairs: pd.DataFrame
    members: pd.DataFrame
    pool: pd.Series
    similarity: dict[tuple[str, str], pd.Series]
    basins: list[tuple[str, ...]]
    advice: pd.DataFrame
    recommendation: Recommendation
    notes: list[str] = field(default_factory=list)
    profiles: dict[tuple[str, str], dict[str, Profile]] = field(default_factory=dict)
    tolerance: float = 0.02
    n_rows: int = 0
    loss_name: str = "loss"
    score_name: str = "score"

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{way}: {verdict}" for way, verdict in self.advice["verdict"].items())
        return f"FusionReport({len(self.members)} members; {verdicts})"

    def __str__(self) -> str:
        lines = [f"{way} ({row['verdict']}): {row['why']}" for way, row in self.advice.iterrows()]
        return "\n".join([*self.recommendation, "", *lines, *([""] if self.notes else []), *self.notes])

    def __rich__(self) -> Any:
        from skfusion.diagnose.render._terminal import tables

        return tables(self)

    def _repr_html_(self) -> str:
        from skfusion.diagnose.render._page import fragment

        return fragment(self)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as a page that loads nothing from elsewhere.

        Parameters
        ----------
        path : path-like, optional
            A file to write it to as well.

        Returns
        -------
        str
            HTML.
        """
        from skfusion.diagnose.render._page import page

        text = page(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text
