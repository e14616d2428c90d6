"""The loss barrier, position by position."""


def barrier(t, loss):
    """Return the largest excess of the loss over the straight line between its ends, at least 0."""
    best = 0.0
    for s, value in zip(t, loss, strict=True):
        line = (1 - s) * loss[0] + s * loss[-1]
        if 0 < s < 1 and value - line > best:
            best = value - line
    return best


def summary(t, loss, score, arc):
    """Return the barrier by each definition as a dict; the middle must be among the positions."""
    ends = (loss[0] + loss[-1]) / 2
    area = 0.0
    for i in range(len(t) - 1):
        area += (arc[i + 1] - arc[i]) * (loss[i] + loss[i + 1]) / 2
    highest = loss[0]
    for value in loss:
        highest = max(highest, value)
    return {
        "sup": barrier(t, loss),
        "midpoint": loss[list(t).index(0.5)] - ends,
        "max_abs": highest - max(loss[0], loss[-1]),
        "error": barrier(t, [-s for s in score]),
        "mean": area / arc[-1] - ends,
    }
