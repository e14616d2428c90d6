"""Networks as minima of the loss, and the lowest passes between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion.landscape import Edge, MinimaGraph, Profile, loss_along
from skfusion.plots._display import Display
from skfusion.plots._members import curve_of, fitted
from skfusion.plots._style import BLUE, SMALL, VERMILION, finite, largest, number, plain, tidy, title, widen


@dataclass(eq=False, repr=False)
class SpanningTreeDisplay(Display):
    """Show networks as minima of the loss, and the loss along the paths of the spanning tree that joins them.

    It is best made by :meth:`from_graph` or :meth:`from_estimator`. The higher a network or a point of a path, the
    higher its loss; the highest point of a path is the pass between two networks. No way between any two networks has
    a lower highest pass than the one along the tree, among all paths that were tried.

    Parameters
    ----------
    profiles : dict of Profile
        The loss along each path of the tree, by the names of the networks at its ends.
    loss_name : str, default="loss"
        Label of the axis.

    Attributes
    ----------
    names : list of str
        The networks from left to right.
    saddles : dict of float
        The highest loss on each path.
    {axes}

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.landscape import Profile
    >>> from skfusion.plots import SpanningTreeDisplay
    >>> t = np.array([0.0, 0.5, 1.0])
    >>> profiles = {("a", "b"): Profile(t, np.array([0.1, 0.4, 0.2]), t)}
    >>> SpanningTreeDisplay(profiles).saddles
    {('a', 'b'): 0.4}
    """

    profiles: Mapping[Edge, Profile]
    loss_name: str = "loss"

    def __post_init__(self) -> None:
        self.profiles = dict(self.profiles)
        if not self.profiles:
            raise ValueError("A SpanningTreeDisplay needs at least one path; got none.")
        self._height = 4.2
        self.saddles = {edge: float(profile.loss.max()) for edge, profile in self.profiles.items()}
        self.names = from_left_to_right(self.saddles)

    @classmethod
    def from_graph(cls, graph: MinimaGraph, loss_name: str = "loss") -> SpanningTreeDisplay:
        """Take the spanning tree that ``skfusion.diagnose.minima_of`` or ``skfusion.landscape.join_minima`` found.

        Parameters
        ----------
        graph : MinimaGraph
            Has the paths; those that are not of the tree are not drawn.
        loss_name : str, default="loss"
            Label of the axis.

        {not_drawn}
        """
        return cls({edge: graph.profiles[edge] for edge in graph.tree}, loss_name)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, n_points: int = 25, scoring: Any = None
    ) -> SpanningTreeDisplay:
        """Evaluate the curves of a fitted estimator, which are those of the spanning tree of its members.

        Parameters
        ----------
        {curve_estimator}
        {rows}
        {line}
        {own_scoring}

        {not_drawn}
        """
        profiles, names = {}, "loss"
        for edge in fitted(estimator, "curves_", "a fitted CurveClassifier or CurveRegressor"):
            _, data, curve = curve_of(estimator, X, y, edge, scoring)
            profiles[edge], names = loss_along(curve, data.objective, n_points), data.loss_name
        return cls(profiles, names)

    def _draw(self, axes: list[Any]) -> None:
        ax = axes[0]
        place = {name: x for x, name in enumerate(self.names)}
        worst = max(self.saddles, key=lambda edge: np.nan_to_num(self.saddles[edge], nan=np.inf))
        heights = np.concatenate([profile.loss for profile in self.profiles.values()])
        for edge, profile in self.profiles.items():
            colour = VERMILION if edge == worst and len(self.profiles) > 1 else BLUE
            self._draw_path(ax, [place[name] for name in edge], profile, colour)
        ends = {name: p.loss[i] for edge, p in self.profiles.items() for name, i in zip(edge, (0, -1), strict=True)}
        losses = finite(np.array([*ends.values()]))
        ax.plot([place[name] for name in ends], losses, "o", color="black", markersize=7, zorder=4)
        ax.set_xticks(range(len(place)), [plain(name, 24, 12) for name in place])
        ax.set_ylabel(title(self.loss_name))
        ax.set_title(number(self.saddles[worst], "highest pass"), fontsize="medium", color=VERMILION, loc="left")
        ax.margins(x=0.08, y=0.12)
        widen(ax, 0.1 * largest(heights))
        tidy(ax, "y")

    def _draw_path(self, ax: Any, ends: list[int], profile: Profile, colour: str) -> None:
        """Draw the loss along a path between the places of its ends, and write its highest one above it."""
        way = profile.t if profile.arc is None or not profile.arc[-1] > 0 else profile.arc / profile.arc[-1]
        x, loss = ends[0] + way * (ends[1] - ends[0]), finite(profile.loss)
        ax.plot(x, loss, color=colour, linewidth=2, zorder=3)
        if not np.isfinite(profile.loss).all():
            ax.annotate("no loss", (np.mean(ends), 0.97), xycoords=("data", "axes fraction"), ha="center", **SMALL)
            return
        k = int(profile.loss.argmax())
        look = {"ha": "center", "fontsize": "small", "color": colour}
        ax.annotate(f"{profile.loss[k]:.3g}", (x[k], loss[k]), xytext=(0, 5), textcoords="offset points", **look)


def from_left_to_right(saddles: Mapping[Edge, float]) -> list[str]:
    """Return the networks of a tree in an order in which those of low passes between them stand side by side."""
    groups = [[name] for name in dict.fromkeys(name for edge in saddles for name in edge)]
    for a, b in sorted(saddles, key=saddles.__getitem__):
        left = next(group for group in groups if a in group)
        right = next(group for group in groups if b in group)
        if left.index(a) < len(left) / 2 - 0.5:
            left.reverse()
        if right.index(b) > len(right) / 2 - 0.5:
            right.reverse()
        groups = [group for group in groups if group is not left and group is not right] + [left + right]
    return [name for group in groups for name in group]
