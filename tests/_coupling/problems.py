"""Costs and masses of units."""

import numpy as np


def costs(n, m, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    return np.linalg.norm(x[:, None] - y, axis=-1)


def uniform(n):
    return np.full(n, 1 / n)


def masses(n, seed=0):
    m = np.random.default_rng(seed).random(n) + 0.1
    return m / m.sum()
