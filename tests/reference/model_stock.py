"""Model stock of one tensor, from the angles of all pairs."""

import itertools
import math


def model_stock(base, members):
    """Return the merged tensor as a list of numbers."""
    changes = [[t - b for t, b in zip(member, base, strict=True)] for member in members]
    cosines = []
    for a, b in itertools.combinations(changes, 2):
        lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
        cosines.append(sum(v * w for v, w in zip(a, b, strict=True)) / lengths if lengths else 0.0)
    c = max(0.0, sum(cosines) / len(cosines)) if cosines else 1.0
    t = len(members) * c / (1 + (len(members) - 1) * c)
    means = [sum(column) / len(members) for column in zip(*members, strict=True)]
    return [t * mean + (1 - t) * b for mean, b in zip(means, base, strict=True)]
