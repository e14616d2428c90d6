"""Which pairs of members are looked at, as there are many where members are."""

from __future__ import annotations

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
    """Return the pairs that are looked at, in the order of the pool, and a note on which of how many they are.

    Parameters
    ----------
    pool : ModelPool
        The members.
    parts : list of list of int
        Members of one architecture, which have lines between them.
    pairs : {"all", "neighbours"} or int
        All, those of the spanning trees of the least distances, or a number that is drawn.
    random_state : int
        Seed of the draw.
    """
    every = [*combinations(range(len(pool)), 2)]
    if isinstance(pairs, int | np.integer) and not isinstance(pairs, bool) and pairs > 0:
        drawn = np.random.RandomState(random_state).permutation(len(every))[:pairs]
        found, which = [every[k] for k in np.sort(drawn)], "drawn at random"
    elif pairs == "neighbours":
        between = [(a[0], b[0]) for a, b in pairwise(parts)]
        found = sorted({*between, *(pair for part in parts for pair in _tree(pool, part))})
        which = "the least distances that join all"
    elif pairs == "all":
        return every, ""
    else:
        raise ValueError(f"pairs must be 'all', 'neighbours' or a positive number of pairs; got {pairs!r}.")
    if len(found) == len(every):
        return every, ""
    told = (
        f"{len(found)} of the {len(every)} pairs of members were looked at: {which}. What is said of pairs is of these."
    )
    return found, told


def _tree(pool: ModelPool, part: list[int]) -> list[tuple[int, int]]:
    if len(part) < 2:
        return []
    distance = np.asarray(geometry([pool[k].state for k in part]).distance, np.float64)
    tree = minimum_spanning_tree(np.triu(distance + 1, 1))  # one more, as zero is no edge
    return [(part[i], part[j]) for i, j in zip(*(axis.tolist() for axis in tree.nonzero()), strict=True)]


def places(part: list[int], chosen: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return which of the chosen pairs are of one part, by the places in it."""
    place = {k: i for i, k in enumerate(part)}
    return [(place[a], place[b]) for a, b in chosen if a in place and b in place]
