"""The Gaussian kernel, its width, and means of it over weighted points: inner products of kernel mean embeddings."""

from __future__ import annotations

import numpy as np

_CELLS = 4_000_000
"""Kernel values that are held at a time."""

_MOST_FOR_WIDTH = 1000
"""Rows between which distances are measured."""


def kernel(A: np.ndarray, B: np.ndarray, gamma: float) -> np.ndarray:
    """Return ``exp(-gamma ||a - b||^2)``, shape (len(A), len(B))."""
    values: np.ndarray = np.exp(-gamma * squared_distances(A, B))
    return values


def squared_distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row of A from each of B, about their centre, where rounding does least."""
    same, centre = A is B, B.mean(axis=0)
    A, B = A - centre, B - centre
    squares = (A * A).sum(axis=1)[:, None] + (B * B).sum(axis=1) - 2 * A @ B.T
    if same:
        np.fill_diagonal(squares, 0.0)
    return np.maximum(squares, 0.0)


def means(A: np.ndarray, B: np.ndarray, weights: np.ndarray, gamma: float) -> np.ndarray:
    """Return the embedding of weighted points B at each row of A, ``sum_j w_j k(a, b_j)``, shape (len(A),)."""
    size = max(1, _CELLS // max(1, len(B)))
    parts = [kernel(A[i : i + size], B, gamma) @ weights for i in range(0, len(A), size)]
    return np.concatenate(parts) if parts else np.empty(0)


def inner(A: np.ndarray, a: np.ndarray, B: np.ndarray, b: np.ndarray, gamma: float) -> float:
    """Return the inner product of the embeddings of two sets of weighted points."""
    return float(a @ means(A, B, b, gamma))


def median_gamma(X: np.ndarray, rng: np.random.RandomState) -> float:
    """Return ``1 / (2 m^2)`` with the median distance m of different rows (of at most 1 000); 1 where all are equal."""
    X = X if len(X) <= _MOST_FOR_WIDTH else X[rng.choice(len(X), _MOST_FOR_WIDTH, replace=False)]
    squares = squared_distances(X, X)[np.triu_indices(len(X), 1)]
    apart = squares[squares > 1e-12 * float(squares.max(initial=0.0))]
    return float(1 / (2 * np.median(apart))) if len(apart) else 1.0


def noise_quantile(gram: np.ndarray, level: float, rng: np.random.RandomState, n_draws: int = 200) -> float:
    """Return a quantile of how far the embedding of rows is from that of what they were drawn from, by the bootstrap.

    It is that of ``||mu* - mu||`` for resampled rows, where ``gram`` has the kernel between the rows, and larger by
    what resampled rows vary less, the root of n / (n - 1). Fewer than 4 rows do not tell it; then it is the largest
    distance that there is, the root of 2.
    """
    n = len(gram)
    if n < 4:
        return float(np.sqrt(2))
    W = rng.multinomial(n, np.full(n, 1 / n), size=n_draws) / n - 1 / n
    squares = np.einsum("ij,ij->i", W @ gram, W)
    return float(np.sqrt(np.quantile(np.maximum(squares, 0.0), level) * n / (n - 1)))
