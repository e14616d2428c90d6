"""The quadratic program on the simplex: weights of points, or of members, that come closest to an embedding."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

_RIDGE = 1e-11
"""Is added to the diagonal, relative to its largest entry, where points are so close that the matrix is singular."""

_TOLERANCE = 1e-9
"""By how much an optimality condition may be missed, relative to the largest entry of the matrix."""


def simplex_weights(K: np.ndarray, c: np.ndarray) -> np.ndarray:
    r"""Return the weights on the simplex that minimise a quadratic form, by an active set.

    .. math:: \min_\beta \tfrac12 \beta^\top K \beta - c^\top \beta, \quad \beta \ge 0, \quad 1^\top \beta = 1

    K is positive semi-definite, of shape (n, n). It stops where no weight of zero would lower the value by becoming
    positive: there the gradient has one value on the support, and no smaller one outside of it.
    """
    n, scale = len(c), float(np.abs(K).max(initial=0.0)) or 1.0
    H = K + _RIDGE * scale * np.eye(n)
    free, beta = _first_support(H, c)
    for _ in range(20 * n + 20):
        beta, free = _restricted(H, c, beta, free)
        gradient = H @ beta - c
        level = float(beta @ gradient)
        outside = np.where(free, np.inf, gradient)
        best = int(np.argmin(outside))
        if outside[best] >= level - _TOLERANCE * scale:
            return beta / beta.sum()
        free[best] = True
    warnings.warn(
        "The weights on the simplex have not converged: the kernel matrix is too close to singular. A larger gamma, or "
        "fewer points, sets points apart.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return beta / beta.sum()


def _first_support(H: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a support and its minimiser, by dropping all that are negative until none is: close to the best one."""
    free = np.ones(len(c), bool)
    while True:
        beta = np.zeros(len(c))
        beta[free] = _equality(H[np.ix_(free, free)], c[free])
        if (beta[free] > 0).all():
            return free, beta
        free &= beta > 0


def _restricted(H: np.ndarray, c: np.ndarray, beta: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimiser over the free weights, less those that it makes zero on the way."""
    free = free.copy()
    while True:
        target = np.zeros_like(beta)
        target[free] = _equality(H[np.ix_(free, free)], c[free])
        below = free & (target <= 0)
        if not below.any():
            return target, free
        falling = below & (beta > target)
        if not falling.any():
            free &= ~below
            continue
        shares = np.full(len(beta), np.inf)
        shares[falling] = beta[falling] / (beta[falling] - target[falling])
        share = float(min(1.0, shares.min()))
        beta = np.where(free, beta + share * (target - beta), 0.0)
        gone = free & (beta <= 1e-15) & below
        gone[int(np.argmin(shares))] = True
        beta = np.where(gone, 0.0, np.maximum(beta, 0.0))
        free &= ~gone


def _equality(H: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the minimiser of sum one, of any sign."""
    both = np.stack([c, np.ones_like(c)], axis=1)
    try:
        by_c, by_one = cho_solve(cho_factor(H), both).T
    except LinAlgError:
        by_c, by_one = np.linalg.lstsq(H, both, rcond=None)[0].T
    weights: np.ndarray = by_c + (1 - by_c.sum()) / by_one.sum() * by_one
    return weights
