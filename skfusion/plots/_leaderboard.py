"""Fusions by their scores, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skfusion.plots._display import Display
from skfusion.plots._style import BLUE, LEGEND, ORANGE, plain, say_missing, tidy, title


@dataclass(eq=False, repr=False)
class LeaderboardDisplay(Display):
    """Show the score of each fusion with its interval, the best one on top.

    It is best made by :meth:`from_frame`.

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
    reference : float, optional
        Where to draw a line: the score of the best single network.

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
    reference: float | None = None

    def __post_init__(self) -> None:
        self._as_arrays("mean", "low", "high")
        order = np.argsort(np.where(np.isfinite(self.mean), -self.mean, np.inf), kind="stable")
        self.names = [str(self.names[i]) for i in order]
        self.mean, self.low, self.high = self.mean[order], self.low[order], self.high[order]
        if self.reference is not None:
            self.reference = float(self.reference) if np.isfinite(self.reference) else None
        self._height = 1.3 + 0.36 * len(self.names)

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
            For the first score, the reference is the mean over the folds of the best single member on
            the test rows, of that fusion whose members are best.
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
        reference = None
        if score == scores[0] and "gain_over_best" in frame.columns:
            best = mean - frame["gain_over_best"]
            reference = best[np.isfinite(best)].max()
        return cls(list(frame.index), mean, low, high, score, reference)

    def _draw(self, axes: list[Any]) -> None:
        n, (ax, *_) = len(self.names), axes
        left, right = self._limits()
        rows = np.arange(n)
        known = np.isfinite(self.mean)
        inside = known & (self.mean >= left)
        ends = (v[inside].clip(left, right) for v in (self.low, self.high))
        ax.hlines(rows[inside], *ends, color=BLUE, linewidth=2, alpha=0.55)
        ax.plot(self.mean[inside], rows[inside], "o", color=BLUE, markersize=7, label="mean, 95 % interval")
        say_missing(ax, rows, self.mean, "score", self.reference is not None)
        for row in rows[known & ~inside]:
            look = {"arrowprops": {"arrowstyle": "->", "color": BLUE}, "color": BLUE, "va": "center"}
            text = f"{self.mean[row]:.3g}"
            ax.annotate(text, (left, row), xytext=(26, 0), textcoords="offset points", **look)
        if self.reference is not None:
            label = "best single network, in hindsight"
            ax.axvline(self.reference, color=ORANGE, linestyle="--", linewidth=1.5, label=label)
        ax.set(xlim=(left, right), ylim=(n - 0.4, -0.6), xlabel=f"{title(self.score_name)}, higher is better")
        ax.set_yticks(rows, [plain(name, 52, 28) for name in self.names])
        ax.tick_params(axis="y", length=0)
        tidy(ax, "x")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, **LEGEND)

    def _limits(self) -> tuple[float, float]:
        """Return an axis that the scores near the best fill; a far worse one is marked at the edge."""
        known = np.isfinite(self.mean)
        if not known.any():
            return (0.0, 1.0) if self.reference is None else (self.reference - 0.5, self.reference + 0.5)
        mean, high = self.mean[known], self.high[known]
        half = np.where(np.isfinite(high), high - mean, 0.0)
        span = 6 * max(float(np.median(mean.max() - mean)), float(np.median(half)), 1e-3)
        near = mean >= mean.max() - span
        low = float((mean - half)[near].min())
        low = max(low, mean.max() - 2 * span)
        right = float((mean + half)[near].max())
        ends = [low, right] if self.reference is None else [min(low, self.reference), max(right, self.reference)]
        margin = 0.04 * max(ends[1] - ends[0], 1e-6)
        return ends[0] - margin, ends[1] + margin
