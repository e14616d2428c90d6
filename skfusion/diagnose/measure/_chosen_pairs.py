"""Which pairs of members are looked at: their number grows with the square of the members."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from skfusion.geometry import geometry
from skfusion.pool import ModelPool

Pairs = Literal["all", "neighbours"] | int


def chosen_pairs(
    pool: ModelPool, parts: list[list[int]], pairs: Pairs, random_state: int
) -> tuple[list[tuple[int, int]], str]:
    """Return the positions of the pairs that are looked at, in the order of the pool, and a note on which they are.

    ``parts`` are the members of each architecture. Neighbours are the pairs of a minimum spanning tree of distances.
    """
    every = [*combinations(range(len(pool)), 2)]
    if isinstance(pairs, int | np.integer) and not isinstance(pairs, bool) and pairs > 0:
        drawn = np.random.RandomState(random_state).permutation(len(every))[:pairs]
        some, which = [every[k] for k in np.sort(drawn)], "drawn at random"
    elif pairs == "neighbours":
        between = [(a[0], b[0]) for a, b in pairwise(parts)]
        some = sorted({*between, *(pair for part in parts for pair in _tree(pool, part))})
        which = "the least distances that join all"
    elif pairs == "all":
        return every, ""
    else:
        raise ValueError(f"pairs must be 'all', 'neighbours' or a positive number of pairs; got {pairs!r}.")
    if len(some) == len(every):
        return every, ""
    how_many = f"{len(some)} of the {len(every)} pairs of members were looked at"
    return some, f"{how_many}: {which}. What is said of pairs is of these."


def _tree(pool: ModelPool, part: list[int]) -> list[tuple[int, int]]:
    if len(part) < 2:
        return []
    distance = np.asarray(geometry([pool[k].state for k in part]).distance, np.float64)
    tree = minimum_spanning_tree(np.triu(distance + 1, 1))  # one more, as zero is no edge
    return [(part[i], part[j]) for i, j in zip(*(axis.tolist() for axis in tree.nonzero()), strict=True)]


def pairs_within(
    pool: ModelPool, part: list[int], chosen: list[tuple[int, int]]
) -> Iterator[tuple[int, int, tuple[str, str]]]:
    """Yield the chosen pairs of one part: the places of both members in it, and their names."""
    place = {k: i for i, k in enumerate(part)}
    for a, b in chosen:
        if a in place and b in place:
            yield place[a], place[b], (pool.names[a], pool.names[b])
