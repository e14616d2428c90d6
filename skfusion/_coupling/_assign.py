"""The assignment of units to units with the largest total value (Kuhn, 1955; Crouse, 2016).

SciPy's solver is as fast as what else is kept up, on similarities of trained networks. The package lapjv takes half of
its time at 1 000 to 2 000 units, but has no wheels for Python 3.12 and later; and where several assignments are equally
good, what is installed would decide among them. What pays is to start the solver where the last problem of the same
units ended, at :class:`Prices`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_FEW = 128
"""Units below which a cold start takes no time."""
_N_ROUNDS = 8


class Prices:
    """What units cost at the end of an assignment problem, from which the next one of the same units starts.

    Prices lower the values of a unit for all places alike, which changes no solution. With those of a problem that is
    nearly the same each place wants a unit of its own at once, and the solver has little left to do.
    """

    def __init__(self) -> None:
        self._known: np.ndarray | None = None  # shape: (n,)

    def lowered(self, worth: np.ndarray) -> np.ndarray:
        """Return values less the prices, for values of shape (n, n)."""
        return worth if self._known is None else worth - self._known

    def learn(self, worth: np.ndarray, best: np.ndarray, moved: bool) -> None:
        """Find prices under which each place is content with its unit, nearly; units stand in their new order then."""
        gap = worth[:, best]
        gap = gap.diagonal()[:, None] - gap  # what place i loses if it gets the unit of place k
        price = np.zeros(len(worth), worth.dtype) if self._known is None else self._known[best]
        for _ in range(_N_ROUNDS):  # Bellman-Ford: the price of a unit is at most that of another one and the gap
            price = np.minimum(price, (gap + price).min(axis=1))
        self._known = price if moved else price[np.argsort(best)]

    def follow(self, best: np.ndarray) -> None:
        """Put prices in the new order of the units."""
        self._known = None if self._known is None else self._known[best]


def assigned(worth: np.ndarray, slack: float = 1e-6, prices: Prices | None = None) -> np.ndarray:
    r"""Return the permutation :math:`\pi` that maximises :math:`\sum_i W_{i \pi(i)}`, for W of shape (n, n).

    Entry i is the unit of the state that takes place i of the reference. The identity wins unless another permutation
    is better by more than the share ``slack`` of the total, which is rounding: so units that are equal stay in place.
    The solver starts at ``prices``, which are updated.
    """
    from scipy.optimize import linear_sum_assignment

    n = len(worth)
    stay, best = np.arange(n), worth.argmax(axis=1)
    solved = np.bincount(best, minlength=n).max() > 1
    if solved:  # otherwise each row has its own maximum, and nothing can be better
        start = worth if prices is None else prices.lowered(worth)
        best = linear_sum_assignment(start, maximize=True)[1]
    new, old = (worth[stay, places].astype(np.float64) for places in (best, stay))
    moved = new.sum() - old.sum() > slack * max(np.abs(new).sum(), np.abs(old).sum())
    if prices is not None and n >= _FEW and solved:
        prices.learn(worth, best, moved)
    elif prices is not None and moved:
        prices.follow(best)
    return best if moved else stay


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
