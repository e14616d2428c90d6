"""Networks as minima of the loss, and the lowest passes between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion.landscape import Edge, MinimaGraph, Profile, loss_along
from skfusion.plots._display import Display
from skfusion.plots._labels import names_below, size_for_names, write_beside
from skfusion.plots._members import curve_of, fitted
from skfusion.plots._ranges import keep_within, loss_range
from skfusion.plots._style import CURVE, beside, finite, ink, largest, tidy, widen
from skfusion.plots._text import label_axes, number, title


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
        self.saddles = {edge: float(profile.loss.max()) for edge, profile in self.profiles.items()}
        self.names = from_left_to_right(self.saddles)
        self._width, self._height = size_for_names(self.names, 4.2)

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
            highest = edge == worst and len(self.profiles) > 1
            self._draw_path(ax, [place[name] for name in edge], profile, ink(ax) if highest else CURVE)
        ends = {name: p.loss[i] for edge, p in self.profiles.items() for name, i in zip(edge, (0, -1), strict=True)}
        losses = finite(np.array([*ends.values()]))
        ax.plot([place[name] for name in ends], losses, "o", color=ink(ax), markersize=7, zorder=4)
        label_axes(ax, y=title(self.loss_name))
        absent = sum(not np.isfinite(profile.loss).all() for profile in self.profiles.values())
        remark = f"; no loss on parts of {absent} of {len(self.profiles)} paths" if absent else ""
        ax.set_title(f"{number(self.saddles[worst], 'highest pass')}{remark}", fontsize="medium", loc="left")
        ax.margins(x=0.5 / len(place), y=0.12)
        widen(ax, 0.1 * largest(heights))
        keep_within(ax, "y", loss_range(heights))
        tidy(ax, "y")
        names_below(ax, range(len(place)), [*place])
        if not np.isfinite(heights).any():
            ax.set_yticks([])  # which would stand for nothing
        self._write_heights(ax, place)

    def _draw_path(self, ax: Any, ends: list[int], profile: Profile, colour: str) -> None:
        """Draw the loss along a path between the places of its ends."""
        x, loss = self._along(ends, profile)
        ax.plot(x, loss, color=colour, linewidth=2, zorder=3)

    @staticmethod
    def _along(ends: list[int], profile: Profile) -> tuple[np.ndarray, np.ndarray]:
        """Return the places and the losses of a path between the places of its ends."""
        way = profile.t if profile.arc is None or not profile.arc[-1] > 0 else profile.arc / profile.arc[-1]
        return ends[0] + way * (ends[1] - ends[0]), finite(profile.loss)

    def _write_heights(self, ax: Any, place: Mapping[str, int]) -> None:
        """Write the highest loss of each path above it, from the highest on, where no other number stands."""
        known = {edge: saddle for edge, saddle in self.saddles.items() if np.isfinite(saddle)}
        order = sorted(known, key=known.__getitem__, reverse=True)
        tops = [self._along([place[name] for name in edge], self.profiles[edge]) for edge in order]
        at = np.array([(x[k], loss[k]) for x, loss in tops for k in [int(loss.argmax())]]).reshape(-1, 2)
        written = [f"{known[edge]:.3g}" for edge in order]
        write_beside(ax, written, at, [((0, 8), (0, 8.5))] * len(at), beside(ax, dark=False), radius=1.0)


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
