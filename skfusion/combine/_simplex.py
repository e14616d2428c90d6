"""Convex problems in weights that are not negative and sum to one, solved by active sets."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

STEPS = 100
"""Newton steps at most; some five are taken as a rule."""

TIGHT = 1e-9
"""The gap, in nats, at which Newton steps end."""

HOPELESS = 1e8
"""How many times farther than the nearest point one may lie: beyond, its weight would be lost in rounding."""


def nearest_to_origin(points: np.ndarray) -> np.ndarray:
    """Return the weights of the convex combination of points that is nearest to the origin.

    Minimising :math:`\\|A x\\|^2 + (1 - \\sum x)^2 c` over :math:`x \\ge 0` gives a multiple of them for every c, so
    that least squares with non-negative coefficients (Lawson and Hanson, 1974) solves it, in finitely many steps.

    ``points`` has the shape (n_dimensions, n_points), at any scales. The weights, shape (n_points,), are not negative,
    sum to 1, and are exactly 0 for points that do not join.
    """
    size = np.linalg.norm(points, axis=0)
    nearest, weights = size.min(), np.zeros(len(size))
    if nearest == 0:
        return np.where(size == 0, 1.0, 0.0) / np.count_nonzero(size == 0)
    kept = np.flatnonzero(size < HOPELESS * nearest)
    units = points[:, kept] / size[kept]  # of length one, so that a distant point does not hide the others
    if len(units) > len(kept):
        units = np.linalg.qr(units, mode="r")
    problem = np.vstack([units, nearest / size[kept]])
    try:
        weights[kept] = nnls(problem, np.eye(len(problem))[-1], maxiter=10 * len(kept) + 100)[0] / size[kept]
    except RuntimeError:  # rounding can make it repeat its steps without end
        weights[kept] = size[kept] == nearest
    return weights / weights.sum()


def likeliest_mixture(truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weights of the mixture of least log-loss, by Newton steps (Kim et al., 2020).

    ``truth``, shape (n_members, n_samples), has the positive probabilities that members give to what is true, and the
    weights of the samples sum to 1. The weights of the members are like those of :func:`nearest_to_origin`.
    """
    weights, whole = np.full(len(truth), 1 / len(truth)), True
    mixed, root = weights @ truth, np.sqrt(weight)
    for _ in range(STEPS):
        ratio = truth / mixed
        slope = ratio @ weight  # the gradient is -slope, and its product with the weights -1
        if slope.max() - 1 <= TIGHT and whole:
            break
        # on the simplex the second-order model of the loss is the distance of these points' combination from 0
        best = nearest_to_origin((ratio * root).T - 2 * root[:, None])
        step, size = _step(best - weights, truth, mixed, weight, slope)
        if size == 0:
            break
        whole = size == 1
        weights = best if whole else weights + step
        mixed = weights @ truth
    return weights


def _step(
    way: np.ndarray, truth: np.ndarray, mixed: np.ndarray, weight: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the longest step of size 1, 1/2, 1/4 ... that lowers the log-loss, and its size; 0 if none does."""
    before, ahead, promised = weight @ np.log(mixed), way @ truth, slope @ way
    noise = 4 * np.finfo(np.float64).eps * (1 + abs(before))
    size = 1.0
    while promised > 0 and size > 1e-9:
        gain = weight @ np.log(np.maximum(mixed + size * ahead, np.finfo(np.float64).tiny)) - before
        if gain >= 1e-4 * size * promised - noise:
            return size * way, size
        size /= 2
    return 0 * way, 0.0
