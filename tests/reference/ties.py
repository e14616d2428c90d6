"""TIES, number by number, with the signs put to the vote in exact fractions."""

from fractions import Fraction


def ties(base, members, densities, scale=1.0, weights=None):
    """Return the merged vector as floats; the base and the members are lists of numbers, densities one a member."""
    weights = [Fraction(w) for w in weights or [1] * len(members)]
    changes = [[Fraction(t) - Fraction(b) for t, b in zip(member, base, strict=True)] for member in members]
    for change, density in zip(changes, densities, strict=True):
        kept = max(1, round(density * len(base)))
        threshold = sorted(map(abs, change), reverse=True)[kept - 1]
        change[:] = [c if abs(c) >= threshold else Fraction(0) for c in change]
    merged = []
    for start, column in zip(base, zip(*changes, strict=True), strict=True):
        votes = [(w * c, abs(w)) for w, c in zip(weights, column, strict=True)]
        total = sum(vote for vote, _ in votes)
        agreeing = [(vote, w) for vote, w in votes if vote * total > 0]
        mean = sum(vote for vote, _ in agreeing) / sum(w for _, w in agreeing) if agreeing else Fraction(0)
        merged.append(float(Fraction(start) + Fraction(scale) * mean))
    return merged
