"""Changes that are trimmed and agree in sign, and the summed entropy of tasks, by loops over numbers and rows."""

import math


def agreeing(base, members, density):
    """Return what each member keeps of its change; the base and the members are lists of numbers."""
    changes = [[m - b for m, b in zip(member, base, strict=True)] for member in members]
    kept = max(1, round(density * len(base)))
    for change in changes:
        threshold = sorted(map(abs, change), reverse=True)[kept - 1]
        change[:] = [c if abs(c) >= threshold else 0.0 for c in change]
    votes = [sum(column) for column in zip(*changes, strict=True)]
    return [[c if c * vote > 0 else 0.0 for c, vote in zip(change, votes, strict=True)] for change in changes]


def entropy(logits):
    """Return the mean entropy of rows of logits, each a list of numbers."""
    total = 0.0
    for row in logits:
        scale = sum(map(math.exp, row))
        for z in row:
            p = math.exp(z) / scale
            total -= p * math.log(p)
    return total / len(logits)
