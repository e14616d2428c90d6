"""Loss or score on a simplex of networks, on the plane around it, and along a chain of its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from skfusion.connect import Subspace
from skfusion.evaluate import pool_on_data
from skfusion.plots._display import Display
from skfusion.plots._labels import names_below, size_for_names
from skfusion.plots._members import fitted
from skfusion.plots._on_planes import check_response, draw_points, draw_regions
from skfusion.plots._on_simplexes import Evaluated, names_of
from skfusion.plots._ranges import keep_within, loss_range, range_of, within
from skfusion.plots._style import CURVE, finite, mark_missing, tidy
from skfusion.plots._text import label_axes, title
from skfusion.pool import Member, ModelPool

_PURPOSE = "to evaluate the networks of a subspace"


@dataclass(eq=False, repr=False)
class SubspaceDisplay(Display):
    """Show the loss, or the score, on a simplex of networks, on the plane around it, or along a chain.

    It is best made by :meth:`from_estimator` or :meth:`from_subspace`. Good places are dark. Triangles have
    the shape that they have in the space of weights, unless they are three times as long as they are wide.

    Parameters
    ----------
    places : array-like of shape (n_points, 1) or (n_points, 2)
        Where points are: along a chain, or on a plane.
    z : array-like of shape (n_points,)
        Loss or score of each; what is not finite is left out.
    corners : dict of tuple, optional
        Where networks are, by name, in as many coordinates.
    edges : sequence of pairs of str, optional
        Which of them a line joins; all that follow each other when omitted.
    x_name : str
        What is along a chain, or along the first axis.
    {surface}

    Attributes
    ----------
    contours_ : matplotlib TriContourSet or None
        The filled contours, where there is a plane.
    {axes}

    References
    ----------
    Benton et al., "Loss surface simplexes for mode connecting volumes and fast ensembling", ICML 2021,
    arXiv:2102.13042.

    Examples
    --------
    >>> from skfusion.plots import SubspaceDisplay
    >>> display = SubspaceDisplay([[0.0], [0.5], [1.0]], [0.3, 0.2, 0.4], {"a": (0.0,), "b": (1.0,)})
    >>> display.places.shape
    (3, 1)
    """

    places: Any
    z: Any
    corners: Mapping[str, Any] | None = None
    edges: Sequence[tuple[str, str]] | None = None
    _: KW_ONLY
    x_name: str = "distance of weights"
    z_name: str = "loss"
    higher_is_better: bool = False

    def __post_init__(self) -> None:
        self._as_arrays("places", "z")
        if self.places.ndim != 2 or self.places.shape[1] not in (1, 2) or self.z.shape != (len(self.places),):
            raise ValueError(
                "places have the shape (n_points, 1) or (n_points, 2), and z has a number for each; got shapes "
                f"{self.places.shape} and {self.z.shape}."
            )
        self.corners = {name: tuple(map(float, at)) for name, at in (self.corners or {}).items()}
        names = [*self.corners]
        self.edges = [*pairwise(names)] if self.edges is None else [*self.edges]
        extent = np.ptp(self.places, axis=0)
        ratio = float(extent[-1] / extent[0]) if extent[0] > 0 else 1.0
        self._true_to_scale = 1 / 3 <= ratio <= 3  # in a strip nothing could be seen
        flat, stretched = len(extent) < 2, not self._true_to_scale
        self._height = 4.6 if stretched else float(np.clip(5.0 * ratio + 0.9, 3.2, 6.4))
        if flat:
            self._width, self._height = size_for_names(names, 3.4)

    @classmethod
    def from_subspace(
        cls,
        subspace: Subspace,
        X: Any,
        y: Any,
        estimator: Any,
        *,
        corners: Any = None,
        margin: float | None = None,
        n_points: int = 15,
        response: str = "loss",
        scoring: Any = None,
    ) -> SubspaceDisplay:
        """Evaluate a subspace.

        Parameters
        ----------
        subspace : Subspace
            What a connector returns, or :func:`skfusion.pool.load_subspace`.
        {rows}
        estimator : estimator of this library or skorch net
            The architecture.
        corners : sequence of int or str, optional
            Which control states, by position or name. Three of one simplex are shown as a triangle, others as a chain
            of lines from each to the next. When omitted, the first three of the first simplex, or all where it has
            fewer. A path has its own positions in their place.
        margin : float, optional
            How far to go beyond a triangle on its plane, as a share of its extent; not at all when omitted.
        n_points : int, default=15
            Points along each side. More show finer structure and cost more, by the square for a triangle.
        {response}
        {scoring}

        {not_drawn}
            BatchNorm statistics are recalibrated at each point that is no network as its training left it.
        """
        check_response(response)
        names = names_of(subspace)
        pool = ModelPool([Member(name, state) for name, state in zip(names, subspace.controls, strict=True)])
        data = pool_on_data(pool, X, y, estimator, scoring, _PURPOSE)
        evaluated = Evaluated(subspace.replace(controls=data.states), names, data, n_points, response)
        return cls(**evaluated.of(corners, margin))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        corners: Any = None,
        margin: float | None = None,
        n_points: int = 15,
        response: str = "loss",
        scoring: Any = None,
    ) -> SubspaceDisplay:
        """Evaluate the subspace of a fitted estimator; see :meth:`from_subspace`.

        Parameters
        ----------
        estimator : fitted SubspaceClassifier or SubspaceRegressor
            Has the subspace.
        {rows}
        corners : sequence of int or str, optional
            Which control states, as in :meth:`from_subspace`.
        margin : float, optional
            How far to go beyond a triangle, as in :meth:`from_subspace`.
        n_points : int, default=15
            Points along each side.
        {response}
        {own_scoring}

        {not_drawn}
        """
        subspace = fitted(estimator, "subspace_", "a fitted SubspaceClassifier or SubspaceRegressor")
        scoring = estimator.scoring if scoring is None else scoring
        shown = {"corners": corners, "margin": margin, "n_points": n_points, "response": response, "scoring": scoring}
        return cls.from_subspace(subspace, X, y, estimator, **shown)

    def _draw(self, axes: list[Any]) -> None:
        ax, self.contours_ = axes[0], None
        assert self.corners is not None
        assert self.edges is not None
        if self.places.shape[1] == 2:
            self.contours_ = draw_regions(ax, self.places, self.z, self.z_name, self.higher_is_better)
            for a, b in self.edges:
                ax.plot(*np.array([self.corners[a], self.corners[b]]).T, color="white", linewidth=1.2, zorder=3)
            ax.set_aspect("equal" if self._true_to_scale else "auto", adjustable="box")
            low, high, at = self.places.min(axis=0), self.places.max(axis=0), np.array([*self.corners.values()])
            if len(at) and ((at <= low).any() or (at >= high).any()):  # a corner at the border would be cut
                ax.use_sticky_edges = False
                ax.margins(0.06)
            label_axes(ax, title(self.x_name), "distance of weights from that line")
            draw_points(ax, self.corners, {})
            return
        t = self.places[:, 0]
        lines = ax.plot(t, finite(self.z), color=CURVE, linewidth=2, marker="o", markersize=3.5)
        mark_missing(ax, t, self.z, self.z_name)
        limits = within(self.z, range_of(self.z_name)) if self.higher_is_better else loss_range(self.z)
        keep_within(ax, "y", limits, lines)
        tidy(ax, "y")
        label_axes(ax, title(self.x_name), title(self.z_name))
        if self.corners:
            names_below(ax, [at[0] for at in self.corners.values()], [*self.corners])
