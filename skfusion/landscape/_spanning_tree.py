"""The pairs that join all networks at the lowest barriers (Draxler et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

Edge = tuple[str, str]
"""Names of two members, in the order of the pool."""


def spanning_tree(barriers: Mapping[Edge, float]) -> list[Edge]:
    """Return the pairs, in the given order, that join all members at the lowest barriers; of equal ones, the first.

    Where the pairs do not join all members, there is a tree for each group that they join.
    """
    names = [*dict.fromkeys(name for edge in barriers for name in edge)]
    order = np.argsort([*barriers.values()], kind="stable")
    matrix = np.zeros((len(names), len(names)))
    for rank, i in enumerate(order, start=1):  # ranks, as a barrier of zero would be no edge to SciPy
        a, b = [*barriers][i]
        matrix[names.index(a), names.index(b)] = rank
    kept = {(names[i], names[j]) for i, j in zip(*minimum_spanning_tree(matrix).nonzero(), strict=True)}
    return [edge for edge in barriers if edge in kept]


def reached(start: str, edges: Iterable[Edge]) -> dict[str, str | None]:
    """Return what can be reached from a name along edges, each name with the one before it; None for the start."""
    edges, before, new = [*edges], {start: None}, [start]
    found: dict[str, str | None] = {**before}
    while new:
        here = new.pop(0)
        for a, b in edges:
            there = b if a == here else a if b == here else None
            if there is not None and there not in found:
                found[there] = here
                new.append(there)
    return found
