"""The loss barrier, position by position."""


def barrier(t, loss):
    """Return the largest excess of the loss over the straight line between its ends, at least 0."""
    best = 0.0
    for s, value in zip(t, loss, strict=True):
        line = (1 - s) * loss[0] + s * loss[-1]
        if 0 < s < 1 and value - line > best:
            best = value - line
    return best
