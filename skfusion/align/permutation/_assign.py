"""The assignment of units to units that is worth most.

References
----------
Kuhn, "The Hungarian method for the assignment problem", Naval Research Logistics Quarterly 2, 1955. Crouse, "On
implementing 2D rectangular assignment algorithms", IEEE Transactions on Aerospace and Electronic Systems 52, 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment


def assigned(worth: np.ndarray, slack: float = 1e-6) -> np.ndarray:
    r"""Return the permutation :math:`\pi` that maximises :math:`\sum_i W_{i \pi(i)}`.

    Units stay in their places unless others are worth more by a share of ``slack``: equal units are not exchanged.

    Parameters
    ----------
    worth : ndarray of shape (n, n)
        What unit i of the reference and unit j of the state are worth together.
    slack : float, default=1e-6
        Share of the mean absolute worth of matched pairs that counts as rounding.

    Returns
    -------
    ndarray of int of shape (n,)
        Which unit of the state takes each place.
    """
    n = len(worth)
    stay, best = np.arange(n), worth.argmax(axis=1)
    if np.bincount(best, minlength=n).max() > 1:  # else no row gets more than its own maximum
        best = linear_sum_assignment(worth, maximize=True)[1]
    new, old = (worth[stay, places].astype(np.float64) for places in (best, stay))
    return best if new.sum() - old.sum() > slack * max(np.abs(new).sum(), np.abs(old).sum()) else stay


def assigned_nested(
    pairs: Mapping[str, np.ndarray], alone: np.ndarray | None, name: str, slack: float = 1e-6
) -> dict[str, np.ndarray]:
    r"""Return where units go that carry inner units with them, such as heads with their channels.

    The best exchange of inner units is found for each pair of outer units, and then the outer units are assigned by
    what these are worth.

    Parameters
    ----------
    pairs : dict of ndarray of shape (n, m, n, m)
        By inner group: what its unit k in outer unit i and its unit l in outer unit j are worth together.
    alone : ndarray of shape (n, n) or None
        What outer units are worth together besides.
    name : str
        Of the outer group.
    slack : float, default=1e-6
        See :func:`assigned`.

    Returns
    -------
    dict of ndarray
        Permutations of the outer group, shape (n,), and of the inner ones, shape (n, m).
    """
    n = next(iter(pairs.values())).shape[0] if alone is None else len(alone)
    worth = np.zeros((n, n)) if alone is None else alone.astype(np.float64)
    best: dict[str, np.ndarray] = {}
    for inner, worths in pairs.items():
        m = worths.shape[1]
        best[inner] = np.empty((n, n, m), np.int64)
        for i, j in np.ndindex(n, n):
            q = best[inner][i, j] = assigned(worths[i, :, j], slack)
            worth[i, j] += worths[i, np.arange(m), j, q].sum(dtype=np.float64)
    place = assigned(worth, slack)
    return {name: place, **{inner: found[np.arange(n), place] for inner, found in best.items()}}
