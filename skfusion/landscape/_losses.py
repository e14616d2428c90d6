"""The loss at points of any subspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion.connect import Subspace
from skfusion.landscape._evaluate import evaluate
from skfusion.objective import Objective
from skfusion.repair import Repairer


@dataclass(frozen=True, eq=False)
class Losses:
    """Held-out loss and score at points of a subspace.

    Parameters
    ----------
    points : sequence
        In the domain of the subspace.
    loss : ndarray of shape (n_points,)
        Mean held-out loss at each; NaN or infinite where the network overflows.
    score : ndarray of shape (n_points,)
        Held-out score at each, higher is better.
    """

    points: Sequence[Any]
    loss: np.ndarray
    score: np.ndarray


def loss_at(subspace: Subspace, points: Sequence[Any], objective: Objective, repair: Repairer | None = None) -> Losses:
    """Evaluate a subspace at some of its points, such as those of :meth:`Subspace.grid`.

    Parameters
    ----------
    subspace : Subspace
        What a connector returns.
    points : sequence
        In its domain.
    objective : Objective
        Architecture and data.
    repair : Repairer, optional
        Applied to every point but the networks of the subspace; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    Losses
        Loss and score at each point; losses that are not finite are no error.

    Notes
    -----
    Costs an evaluation a point; see :func:`loss_along` for what is shared.
    """
    coefficients = np.array([subspace.weights(p) for p in points]).reshape(-1, len(subspace.controls))
    loss, score = evaluate(subspace.controls, coefficients, objective, repair, subspace.networks).T.copy()
    return Losses(points, loss, score)
