"""The assignment of units to units with the largest total value (Kuhn, 1955; Crouse, 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment


def assigned(worth: np.ndarray, slack: float = 1e-6) -> np.ndarray:
    r"""Return the permutation :math:`\pi` that maximises :math:`\sum_i W_{i \pi(i)}`, for W of shape (n, n).

    Entry i is the unit of the state that takes place i of the reference. The identity wins unless another permutation
    is better by more than the share ``slack`` of the total, which is rounding: so units that are equal stay in place.
    """
    n = len(worth)
    stay, best = np.arange(n), worth.argmax(axis=1)
    if np.bincount(best, minlength=n).max() > 1:  # otherwise each row has its own maximum, and nothing can be better
        best = linear_sum_assignment(worth, maximize=True)[1]
    new, old = (worth[stay, places].astype(np.float64) for places in (best, stay))
    return best if new.sum() - old.sum() > slack * max(np.abs(new).sum(), np.abs(old).sum()) else stay


def assigned_nested(pairs: Mapping[str, np.ndarray], alone: np.ndarray | None, name: str) -> dict[str, np.ndarray]:
    """Return the permutations of outer units (n,) with their inner ones (n, m), such as heads with their channels.

    ``pairs`` has, by inner group, the value of unit k in outer unit i with unit l in outer unit j, shape (n, m, n, m);
    ``alone`` the value of the outer units besides, shape (n, n).
    """
    n = next(iter(pairs.values())).shape[0] if alone is None else len(alone)
    worth = np.zeros((n, n)) if alone is None else alone.astype(np.float64)
    best: dict[str, np.ndarray] = {}  # of the inner units, for each pair of outer ones
    for inner, worths in pairs.items():
        m = worths.shape[1]
        best[inner] = np.empty((n, n, m), np.int64)
        for i, j in np.ndindex(n, n):
            q = best[inner][i, j] = assigned(worths[i, :, j])
            worth[i, j] += worths[i, np.arange(m), j, q].sum(dtype=np.float64)
    place = assigned(worth)
    return {name: place, **{inner: q[np.arange(n), place] for inner, q in best.items()}}
