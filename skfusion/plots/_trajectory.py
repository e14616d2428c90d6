"""The trajectory of a training in the space of weights."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from skfusion.connect import combined
from skfusion.evaluate import check_both, pool_on_data
from skfusion.geometry import inner
from skfusion.landscape import Plane, loss_on
from skfusion.plots._display import Display
from skfusion.plots._labels import AROUND, settle, write_beside
from skfusion.plots._members import chosen
from skfusion.plots._on_planes import check_response, draw_contours, grids, principal, shown
from skfusion.plots._style import beside, explain, legend_above, muted, tidy
from skfusion.plots._text import distinct, label_axes
from skfusion.pool import Member, ModelPool

_APART = 0.13
"""Least distance of two labels, as a share of the axes."""


@dataclass(eq=False, repr=False)
class TrajectoryDisplay(Display):
    r"""Show states of a training on the plane of their first two principal components.

    With :math:`\theta_1, \dots, \theta_n` the states in order, the components are those of the differences
    :math:`\theta_k - \theta_n` from the last one, which is the origin. It is best made by :meth:`from_pool`.

    Parameters
    ----------
    places : array-like of shape (n_states, 2)
        The states along the two components, in order.
    labels : sequence of str
        What each state is called, such as its epoch.
    variance : pair of float
        Share of the variance that each component has. Where they are small, the trajectory is mostly
        outside of the plane.
    x, y : array-like of shape (n_columns,) and (n_rows,), optional
        Positions of a grid.
    z : array-like of shape (n_rows, n_columns), optional
        Loss or score on it.
    {surface}

    Attributes
    ----------
    {contours}

    References
    ----------
    Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, arXiv:1712.09913, section 7.

    Examples
    --------
    >>> from skfusion.plots import TrajectoryDisplay
    >>> TrajectoryDisplay([[-2, 0], [-1, 1], [0, 0]], ["1", "2", "3"], (0.75, 0.25)).places.shape
    (3, 2)
    """

    places: Any
    labels: Any
    variance: tuple[float, float]
    x: Any = None
    y: Any = None
    z: Any = None
    _: KW_ONLY
    z_name: str = "loss"
    higher_is_better: bool = False

    def __post_init__(self) -> None:
        self._height = 4.6
        self._as_arrays("places", "x", "y", "z")
        self.labels = [str(label) for label in self.labels]
        if self.places.shape != (len(self.labels), 2):
            raise ValueError(
                f"places must have a row of 2 for each of the {len(self.labels)} labels; got {self.places.shape}."
            )
        self.variance = (float(self.variance[0]), float(self.variance[1]))

    @classmethod
    def from_pool(
        cls,
        pool: ModelPool,
        X: Any = None,
        y: Any = None,
        estimator: Any = None,
        *,
        members: Any = None,
        n_points: int = 21,
        margin: float = 0.2,
        response: str = "loss",
        scoring: Any = None,
    ) -> TrajectoryDisplay:
        """Project the members of a pool, in their order.

        Parameters
        ----------
        pool : ModelPool
            States of one training, such as ``Snapshots`` or ``Tail`` collect them; three at least.
        X, y : array-like, optional
            Rows that no member was trained on, to draw the loss on the plane too.
        {estimator}
        members : sequence of int or str, optional
            Positions or names, in order; all members when omitted.
        {grid}
        margin : float, default=0.2
            How far the plane goes beyond the states, as a share of their extent.
        {response}
        {scoring}

        {not_drawn}
            BatchNorm statistics do not count as coordinates, and are recalibrated at each point.

        Notes
        -----
        Costs K (K + 1) / 2 inner products for K states, and one evaluation for each point of the grid.
        """
        check_response(response)
        check_both(X, y)
        pool = pool.replace(chosen(pool, range(len(pool)) if members is None else members, 3, "A trajectory"))
        pool.check_compatible()
        last, *others = pool.states[::-1]
        gram = inner([last, *others])[::-1, ::-1]
        places, shares, variance = principal(gram)
        labels = [_label(m, k) for k, m in enumerate(pool)]
        if X is None:
            return cls(places, labels, variance)
        data = pool_on_data(pool, X, y, estimator, scoring, "to evaluate the networks of a plane")
        xs, ys = grids(places, margin, n_points)
        reach = float(np.abs(places).max())  # as far out as the states are: rounding would move a nearer one
        states = data.states
        axes = [combined(states, reach * c + np.eye(len(c))[-1] * (1 - reach * c.sum())) for c in shares.T]
        surface = loss_on(Plane([states[-1], *axes], np.eye(2) / reach), data.objective, x=xs, y=ys)
        return cls(places, labels, variance, xs, ys, **shown(surface, data, response))

    def _draw(self, axes: list[Any]) -> None:
        ax = axes[0]
        self.contours_ = None
        if self.z is not None:
            self.contours_ = draw_contours(ax, self.x, self.y, self.z, self.z_name, self.higher_is_better)
            ax.set(xlim=self.x[[0, -1]], ylim=self.y[[0, -1]])
        else:
            ax.margins(0.16)
            tidy(ax, "both")
        seen = np.isfinite(self.places).all(axis=1)
        places, n = self.places[seen], len(self.places)
        ax.plot(*places.T, color="white" if self.contours_ else muted(ax), linewidth=1.4, zorder=3)
        ax.scatter(
            *places.T, c=np.arange(n)[seen], cmap="YlOrRd", vmin=-0.25 * n, edgecolors="black", s=52, zorder=5
        )  # the later, the darker
        if not seen.all():
            explain(ax, f"{n - seen.sum()} of {n} states left out: not finite")
        legend_above(ax, 2)
        share = self.variance
        names = (f"principal component {k} ({share[k - 1]:.0%}{' of the variance' * (k == 1)})" for k in (1, 2))
        label_axes(ax, *names)
        self._write_labels(ax, seen)

    def _write_labels(self, ax: Any, seen: np.ndarray) -> None:
        """Write the labels of states that are far enough from each other, on the outer side of the trajectory."""
        settle(ax)
        places = self.places[seen]
        at = ax.transAxes.inverted().transform(ax.transData.transform(places))
        labels = distinct([label for label, known in zip(self.labels, seen, strict=True) if known], 20)
        last, labelled, outside = len(at) - 1, [], []
        for k in dict.fromkeys([0, last, *range(1, last)] if len(at) else []):
            if all(np.linalg.norm(at[k] - at[other]) > _APART for other in labelled):
                ahead = at[min(k + 1, last)] - at[max(k - 1, 0)]
                aside = np.array([ahead[1], -ahead[0]]) / max(float(np.linalg.norm(ahead)), 1e-12)
                outer = 11 * (aside if aside @ (at[k] - at.mean(axis=0)) >= 0 else -aside)
                labelled.append(k)
                outside.append((float(outer[0]), float(outer[1])))
        places_of_labels = [(shift, *AROUND) if any(shift) else AROUND for shift in outside]
        look = beside(ax, dark=self.contours_ is not None)
        write_beside(ax, [labels[k] for k in labelled], places[labelled], places_of_labels, look, places)


def _label(member: Member, position: int) -> str:
    """Return the epoch of a member, or its place in the order where that is unknown."""
    epoch = member.meta.get("epoch")
    return f"state {position + 1}" if epoch is None else f"epoch {epoch}"
