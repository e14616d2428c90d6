r"""Assignments of units that are near one another, without the similarities of all pairs.

The permutation that maximises the sum of inner products minimises the sum of squared distances,
:math:`\sum_i \lVert a_i - b_{\pi(i)} \rVert^2`. Over some of the weights a distance is at most what it is over all. So
where each unit is nearer to its partner, by all weights, than to any other unit by a sample of them, and no two units
have the same partner, nothing can be better. That is so for copies, noisy copies and networks of a common origin, and
costs a pass over the weights; for others it is soon seen that it is not, and the similarities of all pairs are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

Rows = tuple[Tensor, Tensor]
"""Weights of the units of the reference and of the state, both of shape (n, n_entries)."""

_N_SAMPLED = 64
"""Entries of each unit in the first sample."""
_LARGEST_SHARE = 1 / 8
"""Of the entries, in a sample; beyond it the similarities of all pairs cost little more."""
_FEW = 1 / 8
"""The share of units whose partner may be left to an assignment problem."""
_BLOCK = 2**20
"""Pairs that are compared at a time."""


def nearest_assignment(
    sample: Callable[[float], Rows], rows: Callable[[], Iterator[Rows]], n_entries: int, slack: float = 1e-6
) -> np.ndarray | None:
    r"""Return the permutation :math:`\pi` that maximises :math:`\sum_i \langle a_i, b_{\pi(i)} \rangle`, or None.

    Entry i is the unit of the state that takes place i of the reference. As in an assignment by all similarities, the
    identity wins unless another permutation is better by more than the share ``slack`` of the total.

    Parameters
    ----------
    sample : callable
        Returns the same entries of each unit, about the given share of all.
    rows : callable
        Returns all entries, in parts.
    n_entries : int
        How many there are of each unit.
    slack : float, default=1e-6
        A share of the total.
    """
    wanted = _N_SAMPLED / n_entries
    for _ in range(2):
        a, b = sample(min(1.0, wanted))
        best, least, bound = _nearest(a, b)
        share = a.shape[1] / n_entries
        # by all entries a partner is farther away, about least / share, and has to be nearer than the bound
        wanted = 1.5 * float(torch.where(bound > 0, least / bound, torch.inf).median())
        if wanted <= share:
            break
        if wanted > _LARGEST_SHARE:
            return None
    apart, new, old, size = _of_pairs(rows(), best)
    if not np.isfinite([apart, new, old, size]).all():  # numbers that are too large for bounds
        return None
    open_ = np.flatnonzero(apart >= bound.cpu().numpy())
    place = best.cpu().numpy()
    sure = np.delete(place, open_)
    if len(np.unique(sure)) < len(sure) or len(open_) > _FEW * len(place):
        return None
    if len(open_):
        solved = _solved(rows(), open_, size)
        if np.isin(solved[0], sure).any():
            return None
        place[open_], new[open_] = solved
    moved = new.sum() - old.sum() > slack * max(np.abs(new).sum(), np.abs(old).sum())
    return place if moved else np.arange(len(place))


def _nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nearest row of b for each row of a, its squared distance, and what the others' is at least."""
    of_a, of_b = a.square().sum(1), b.square().sum(1)
    rounding = (a.shape[1] + 4) * torch.finfo(a.dtype).eps * (of_a + of_b.max())  # of sums and products, at most
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for part in torch.split(a, max(1, _BLOCK // len(b))):
        apart = torch.addmm(of_b, part, b.T, alpha=-2)
        least, best = apart.min(1)
        found.append((best, least, apart.scatter_(1, best[:, None], torch.inf).amin(1)))
    best, least, others = (torch.cat(column) for column in zip(*found, strict=True))
    return best, (of_a + least).clamp_min(0), of_a + others - rounding


def _of_pairs(rows: Iterable[Rows], best: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return squared distances to the partners, inner products with them and as it is, and squared sizes of b."""
    sums = torch.zeros((4, len(best)), dtype=torch.float64)
    for a, b in rows:
        partner = b[best]
        rest = a - partner
        each = [torch.linalg.vecdot(x, y) for x, y in ((rest, rest), (a, partner), (a, b), (b, b))]
        sums += torch.stack(each).cpu()
    apart, new, old, size = sums.numpy()
    return apart, new, old, size


def _solved(rows: Iterable[Rows], open_: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the partners of some units of the reference among all units of the state, and the inner products."""
    from scipy.optimize import linear_sum_assignment

    products = np.zeros((len(open_), len(size)))
    for a, b in rows:
        products += (a[open_] @ b.T).cpu().numpy()
    pair = linear_sum_assignment(size - 2 * products)
    return pair[1], products[pair]
