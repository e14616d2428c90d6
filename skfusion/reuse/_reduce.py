"""A few weighted points whose embedding comes closest to that of many rows: k-means, weights in turn with descent."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from skfusion.reuse._kernel import kernel
from skfusion.reuse._simplex_program import simplex_weights

_N_STEPS = 10
"""Steps of descent in a round."""


def reduced(
    X: np.ndarray, n_points: int, gamma: float, n_rounds: int, square: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return points, their weights, and the distance at the start and after each round, which never grows.

    ``square`` is the squared norm of the embedding of the rows.
    """
    seed = int(rng.randint(np.iinfo(np.int32).max))
    Z = KMeans(n_points, n_init=1, random_state=seed).fit(X).cluster_centers_.astype(np.float64)
    beta = _weights(X, Z, gamma)
    history = [objective(X, Z, beta, gamma)]
    for _ in range(n_rounds):
        Z = _descended(X, Z, beta, gamma)
        beta = _no_worse(X, Z, beta, gamma)
        history.append(objective(X, Z, beta, gamma))
    return Z, beta, [float(np.sqrt(max(0.0, value + square))) for value in history]


def objective(X: np.ndarray, Z: np.ndarray, beta: np.ndarray, gamma: float) -> float:
    """Return the squared distance of the embeddings, less the squared norm of that of the rows."""
    return float(beta @ kernel(Z, Z, gamma) @ beta - 2 * beta @ kernel(Z, X, gamma).mean(axis=1))


def gradient(X: np.ndarray, Z: np.ndarray, beta: np.ndarray, gamma: float) -> np.ndarray:
    """Return the gradient of :func:`objective` by the points, shape (n_points, n_features).

    Both terms carry the factor 4, as the points occur twice in the first one; half of it there is a common mistake.
    """
    by_points = kernel(Z, Z, gamma) * beta
    by_rows = kernel(Z, X, gamma) / len(X)
    pull = by_points.sum(axis=1, keepdims=True) * Z - by_points @ Z
    pull -= by_rows.sum(axis=1, keepdims=True) * Z - by_rows @ X
    scaled: np.ndarray = -4 * gamma * beta[:, None] * pull
    return scaled


def _descended(X: np.ndarray, Z: np.ndarray, beta: np.ndarray, gamma: float) -> np.ndarray:
    """Return points after some steps against the gradient, each point by the inverse of its weight.

    A step begins twice as long as the last one, and is halved until the objective is no larger.
    """
    value, step = objective(X, Z, beta, gamma), 0.5
    used = beta > 0
    scale = np.where(used, 1 / (4 * gamma * np.where(used, beta, 1.0)), 0.0)[:, None]
    for _ in range(_N_STEPS):
        direction = scale * gradient(X, Z, beta, gamma)
        step *= 2
        while step > 1e-8:
            moved = Z - step * direction
            after = objective(X, moved, beta, gamma)
            if after <= value:
                Z, value = moved, after
                break
            step /= 2
        else:
            break
    return Z


def _weights(X: np.ndarray, Z: np.ndarray, gamma: float) -> np.ndarray:
    return simplex_weights(kernel(Z, Z, gamma), kernel(Z, X, gamma).mean(axis=1))


def _no_worse(X: np.ndarray, Z: np.ndarray, beta: np.ndarray, gamma: float) -> np.ndarray:
    """Return the best weights for the points, or the present ones where rounding makes these better."""
    new = _weights(X, Z, gamma)
    return new if objective(X, Z, new, gamma) <= objective(X, Z, beta, gamma) else beta
