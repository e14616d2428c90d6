"""What a soup is made of, and what it gains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from skfusion.evaluate import check_both, pool_on_data
from skfusion.plots._display import Display
from skfusion.plots._labels import height_of_rows, names_beside
from skfusion.plots._members import fitted
from skfusion.plots._ranges import keep_within, range_of, within
from skfusion.plots._style import (
    AS_TRAINED,
    BEST_MEMBER,
    MERGED,
    finite,
    legend_above,
    muted,
    say_empty,
    say_missing,
    small,
    tidy,
)
from skfusion.plots._text import label_axes, title
from skfusion.state import weighted_sum


@dataclass(eq=False, repr=False)
class SoupDisplay(Display):
    """Show the weight of each member in a soup, with the members' scores and that of the soup.

    It is best made by :meth:`from_estimator`. Of a greedy soup, the ingredients stand on top, in the order in which
    they joined, with the score of the soup after each.

    Parameters
    ----------
    names : sequence of str
        The members, in the order in which they are drawn.
    weights : array-like of shape (n_members,) or None
        Coefficient of each in the sum; None where the soup is no sum.
    scores : array-like of shape (n_members,)
        Score of each by itself, higher is better; NaN or infinite where there is none.
    soup_score : float
        The score of the soup.
    after : array-like of shape (n_members,), optional
        Score of the soup after each ingredient has joined; NaN for those that have not.
    score_name : str, default="score"
        Label of the axis.

    Attributes
    ----------
    gain : float
        The score of the soup, less that of the best member that has one; NaN where either is missing.
    ax_ : matplotlib Axes
        Where scores are drawn.
    weights_ax_ : matplotlib Axes or None
        Where weights are drawn.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from skfusion.plots import SoupDisplay
    >>> round(SoupDisplay(["a", "b"], [0.5, 0.5], [0.9, 0.88], 0.93).gain, 3)
    0.03
    """

    names: Any
    weights: Any
    scores: Any
    soup_score: float
    after: Any = None
    score_name: str = "score"

    def __post_init__(self) -> None:
        self.names = [str(name) for name in self.names]
        self._as_arrays("weights", "scores", "after")
        for what in ("weights", "scores", "after"):
            values = getattr(self, what)
            if values is not None and values.shape != (len(self.names),):
                raise ValueError(
                    f"{what} needs one number for each of the {len(self.names)} names; got {values.shape}."
                )
        self.soup_score = float(self.soup_score)
        known = self.scores[np.isfinite(self.scores)]
        self.gain = self.soup_score - float(known.max()) if known.size and np.isfinite(self.soup_score) else np.nan
        self._side_by_side = self.weights is not None
        self._n_panels = 2 if self._side_by_side else 1
        self._height = 1.6 + max(0.4, height_of_rows(self.names))
        longest = min(28, max((len(name) for name in self.names), default=0))
        self._width = 6.4 + 0.08 * max(0, longest - 8)

    @classmethod
    def from_estimator(cls, soup: Any, X: Any = None, y: Any = None, *, scoring: Any = None) -> SoupDisplay:
        """Take weights and scores from a fitted soup.

        Parameters
        ----------
        soup : fitted SoupClassifier, SoupRegressor, ReBasinMerger or weight averaging
            Has the members.
        X, y : array-like, optional
            Rows that no member was trained on, to judge members and soup on. When omitted, the scores on the held-out
            rows are taken, where the merger has scored its soup there, as ``Greedy`` does.
        scoring : str or callable, optional
            The score on X and y: that of the soup when omitted.

        {not_drawn}
        """
        fitted(soup, "merge_report_", "a fitted SoupClassifier, SoupRegressor, ReBasinMerger or weight averaging")
        check_both(X, y)
        pool, weights, joined = soup.pool_, soup.member_weights_, _joined(soup)
        scoring = getattr(soup, "scoring", None) if scoring is None else scoring
        after: dict[str, float] = {}
        if X is None:
            scores, soup_score = {m.name: m.score for m in pool}, soup.merge_report_.get("score")
            if soup_score is None or np.isnan([*scores.values()]).all():
                raise ValueError(
                    f"{soup._part('merge')!r} did not score its members and its soup on held-out rows: give X and y, "
                    "rows that no member was trained on."
                )
            default = "accuracy" if is_classifier(soup) else "R2"
            score_name = default if scoring is None else scoring if isinstance(scoring, str) else "score"
            score_name = f"held-out {score_name}"
        else:
            data = pool_on_data(pool, X, y, soup, scoring, "to judge the soup and its members")
            scores = dict(zip(pool.names, data.objective.scores(data.states), strict=True))
            soup_score = data.objective.score(data.runner.place(soup.state_))
            after = _after(soup, joined, data, soup_score)
            score_name = data.score_name

        def rank(name: str) -> tuple[float, str]:  # from the best score to those that are missing
            return (-scores[name] if np.isfinite(scores[name]) else np.inf), name

        order = [*dict.fromkeys(joined), *sorted(set(pool.names) - set(joined), key=rank)]
        return cls(
            order,
            None if weights is None else [weights.get(name, 0.0) for name in order],
            [scores[name] for name in order],
            soup_score,
            [after.get(name, np.nan) for name in order] if after else None,
            score_name,
        )

    def _draw(self, axes: list[Any]) -> None:
        n = len(self.names)
        self.weights_ax_ = axes[0] if len(axes) > 1 and self.weights is not None else None
        self.ax_ = axes[-1]
        if not n:
            for panel in axes:
                tidy(panel, "x")
                say_empty(panel, "no members")
            return
        if self.weights_ax_ is not None:
            self._plot_weights(self.weights_ax_)
        self._plot_scores(self.ax_)
        for panel in {self.ax_, self.weights_ax_ or self.ax_}:
            panel.set_ylim(n - 0.4, -0.6)
            tidy(panel, "x")
        names_beside(axes[0], self.names)
        if len(axes) > 1 and not axes[0].get_shared_y_axes().joined(axes[0], axes[-1]):
            names_beside(axes[-1], self.names)
        for panel in axes:
            panel.tick_params(axis="y", length=0)
            panel.locator_params(axis="x", nbins=4)

    def _plot_weights(self, ax: Any) -> None:
        rows = np.arange(len(self.names))
        ax.barh(rows, finite(self.weights), height=0.6, color=MERGED)
        say_missing(ax, rows, self.weights, "weight")
        for row, weight in ((r, w) for r, w in zip(rows, self.weights, strict=True) if np.isfinite(w)):
            at = (max(weight, 0.0), row)
            ax.annotate(f"{weight:.2g}", at, xytext=(4, 0), textcoords="offset points", va="center", **small(ax))
        ax.axvline(0, color=muted(ax), linewidth=0.8)
        ax.margins(x=0.16)
        label_axes(ax, "weight in the soup")

    def _plot_scores(self, ax: Any) -> None:
        rows = np.arange(len(self.names))
        scores = finite(self.scores)
        dots = ax.plot(scores, rows, "o", color=AS_TRAINED, markersize=7, label="member", zorder=4)
        if (best := scores == np.nanmax(scores, initial=-np.inf)).any():
            look = {"color": BEST_MEMBER, "markersize": 7, "label": "best member", "zorder": 5}
            dots += ax.plot(scores[best], rows[best], "o", **look)
        if self.after is not None and (joined := np.isfinite(self.after)).any():
            steps, at = self.after[joined], rows[joined]
            edges = np.repeat(np.concatenate([at - 0.5, at[-1:] + 0.5]), 2)[1:-1]
            look = {"color": MERGED, "linewidth": 2, "label": "soup once it has joined"}
            dots += ax.plot(np.repeat(steps, 2), edges, **look)
        known = bool(np.isfinite(self.soup_score))
        say_missing(ax, rows, self.scores, "score", known)
        label = f"soup: {self.soup_score:.3g}" if known else "soup: no score"
        level = self.soup_score if known else np.nan
        dots.append(ax.axvline(level, color=MERGED, linestyle="--", linewidth=1.8, label=label))
        gain = "unknown" if np.isnan(self.gain) else f"{self.gain:+.2g}"
        label_axes(ax, f"{title(self.score_name)}\n(gain over the best member: {gain})")
        ax.margins(x=0.08)
        keep_within(ax, "x", within([*scores, level], range_of(self.score_name)), dots)
        legend_above(ax, 1)


def _joined(soup: Any) -> list[str]:
    """Return the names of the ingredients of a greedy soup, in the order in which they joined; of others, none."""
    positions = soup.merge_report_.get("members")
    return [] if positions is None else [[*soup.member_weights_][k] for k in positions]


def _after(soup: Any, joined: list[str], data: Any, soup_score: float) -> dict[str, float]:
    """Return the score of the soup after each ingredient has joined for the first time."""
    if not joined:
        return {}
    states = dict(zip(soup.pool_.names, data.states, strict=True))
    if soup.alignments_ is not None:
        states |= {name: alignment.apply(states[name]) for name, alignment in soup.alignments_.items()}
    repair, members = soup._part("repair"), [states[n] for n in soup.member_weights_]
    scores: dict[str, float] = {}
    for have in accumulate([name] for name in joined):
        if have[-1] in scores:
            continue
        state = weighted_sum([states[n] for n in have], [1 / len(have)] * len(have))
        whole = have == joined
        scores[have[-1]] = soup_score if whole else data.objective.score(repair(state, members, data.objective))
    return scores
