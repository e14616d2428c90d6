"""Which networks are joined: the minimum spanning tree of their barriers (Draxler et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

Edge = tuple[str, str]
"""Names of two members, in the order of the pool."""


def spanning_tree(barriers: Mapping[Edge, float]) -> list[Edge]:
    """Return the pairs, in the given order, that join all members at the lowest barriers.

    There is a barrier for each pair of members. Of equal ones, the first counts as the lowest.
    """
    names = [*dict.fromkeys(name for edge in barriers for name in edge)]
    order = np.argsort([*barriers.values()], kind="stable")
    matrix = np.zeros((len(names), len(names)))
    for rank, i in enumerate(order, start=1):  # ranks, as a barrier of zero would be no edge to SciPy
        a, b = [*barriers][i]
        matrix[names.index(a), names.index(b)] = rank
    kept = {(names[i], names[j]) for i, j in zip(*minimum_spanning_tree(matrix).nonzero(), strict=True)}
    return [edge for edge in barriers if edge in kept]
