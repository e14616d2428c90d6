"""The loss along a path between two states, and its barrier (Frankle et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from skfusion.connect import Line, Path
from skfusion.geometry import inner
from skfusion.landscape._evaluate import evaluate
from skfusion.objective import Objective
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State


class Barrier(NamedTuple):
    """How far the loss rises between two networks, in units of the loss but for ``error``.

    Parameters
    ----------
    sup : float
        The largest excess over the straight line between the losses of the ends; at least 0.
    midpoint : float
        The excess at the middle, t = 0.5.
    max_abs : float
        The largest loss, less the larger one of the ends'; at least 0.
    error : float
        As ``sup``, of the negative score: of the error, where the score is accuracy.
    mean : float
        The mean loss along the path by its arc length, less the mean of the ends'. It may be negative.
    """

    sup: float
    midpoint: float
    max_abs: float
    error: float
    mean: float


@dataclass(frozen=True, eq=False)
class Profile:
    """Held-out loss and score along a path.

    Parameters
    ----------
    t : ndarray of shape (n_points,)
        Positions, from 0 to 1.
    loss : ndarray of shape (n_points,)
        Mean held-out loss at each position.
    score : ndarray of shape (n_points,)
        Held-out score at each position, higher is better.
    arc : ndarray of shape (n_points,), optional
        Euclidean length of the path up to each position; positions stand in where it is not known.
    """

    t: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    arc: np.ndarray | None = None

    @property
    def barrier(self) -> float:
        """The loss barrier, in units of the loss."""
        return excess(self.t, self.loss)

    @property
    def score_barrier(self) -> float:
        """The barrier of the negative score (of the error, where the score is accuracy)."""
        return excess(self.t, -self.score)

    @property
    def mean_loss(self) -> float:
        """The mean of the loss over the arc length, by the trapezoidal rule."""
        s = self.t if self.arc is None or not self.arc[-1] > 0 else self.arc / self.arc[-1]
        return float(np.trapezoid(self.loss, s))

    @property
    def summary(self) -> Barrier:
        """The barrier by each definition; those of the loss are NaN where that of an end is not finite."""
        loss, ends = self.loss, self.loss[[0, -1]]
        if not np.isfinite(ends).all():
            nan = float("nan")
            return Barrier(nan, nan, nan, self.score_barrier, nan)
        middle = float(np.interp(0.5, self.t, loss))
        return Barrier(
            sup=self.barrier,
            midpoint=middle - float(ends.mean()),
            max_abs=float(loss.max() - ends.max()),
            error=self.score_barrier,
            mean=self.mean_loss - float(ends.mean()),
        )


def excess(t: np.ndarray, loss: np.ndarray) -> float:
    """Return the largest excess of the loss over the straight line between its ends.

    Parameters
    ----------
    t : ndarray of shape (n_points,)
        Positions; the first is 0 and the last is 1.
    loss : ndarray of shape (n_points,)
        Loss at each position.

    Returns
    -------
    float
        The barrier, at least 0; NaN where a loss is NaN or that of an end is not finite, infinite where another one is.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.landscape import excess
    >>> excess(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0, 2.0]))
    1.5
    """
    t, loss = np.asarray(t, np.float64), np.asarray(loss, np.float64)
    if t.ndim != 1 or t.shape != loss.shape or len(t) < 2 or t[0] != 0 or t[-1] != 1:
        raise ValueError(
            f"t and loss must be of one length, with t from 0 to 1; got shapes {t.shape} and {loss.shape}, t = {t}."
        )
    if not np.isfinite(loss[[0, -1]]).all():
        return float("nan")
    gap = loss - ((1 - t) * loss[0] + t * loss[-1])
    gap[[0, -1]] = 0.0
    return float(gap.max())


def segment(a: State, b: State) -> Path:
    """Return the straight path ``t -> (1 - t) a + t b`` between two states; see :meth:`Line.__call__`."""
    return Line()([a, b])


def barrier(a: State, b: State, objective: Objective, n_points: int = 25, repair: Repairer | None = None) -> Barrier:
    r"""Return the barrier on the straight line between two states, by each definition.

    .. math:: B = \sup_t \; L((1 - t)\,\theta_a + t\,\theta_b) - \left[(1 - t)\,L(\theta_a) + t\,L(\theta_b)\right]

    Parameters
    ----------
    a, b : State
        Two states of one architecture. Which comes first does not matter.
    objective : Objective
        Architecture and data.
    n_points : int, default=25
        Positions, 3 or more, both ends included; an odd number has the middle among them. More find narrower barriers.
    repair : Repairer, optional
        Applied to every inner point; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    Barrier
        In units of the loss, and of the score.

    References
    ----------
    Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, arXiv:1912.05671 (sup).
    Entezari et al., "The role of permutation invariance in linear mode connectivity of neural networks", ICLR 2022,
    arXiv:2110.06296. Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018,
    arXiv:1802.10026 (the mean over the arc length).

    Examples
    --------
    >>> import torch
    >>> from skfusion.landscape import barrier
    >>> from skfusion.objective import ModuleObjective
    >>> def loss(state):
    ...     return (state["weight"].item() ** 2 - 1) ** 2
    >>> data = ModuleObjective(torch.nn.Linear(1, 1, bias=False), lambda: [], loss, lambda s: -loss(s))
    >>> a, b = ({"weight": torch.tensor([[w]])} for w in (-1.0, 1.0))
    >>> barrier(a, b, data).sup
    1.0
    """
    if n_points < 3:
        raise ValueError(f"A barrier is seen between the ends: n_points must be at least 3; got {n_points}.")
    return loss_along(segment(a, b), objective, n_points, repair).summary


def loss_along(
    path: Path | Callable[[float], State], objective: Objective, n_points: int = 25, repair: Repairer | None = None
) -> Profile:
    """Evaluate a path at equally spaced positions.

    Parameters
    ----------
    path : Path or callable
        ``path(t)`` is a state, for t in [0, 1]: what a connector returns, :func:`segment`, or a function of yours.
    objective : Objective
        Architecture and data.
    n_points : int, default=25
        Positions, both ends included. More find narrower barriers.
    repair : Repairer, optional
        Applied to every inner point, bends included, and to ends that were trained along with the path; BatchNorm
        statistics are recalibrated when omitted.

    Returns
    -------
    Profile
        Loss and score at each position. A loss may be infinite between the ends, where the network overflows.

    Raises
    ------
    ValueError
        If the loss of an end is not finite, or another one is NaN.

    Notes
    -----
    Costs an evaluation a point, and a pass over the data for BatchNorm where there is one. Points of a
    :class:`~skfusion.connect.Path` of a network without convolutions are computed many at once: the first layer is
    computed for its m control states only, not for every point.
    """
    if n_points < 2:
        raise ValueError(f"A path needs at least its 2 ends; got n_points={n_points}.")
    t = np.linspace(0.0, 1.0, n_points)
    if isinstance(path, Path):
        coefficients = np.array([path.weights(s) for s in t])
        rows, arc = evaluate(path.controls, coefficients, objective, repair, path.networks), path.arc(t)
    else:
        states = [path(float(s)) for s in t]
        rows = evaluate(states, np.eye(n_points), objective, repair or Recalibrate(n_passes=1))
        gaps = np.sqrt([inner([a, b])[1, 1] for a, b in pairwise(states)])
        arc = np.concatenate([[0.0], np.cumsum(gaps)])
    for k, which in ((0, "first"), (-1, "second")):
        if not np.isfinite(rows[k, 0]):
            raise ValueError(
                f"The loss of the {which} end of the path (t = {t[k]:g}) is {rows[k, 0]}, so a barrier has nothing to "
                "be measured from: the network's training diverged, or the data holds NaN. Leave that network out."
            )
    if np.isnan(rows[:, 0]).any():
        where = ", ".join(f"{s:.3g}" for s in t[np.isnan(rows[:, 0])][:3])
        raise ValueError(
            f"The loss on the path is NaN at t = {where}: the network overflows there, or the data holds NaN. Where "
            "BatchNorm is not recalibrated (repair=), do so."
        )
    loss, score = rows.T.copy()
    return Profile(t, loss, score, arc)
