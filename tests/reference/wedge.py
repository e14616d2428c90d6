"""The toy landscape of wedges, and the barycentric subdivision of a simplex, by brute force."""

import math
from itertools import combinations, permutations


def toy_loss(point, n):
    """Return the distance of a point from the nearest of the spans of n axes."""
    axes = range(len(point))
    return min(math.sqrt(sum(point[i] ** 2 for i in axes if i not in kept)) for kept in combinations(axes, n))


def subdivided(point, vertices):
    """Return where a point of a simplex lies when the vertex of each subset of corners stands elsewhere.

    ``vertices`` maps sorted subsets to lists of numbers. The piece that has the point is found by trying all orders of
    the corners: its corners are the barycentres of the first corner, the first two, and so on.
    """
    n = len(point)
    for order in permutations(range(n)):
        falls = [point[order[k]] - (point[order[k + 1]] if k + 1 < n else 0.0) for k in range(n)]
        if all(fall >= 0 for fall in falls):
            shares = {tuple(sorted(order[: k + 1])): (k + 1) * fall for k, fall in enumerate(falls)}
            d = len(next(iter(vertices.values())))
            return [sum(share * vertices[s][i] for s, share in shares.items()) for i in range(d)]
    raise AssertionError("Some order is that of the coordinates.")
