"""Fusions by their scores, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skfusion.plots._display import Display
from skfusion.plots._labels import height_of_rows, names_beside
from skfusion.plots._ranges import keep_within, range_of, within
from skfusion.plots._style import BEST_MEMBER, FUSION, legend_above, muted, say_empty, say_missing, tidy
from skfusion.plots._text import label_axes, title


@dataclass(eq=False, repr=False)
class LeaderboardDisplay(Display):
    """Show the score of each fusion with its interval, the best one on top.

    It is best made by :meth:`from_frame`. The axis ends where the range of the score does: an interval that passes 1 is
    drawn up to there, if the score is an accuracy.

    Parameters
    ----------
    names : sequence of str
        The fusions.
    mean : array-like of shape (n_fusions,)
        Mean score of each; those that are NaN or infinite stand at the bottom, without a score.
    low, high : array-like of shape (n_fusions,)
        Ends of the intervals; NaN where unknown.
    score_name : str, default="score"
        Label of the axis.
    reference : float or array-like of shape (n_fusions,), optional
        Score of the best single network: of all pools, or of the pool of each fusion, NaN where there is none. It is
        drawn as a line, or as a stroke in each row where the pools differ.
    tied : array-like of shape (n_fusions,), optional
        Which fusions the data do not tell from the best one; the others are drawn with open circles. A missing value is
        False.

    Attributes
    ----------
    {axes}

    Examples
    --------
    >>> from skfusion.plots import LeaderboardDisplay
    >>> display = LeaderboardDisplay(["soup", "ensemble"], [0.95, 0.97], [0.93, 0.96], [0.97, 0.98])
    >>> display.names  # from the best to the worst
    ['ensemble', 'soup']
    """

    names: Any
    mean: Any
    low: Any
    high: Any
    score_name: str = "score"
    reference: Any = None
    tied: Any = None

    def __post_init__(self) -> None:
        self._as_arrays("mean", "low", "high")
        order = np.argsort(np.where(np.isfinite(self.mean), -self.mean, np.inf), kind="stable")
        self.names = [str(self.names[i]) for i in order]
        self.mean, self.low, self.high = self.mean[order], self.low[order], self.high[order]
        self.reference = _one_if_equal(self.reference, order)
        if self.tied is not None:
            self.tied = np.array([not pd.isna(tied) and bool(tied) for tied in self.tied])[order]
        self._height = 1.3 + max(0.4, height_of_rows(self.names))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, score: str | None = None) -> LeaderboardDisplay:
        """Take the scores from the result of ``compare_fusions``.

        Parameters
        ----------
        frame : DataFrame
            What ``compare_fusions`` returned, or a frame with its columns.
        score : str, optional
            Which score; the first when omitted.

        {not_drawn}
            For the first score, the reference of each fusion is the mean over the folds of the best of its own
            members on the test rows, and ``tied`` is the column ``tied_with_best``.
        """
        means = (column.removesuffix("_mean") for column in frame.columns if column.endswith("_mean"))
        scores = [score for score in means if f"{score}_low" in frame.columns]
        if not scores:
            raise ValueError(
                "frame has no columns such as accuracy_mean and accuracy_low: give compare_fusions' result."
            )
        score = scores[0] if score is None else score
        if score not in scores:
            raise ValueError(f"There is no score {score!r} in the frame; it has {scores}.")
        mean, low, high = (frame[f"{score}_{what}"] for what in ("mean", "low", "high"))
        first = score == scores[0]
        reference = mean - frame["gain_over_best"] if first and "gain_over_best" in frame.columns else None
        tied = frame["tied_with_best"] if first and "tied_with_best" in frame.columns else None
        return cls(list(frame.index), mean, low, high, score, reference, tied)

    def _draw(self, axes: list[Any]) -> None:
        n, (ax, *_) = len(self.names), axes
        if not n:
            tidy(ax, "x")
            say_empty(ax, "no fusions")
            return
        left, right = self._limits()
        rows = np.arange(n)
        known = np.isfinite(self.mean)
        inside = known & (self.mean >= left)
        ends = (v[inside].clip(left, right) for v in (self.low, self.high))
        ax.hlines(rows[inside], *ends, color=FUSION, linewidth=2, alpha=0.55)
        apart = np.zeros(n, bool) if self.tied is None else ~self.tied
        filled = "mean, 95 % interval" if self.tied is None else "mean, 95 % interval: tied with the best"
        dots, ground = [], muted(ax, 0)
        for which, fill, label in ((inside & ~apart, FUSION, filled), (inside & apart, ground, "not tied with it")):
            if which.any():
                look = {"color": FUSION, "markerfacecolor": fill, "markersize": 7, "label": label}
                dots += ax.plot(self.mean[which], rows[which], "o", **look)
        say_missing(ax, rows, self.mean, "score", self.reference is not None)
        for row in rows[known & ~inside]:
            look = {"arrowprops": {"arrowstyle": "->", "color": FUSION}, "color": FUSION, "va": "center"}
            text = f"{self.mean[row]:.3g}"
            ax.annotate(text, (left, row), xytext=(26, 0), textcoords="offset points", **look)
        if self.reference is not None:
            dots += self._draw_reference(ax, rows, left)
        ax.set(xlim=(left, right), ylim=(n - 0.4, -0.6))
        keep_within(ax, "x", within(self.mean, range_of(self.score_name)), dots)
        tidy(ax, "x")
        names_beside(ax, self.names)
        label_axes(ax, f"{title(self.score_name)}, higher is better")
        legend_above(ax, 2, right=True)

    def _draw_reference(self, ax: Any, rows: np.ndarray, left: float) -> list[Any]:
        """Draw the best single network as a line through all rows, or that of each pool in the row of its fusion."""
        look = {"color": BEST_MEMBER, "label": "best single network, in hindsight"}
        if np.ndim(self.reference) == 0:
            return [ax.axvline(self.reference, linestyle="--", linewidth=1.5, **look)]
        shown = np.isfinite(self.reference) & (np.nan_to_num(self.reference, nan=left) >= left)
        return [ax.vlines(self.reference[shown], rows[shown] - 0.32, rows[shown] + 0.32, linewidth=2, **look)]

    def _limits(self) -> tuple[float, float]:
        """Return an axis that the scores near the best fill; a far worse one is marked at the edge."""
        known, singles = np.isfinite(self.mean), np.ravel([] if self.reference is None else self.reference)
        singles = singles[np.isfinite(singles)]
        if not known.any():
            return (singles.min() - 0.5, singles.max() + 0.5) if len(singles) else (0.0, 1.0)
        mean, high = self.mean[known], self.high[known]
        half = np.where(np.isfinite(high), high - mean, 0.0)
        span = 6 * max(float(np.median(mean.max() - mean)), float(np.median(half)), 1e-3)
        near = mean >= mean.max() - span
        low = float((mean - half)[near].min())
        low = max(low, mean.max() - 2 * span)
        right = float((mean + half)[near].max())
        near_singles = singles[singles >= mean.max() - 2 * span] if len(singles) > 1 else singles
        ends = [min([low, *near_singles]), max([right, *near_singles])]
        size = max(1.0, abs(ends[1]))
        margin = 0.02 * size if ends[1] - ends[0] <= 1e-9 * size else 0.04 * (ends[1] - ends[0])
        return ends[0] - margin, ends[1] + margin


def _one_if_equal(reference: Any, order: np.ndarray) -> Any:
    """Return the reference of each row in their new order; one number where all that are known are equal."""
    if reference is None or np.ndim(reference) == 0:
        return None if reference is None or not np.isfinite(reference) else float(reference)
    values = np.asarray(reference, np.float64)[order]
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    same = np.ptp(known) <= 1e-9 * max(1.0, float(np.abs(known).max()))  # of one pool, but for rounding
    return float(known[0]) if same else values
