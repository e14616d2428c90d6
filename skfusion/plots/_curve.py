"""Loss and score along a trained curve, and along the straight line."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from skfusion.connect import Path
from skfusion.evaluate import PoolOnData
from skfusion.landscape import Profile, excess, loss_along, segment
from skfusion.plots._members import curve_of
from skfusion.plots._paths import PathsDisplay, draw_paths
from skfusion.plots._ranges import keep_within, range_of, within
from skfusion.plots._style import ENSEMBLE, legend_above
from skfusion.plots._text import label_axes, number
from skfusion.repair import Recalibrate


@dataclass(eq=False, repr=False)
class CurveDisplay(PathsDisplay):
    """Show loss and score along a trained curve between two networks, and along the straight line.

    It is best made by :meth:`from_estimator`. A curve of low loss says that both networks lie in one valley, which the
    straight line leaves.

    Parameters
    ----------
    t : array-like of shape (n_points,)
        Positions: 0 is the first network, 1 is the second.
    curve_loss, line_loss : array-like of shape (n_points,)
        Loss at each position of the curve, and of the line.
    curve_score, line_score : array-like of shape (n_points,), optional
        Score at each position, higher is better; both or neither.
    ensemble_score : float, optional
        The score of the mean prediction of networks along the curve.
    {labels}

    Attributes
    ----------
    barriers : dict of float
        The largest excess of the loss over that of the ends, on the ``"straight line"`` and the ``"trained curve"``.
    {two_axes}

    Examples
    --------
    >>> from skfusion.plots import CurveDisplay
    >>> CurveDisplay([0.0, 0.5, 1.0], [1.0, 1.5, 2.0], [1.0, 3.0, 2.0]).barriers
    {'straight line': 1.5, 'trained curve': 0.0}
    """

    t: Any
    curve_loss: Any
    line_loss: Any
    curve_score: Any = None
    line_score: Any = None
    _: KW_ONLY
    ensemble_score: float | None = None
    names: tuple[str, str] = ("first", "second")
    loss_name: str = "loss"
    score_name: str = "score"

    def __post_init__(self) -> None:
        if (self.curve_score is None) != (self.line_score is None):
            raise ValueError("Give the scores of both the curve and the line, or of neither.")
        self._as_arrays("t", "curve_loss", "line_loss", "curve_score", "line_score")
        self._fit(self.curve_score is not None, (3.0, 4.8))
        self.barriers = {
            "straight line": excess(self.t, self.line_loss),
            "trained curve": excess(self.t, self.curve_loss),
        }

    @classmethod
    def from_profiles(cls, curve: Profile, line: Profile, **labels: Any) -> CurveDisplay:
        """Take the arrays of two profiles that ``skfusion.landscape.loss_along`` computed.

        Parameters
        ----------
        curve, line : Profile
            Loss and score along the curve and the line, at the same positions.
        **labels : dict
            ``ensemble_score``, ``names``, ``loss_name`` and ``score_name``, as in the class.

        {not_drawn}
        """
        if not np.array_equal(curve.t, line.t):
            raise ValueError(
                f"The curve has {len(curve.t)} positions and the line has {len(line.t)}: evaluate both at the same "
                "ones, with one n_points."
            )
        return cls(curve.t, curve.loss, line.loss, curve.score, line.score, **labels)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, pair: Any = None, n_points: int = 25, scoring: Any = None
    ) -> CurveDisplay:
        """Evaluate a curve of a fitted estimator, and the line between its ends.

        Parameters
        ----------
        {curve_estimator}
        {rows}
        {pair}
        {line}
        {own_scoring}

        {not_drawn}
            The ensemble is that of the ``n_points`` networks along the curve that the estimator has.
        """
        names, data, curve = curve_of(estimator, X, y, pair, scoring)
        profiles = [loss_along(path, data.objective, n_points) for path in (curve, segment(*curve.ends))]
        labels = {"names": names, "loss_name": data.loss_name, "score_name": data.score_name}
        return cls.from_profiles(*profiles, ensemble_score=ensemble_score(curve, data, estimator.n_points), **labels)

    def _draw_panels(self, axes: list[Any]) -> None:
        losses, scores = (self.line_loss, self.curve_loss), (self.line_score, self.curve_score)
        paths = {
            f"{name}: {number(rise, 'barrier')}": Profile(self.t, loss, score)
            for (name, rise), loss, score in zip(self.barriers.items(), losses, scores, strict=True)
        }
        draw_paths(axes, paths, self.names, self.score_name, self.barriers)
        label_axes(axes[-1], "position t between the two networks")
        legend_above(axes[0], 2)
        if self.ensemble_score is not None and len(axes) > 1:
            label = f"ensemble along the curve: {number(self.ensemble_score, 'score').removeprefix('score ')}"
            level = self.ensemble_score if np.isfinite(self.ensemble_score) else np.nan
            drawn = axes[1].axhline(level, color=ENSEMBLE, linestyle=(0, (6, 2, 1, 2)), linewidth=1.8, label=label)
            values = np.concatenate([self.curve_score, self.line_score, [level]])
            keep_within(axes[1], "y", within(values, range_of(self.score_name)), [drawn])
            legend_above(axes[1], 1, [drawn])


def ensemble_score(curve: Path, data: PoolOnData, n_points: int) -> float:
    """Return the score of the mean prediction of equally spaced networks along a curve, both ends included."""
    states = (Recalibrate()(curve.at(t), curve.ends, data.objective) for t in np.linspace(0, 1, n_points))
    total = sum(data.predictions(out) for out in data.objective.outputs(states))
    return float(data.score(total / n_points, data.rows))
