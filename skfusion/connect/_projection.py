"""The point of a subspace that is nearest to a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skfusion.state import State


class Projection(NamedTuple):
    """The point of a subspace that is nearest to a state.

    Parameters
    ----------
    point : float or ndarray
        In the domain of the basis.
    state : State
        What lies there.
    distance : float
        Euclidean distance of the two states, without integer tensors and BatchNorm statistics.
    """

    point: Any
    state: State
    distance: float


def nearest_position(weights: Callable[[float], np.ndarray], products: np.ndarray, n_points: int = 513) -> float:
    """Return the position from 0 to 1 whose point is nearest to the origin of the inner products of the controls."""

    from scipy.optimize import minimize_scalar  # which takes longer to import than all of this room

    def square(t: float) -> float:
        c = weights(t)
        return float(c @ products @ c)

    grid = np.linspace(0, 1, n_points)
    squares = [square(t) for t in grid]
    k = int(np.argmin(squares))
    around = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, n_points - 1)])
    found = minimize_scalar(square, bounds=around, method="bounded", options={"xatol": 1e-10})
    return float(found.x) if found.fun < squares[k] else float(grid[k])


def nearest_in_simplexes(simplexes: Sequence[Sequence[int]], products: np.ndarray) -> np.ndarray:
    """Return the coefficients of the point of some simplexes that is nearest to the origin of the inner products."""
    points = [_nearest_in(list(corners), products) for corners in simplexes]
    return min(points, key=lambda c: float(c @ products @ c))


def _nearest_in(corners: list[int], products: np.ndarray) -> np.ndarray:
    """Return the coefficients of the nearest point of a simplex: a quadratic programme."""
    from scipy.optimize import minimize

    part = products[np.ix_(corners, corners)]
    part = part / max(float(np.abs(part).max()), np.finfo(float).tiny)
    n = len(corners)
    found = minimize(
        lambda c: float(c @ part @ c),
        np.full(n, 1 / n),
        jac=lambda c: 2 * part @ c,
        method="SLSQP",
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda c: c.sum() - 1, "jac": lambda c: np.ones(n)},
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    found = np.where(found < 1e-9, 0.0, found)
    best = np.eye(n)[int(np.argmin(np.diag(part)))]
    found = min(found / found.sum(), best, key=lambda c: float(c @ part @ c))
    out = np.zeros(len(products))
    out[corners] = found
    return out
