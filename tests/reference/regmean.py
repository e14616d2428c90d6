"""RegMean by sums of outer products, and the patches that a convolution sees by loops over places."""

import itertools

import numpy as np


def regmean(inputs, weights, shrink=1.0, normalise=False):
    """Return the weight of a layer, shape (out, in), from each member's inputs, shape (rows, in), and weight."""
    left, right = 0.0, 0.0
    for rows, weight in zip(inputs, weights, strict=True):
        gram = sum(np.outer(row, row) for row in rows) / (len(rows) if normalise else 1)
        gram = np.where(np.eye(len(gram)), gram, shrink * gram)
        left, right = left + gram, right + gram @ weight.T
    return np.linalg.solve(left, right).T


def with_bias(rows):
    """Return rows with a last feature 1."""
    return np.array([[*row, 1.0] for row in rows])


def patches(x, kernel, stride, padding, dilation, mode="constant"):
    """Return what each place sees, shape (rows, channels * kernel); x has the shape (samples, channels, *places)."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], mode=mode)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    starts = [range(0, n - r + 1, s) for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    found = []
    for sample, place in itertools.product(x, itertools.product(*starts)):
        window = [slice(p, p + r, d) for p, r, d in zip(place, reach, dilation, strict=True)]
        found.append(sample[(slice(None), *window)].ravel())
    return np.array(found)
