"""TIES, number by number, with the signs put to the vote in exact fractions."""

from fractions import Fraction


def ties(base, members, density, scale=1.0):
    """Return the merged vector as floats; the base and the members are lists of numbers."""
    changes = [[Fraction(t) - Fraction(b) for t, b in zip(member, base, strict=True)] for member in members]
    kept = max(1, round(density * len(base)))
    for change in changes:
        threshold = sorted(map(abs, change), reverse=True)[kept - 1]
        change[:] = [c if abs(c) >= threshold else Fraction(0) for c in change]
    merged = []
    for start, column in zip(base, zip(*changes, strict=True), strict=True):
        vote = sum(column)
        agreeing = [c for c in column if c * vote > 0]
        mean = sum(agreeing) / len(agreeing) if agreeing else Fraction(0)
        merged.append(float(Fraction(start) + Fraction(scale) * mean))
    return merged
