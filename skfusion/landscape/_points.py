"""Points of a subspace as networks to use: with their statistics repaired, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skfusion.connect import Subspace
from skfusion.landscape._evaluate import repaired
from skfusion.landscape._losses import loss_at
from skfusion.objective import Objective
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State


class Point(NamedTuple):
    """A network of a subspace.

    Parameters
    ----------
    place : float or ndarray
        Where it is, in the domain of the subspace.
    state : State
        Its weights, with repaired statistics.
    loss : float
        Mean held-out loss.
    score : float
        Held-out score, higher is better.
    """

    place: Any
    state: State
    loss: float
    score: float


def points_at(
    subspace: Subspace, places: Sequence[Any], objective: Objective, repair: Repairer | None = None
) -> list[Point]:
    """Return the networks at some places of a subspace, such as those of an ensemble.

    Parameters
    ----------
    subspace : Subspace
        Where they are.
    places : sequence
        In its domain: ``subspace.spread(10)`` are those of an ensemble of ten.
    objective : Objective
        Architecture and data.
    repair : Repairer, optional
        Applied to every point but networks as their own training left them; BatchNorm statistics are recalibrated when
        omitted.

    Returns
    -------
    list of Point
        In the order of the places.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Line
    >>> from skfusion.landscape import points_at
    >>> from skfusion.objective import ModuleObjective
    >>> def loss(state):
    ...     return (state["weight"].item() - 1) ** 2
    >>> data = ModuleObjective(torch.nn.Linear(1, 1, bias=False), lambda: [], loss, lambda s: -loss(s))
    >>> line = Line()([{"weight": torch.tensor([[w]])} for w in (0.0, 2.0)])
    >>> [point.loss for point in points_at(line, line.spread(3), data)]
    [1.0, 0.0, 1.0]
    """
    coefficients = [subspace.weights(place) for place in places]
    states = [*repaired(subspace.controls, coefficients, objective, repair or Recalibrate(), subspace.networks)]
    judged = objective.evaluate(states)
    return [Point(p, s, float(l), float(v)) for p, s, (l, v) in zip(places, states, judged, strict=True)]


def best_point(
    subspace: Subspace, objective: Objective, n_points: int = 10, random_state: int = 0, repair: Repairer | None = None
) -> Point:
    """Return the network of a subspace with the best held-out score, of equal ones that with the lowest loss.

    Parameters
    ----------
    subspace : Subspace
        Where it is.
    objective : Objective
        Architecture and data; nothing should have been trained on its held-out rows.
    n_points : int, default=10
        Points to choose from, beside the corners; see :meth:`Subspace.spread`.
    random_state : int, default=0
        Seed of these points.
    repair : Repairer, optional
        As in :func:`points_at`.

    Returns
    -------
    Point
        Its score is the largest of many on the rows that chose it, which new rows seldom reach.
    """
    places = [*subspace.grid(2), *subspace.spread(n_points, random_state)]
    judged = loss_at(subspace, places, objective, repair)
    score, loss = np.nan_to_num(judged.score, nan=-np.inf), np.nan_to_num(judged.loss, nan=np.inf)
    best = max(range(len(places)), key=lambda i: (score[i], -loss[i]))
    (found,) = points_at(subspace, [places[best]], objective, repair)  # judged by one pass, and used after more
    return found
