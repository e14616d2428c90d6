"""Loss or score on a plane through networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from skfusion.connect import CellPlane, Path
from skfusion.evaluate import pool_on_data
from skfusion.landscape import Plane, loss_at, loss_on
from skfusion.objective import Objective
from skfusion.plots._display import Display
from skfusion.plots._members import chosen, curve_of
from skfusion.plots._on_planes import (
    check_response,
    draw_cells,
    draw_contours,
    draw_path,
    draw_points,
    evaluated,
    plane_of,
    shown,
)
from skfusion.plots._text import label_axes, title
from skfusion.pool import ModelPool

_PURPOSE = "to evaluate the networks of a plane"


@dataclass(eq=False, repr=False)
class PlaneDisplay(Display):
    """Show the loss, or the score, on a plane through the weights of networks.

    It is best made by :meth:`from_pool`, :meth:`from_estimator` or :meth:`around_member`. Good places are dark. Levels
    of the loss are spaced by factors, and the worst twentieth of the plane has one colour. Both axes have one scale
    unless one of them is three times as long as the other.

    Parameters
    ----------
    x : array-like of shape (n_columns,)
        Positions of the columns.
    y : array-like of shape (n_rows,)
        Positions of the rows.
    z : array-like of shape (n_rows, n_columns)
        Loss or score; not finite where the network overflows, which is drawn in grey.
    points : dict of (float, float), optional
        Where networks are, by name.
    path : array-like of shape (n_points, 2), optional
        A curve on the plane.
    bends : array-like of shape (n_bends, 2), optional
        What the curve is bent by.
    off : dict of float, optional
        Distance from the plane of those networks that are not on it, by name; ``"path"`` is the curve's largest.
    x_name, y_name : str
        Labels of the axes.
    {surface}
    as_cells : bool, default=False
        Whether each value is a square of its own, and rows go downwards, in place of contours.

    Attributes
    ----------
    {contours}

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.
    Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, arXiv:1712.09913 (around one network).

    Examples
    --------
    >>> from skfusion.plots import PlaneDisplay
    >>> display = PlaneDisplay([0.0, 1.0], [0.0, 1.0], [[0.1, 0.5], [0.4, 2.0]], {"a": (0.0, 0.0)})
    >>> display.z.shape
    (2, 2)
    """

    x: Any
    y: Any
    z: Any
    points: Mapping[str, tuple[float, float]] | None = None
    path: Any = None
    bends: Any = None
    _: KW_ONLY
    off: Mapping[str, float] | None = None
    x_name: str = "distance of weights"
    y_name: str = "distance of weights"
    z_name: str = "loss"
    higher_is_better: bool = False
    as_cells: bool = False

    def __post_init__(self) -> None:
        self._as_arrays("x", "y", "z", "path")
        if self.z.shape != (len(self.y), len(self.x)):
            raise ValueError(
                f"z must have a row for each of the {len(self.y)} y and a column for each of the {len(self.x)} x; got "
                f"shape {self.z.shape}."
            )
        self.points = {name: (float(p[0]), float(p[1])) for name, p in (self.points or {}).items()}
        self.bends = np.asarray([] if self.bends is None else self.bends, np.float64).reshape(-1, 2)
        self.off = dict(self.off or {})
        if not self.as_cells and min(self.z.shape) < 2:
            raise ValueError(f"Contours need two positions or more along each axis; z has the shape {self.z.shape}.")
        width, height = np.ptp(self.x), np.ptp(self.y)
        self._ratio = float(height / width) if width > 0 else 1.0
        self._height = float(np.clip(5.0 * self._ratio + 0.9, 3.2, 6.4))

    @classmethod
    def from_pool(
        cls,
        pool: ModelPool,
        X: Any,
        y: Any,
        estimator: Any = None,
        *,
        members: Any = (0, 1, 2),
        path: Path | None = None,
        n_points: int = 21,
        margin: float = 0.3,
        response: str = "loss",
        scoring: Any = None,
    ) -> PlaneDisplay:
        """Evaluate the plane through three members of a pool, or through the ends and the bend of a curve.

        Parameters
        ----------
        {pool}
        {rows}
        {estimator}
        members : sequence of int or str, default=(0, 1, 2)
            Positions or names. The first three span the plane; further ones are shown where they are nearest to it.
        path : Path, optional
            A curve. Its ends and its middle bend span the plane, and all ``members``, two or more, are shown on it.
        {grid}
        {margin}
        {response}
        {scoring}

        {not_drawn}
            BatchNorm statistics are recalibrated at each point that is no member.
        """
        if path is not None and members == (0, 1, 2):
            members = (0, 1)
        pool = pool.replace(chosen(pool, members, 3 if path is None else 2, "A plane"))
        data = pool_on_data(pool, X, y, estimator, scoring, _PURPOSE)
        if path is not None:
            path = path.replace(controls=[data.runner.place(s) for s in path.controls])
        plane = Plane.through(*data.states[:3]) if path is None else plane_of(path)
        states = dict(zip(pool.names, data.states, strict=True))
        return cls(**evaluated(plane, states, path, data, n_points, margin, response))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        pair: Any = None,
        n_points: int = 21,
        margin: float = 0.3,
        response: str = "loss",
        scoring: Any = None,
    ) -> PlaneDisplay:
        """Evaluate the plane through the ends and the bend of a curve of a fitted estimator.

        Parameters
        ----------
        {curve_estimator}
        {rows}
        {pair}
        {grid}
        {margin}
        {response}
        {own_scoring}

        {not_drawn}
            Of several bends the middle one spans the plane; the curve is shown where it is nearest.
        """
        names, data, curve = curve_of(estimator, X, y, pair, scoring)
        states = dict(zip(names, (curve.controls[0], curve.controls[-1]), strict=True))
        return cls(**evaluated(plane_of(curve), states, curve, data, n_points, margin, response))

    @classmethod
    def around_member(
        cls,
        pool: ModelPool,
        X: Any,
        y: Any,
        estimator: Any = None,
        *,
        member: Any = 0,
        random_state: int = 0,
        radius: float = 1.0,
        n_points: int = 21,
        response: str = "loss",
        scoring: Any = None,
    ) -> PlaneDisplay:
        """Evaluate a plane around one member, along two random directions whose filters are as long as the member's.

        Parameters
        ----------
        pool : ModelPool
            Has the member.
        X, y : array-like
            Rows that the member was not trained on.
        {estimator}
        member : int or str, default=0
            Its position or name.
        random_state : int, default=0
            Seed of the directions.
        radius : float, default=1.0
            How far the plane goes: 1 changes each filter by as much as it is long.
        {grid}
        {response}
        {scoring}

        {not_drawn}
            Sharpness can be compared between networks, as lengths are relative to the filters of each.
        """
        if not radius > 0:
            raise ValueError(f"radius must be above 0; got {radius}.")
        check_response(response)
        (only,) = chosen(pool, [member], 1, "A plane")
        data = pool_on_data(pool.replace([only]), X, y, estimator, scoring, _PURPOSE)
        steps = np.linspace(-radius, radius, n_points)
        plane = Plane.around(data.states[0], random_state, data.objective.module)
        surface = shown(loss_on(plane, data.objective, x=steps, y=steps), data, response)
        axes = {f"{a}_name": f"step along random direction {k}, in filter lengths" for k, a in ((1, "x"), (2, "y"))}
        return cls(steps, steps, points={only.name: (0.0, 0.0)}, **axes, **surface)

    @classmethod
    def from_cells(cls, plane: CellPlane, objective: Objective, *, z_name: str = "loss") -> PlaneDisplay:
        """Evaluate all cells of a plane of networks, whose losses are a picture.

        Parameters
        ----------
        plane : CellPlane
            What :class:`~skfusion.connect.MultiPoint` has trained.
        objective : Objective
            Architecture, and rows that it was not trained on.
        z_name : str, default="loss"
            What the loss is, with its unit.

        {not_drawn}
            BatchNorm statistics are recalibrated at each cell.
        """
        n_rows, n_columns = plane.basis.shape
        loss = loss_at(plane, plane.cells(), objective).loss.reshape(n_rows, n_columns)
        names = {"x_name": "column", "y_name": "row", "z_name": z_name}
        return cls(np.arange(n_columns), np.arange(n_rows), loss, **names, as_cells=True)

    def _draw(self, axes: list[Any]) -> None:
        ax = axes[0]
        if self.as_cells:
            self.contours_ = None
            draw_cells(ax, self.x, self.y, self.z, self.z_name, self.higher_is_better)
            ax.set_aspect("equal")
            label_axes(ax, title(self.x_name), title(self.y_name))
            draw_points(ax, self.points, self.off)
            return
        stretched = not 1 / 3 <= self._ratio <= 3  # a strip in which nothing could be seen
        self.contours_ = draw_contours(ax, self.x, self.y, self.z, self.z_name, self.higher_is_better)
        ax.set_aspect("auto" if stretched else "equal", adjustable="box")
        ax.set(xlim=self.x[[0, -1]], ylim=self.y[[0, -1]])
        label_axes(ax, title(self.x_name), title(self.y_name))
        draw_path(ax, self.path, self.bends, [*self.points.values()], self.off.get("path"))
        draw_points(ax, self.points, self.off, self.path)
