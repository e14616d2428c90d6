"""Dynamic selection and weighting by loops over rows, neighbours and members."""

import numpy as np


def nearest(P, query, n_neighbors, scale):
    """Return the held-out rows whose profiles are nearest to that of one new row, the nearest first."""
    distances = [
        sum(((P[k, i] - query[k]) / scale) ** 2 @ np.ones(len(scale)) for k in range(len(P))) for i in range(P.shape[1])
    ]
    return sorted(range(P.shape[1]), key=lambda i: distances[i])[:n_neighbors]


def is_right(P, y, task, k, i, target):
    """Return whether a member is right on a row."""
    if task == "multilabel":
        return (P[k, i, target] > 0.5) == bool(y[i, target])
    return int(np.argmax(P[k, i])) == y[i]


def eliminated(P, y, task, near, target):
    """Return the members that are right on as many of the nearest rows as any is."""
    for n in range(len(near), 0, -1):
        good = [k for k in range(len(P)) if all(is_right(P, y, task, k, i, target) for i in near[:n])]
        if good:
            return [float(k in good) for k in range(len(P))]
    return [1.0] * len(P)


def united(P, y, task, near, target):
    """Return how many of the nearest rows each member is right on."""
    counts = [float(sum(is_right(P, y, task, k, i, target) for i in near)) for k in range(len(P))]
    return counts if any(counts) else [1.0] * len(P)


def errors(P, y, near, target):
    """Return the mean squared error of each member on the nearest rows."""
    return [sum((P[k, i, target] - y[i, target]) ** 2 for i in near) / len(near) for k in range(len(P))]


def dynamic(P, y, task, new, n_neighbors, eliminate):
    """Return the combined predictions for new rows, shape (n_samples, n_outputs)."""
    n_outputs = P.shape[2]
    scale = np.std(y, axis=0) if task == "regression" else np.ones(n_outputs)
    found = np.zeros(new.shape[1:])
    for row in range(new.shape[1]):
        near = nearest(P, new[:, row], n_neighbors, scale)
        for target in range(n_outputs):
            if task == "regression":
                e = errors(P, y, near, target)
                share = [float(v == min(e)) for v in e] if eliminate else [1 / v for v in e]
            else:
                share = (eliminated if eliminate else united)(P, y, task, near, target)
            found[row, target] = sum(s * new[k, row, target] for k, s in enumerate(share)) / sum(share)
    return found
