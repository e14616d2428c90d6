"""Greedy merging of the most similar units, of several networks and within each of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def zipped(
    similarity: np.ndarray,  # shape: (n_units, n_units)
    owner: np.ndarray,  # shape: (n_units,)
    n_left: int,
    alpha: float,
    budget: float,
) -> np.ndarray:
    """Return the cluster of each unit, of which ``n_left`` are left; clusters are in the order of their first units.

    The two most similar clusters are merged, again and again; they are as similar to others as the less similar of both
    is. That is multiplied by ``alpha`` for a union that would hold several units of one network. ``budget`` is the
    share of all merges, for each network, that may join units of this network alone; a network of more units than are
    left has as many such merges more. When they are used up, what holds one of its units takes no other one.

    Raises
    ------
    ValueError
        If no two clusters may be merged any more, and there are too many.
    """
    n, n_networks = len(similarity), int(owner.max()) + 1
    s = similarity.astype(np.float64, copy=True)
    np.fill_diagonal(s, -np.inf)
    counts = np.eye(n_networks, dtype=np.int64)[owner]  # units of each network by cluster
    needed = np.maximum(np.bincount(owner) - n_left, 0)
    left = int(budget * (n - n_left) / n_networks + 1e-9) + needed
    cluster = np.arange(n)
    for k in np.flatnonzero(left == 0).tolist():
        _forbid(s, _alone(counts, k))
    nearest, most = s.argmax(1), s.max(1)
    for _ in range(n - n_left):
        first = int(most.argmax())
        if most[first] == -np.inf:
            raise ValueError(
                f"No two of the units that are left may be merged, and {len(np.unique(cluster))} are left where "
                f"{n_left} should be: alpha={alpha} and budget={budget} forbid it. Give larger ones, or a smaller "
                "ratio."
            )
        a, b = sorted((first, int(nearest[first])))
        counts[a] += counts[b]
        counts[b] = 0
        networks = np.flatnonzero(counts[a])
        cluster[cluster == b] = a
        new = np.minimum(s[a], s[b])
        again = ((counts[a] + counts) > 1).any(1)
        new[again] = np.where(new[again] > 0, alpha * new[again], new[again]) if alpha > 0 else -np.inf
        s[a] = s[:, a] = new
        s[b] = s[:, b] = -np.inf
        s[a, a] = -np.inf
        changed = (nearest == a) | (nearest == b)
        changed[[a, b]] = True
        if len(networks) == 1:
            left[networks] -= 1
            if left[networks[0]] == 0:
                alone = _alone(counts, int(networks[0]))
                _forbid(s, alone)
                changed |= alone
        rows = np.flatnonzero(changed)
        nearest[rows], most[rows] = s[rows].argmax(1), s[rows].max(1)
    return np.unique(cluster, return_inverse=True)[1]


def _alone(counts: np.ndarray, k: int) -> np.ndarray:
    """Return which clusters have units of network k only."""
    alone: np.ndarray = (counts[:, k] > 0) & (counts.sum(1) == counts[:, k])
    return alone


def _forbid(s: np.ndarray, alone: np.ndarray) -> None:
    s[np.ix_(alone, alone)] = -np.inf


def merge_and_unmerge(cluster: np.ndarray, sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each network, how clusters are made of its units, and how units are read from clusters.

    The first is of shape (n_clusters, n_units): a cluster is the mean of its units of all networks. The second is of
    shape (n_units, n_clusters): each unit is read where its cluster is.
    """
    one_hot = np.eye(int(cluster.max()) + 1)[cluster]
    mean = (one_hot / one_hot.sum(0)).T
    bounds = np.cumsum([0, *sizes])
    return [(mean[:, i:j], one_hot[i:j]) for i, j in itertools.pairwise(bounds)]
