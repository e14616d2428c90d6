"""Curves between two points, point by point, and their training, step by step."""

import math
from itertools import pairwise

import torch


def bezier(t, points):
    """Return the point of a Bezier curve by de Casteljau's algorithm; points are lists of numbers."""
    while len(points) > 1:
        points = [_between(a, b, t) for a, b in pairwise(points)]
    return points[0]


def chain(t, points):
    """Return the point of a polygonal chain: its piece, and the place on that piece."""
    n = len(points) - 1
    for k in range(n):
        if t <= (k + 1) / n:
            return _between(points[k], points[k + 1], n * t - k)
    return points[-1]


def chain_of_one_bend(t, a, bend, b):
    """Return the point of a chain by the formula of Garipov et al."""
    if t <= 0.5:
        return [2 * (t * w + (0.5 - t) * u) for u, w in zip(a, bend, strict=True)]
    return [2 * ((t - 0.5) * v + (1 - t) * w) for v, w in zip(b, bend, strict=True)]


def fourier(t, points):
    """Return the point of the series ``b_0 / 2 + sum_i b_i cos(i pi t)``, its ends exact by ``b_0`` and ``b_1``."""
    a, *bends, b = points
    found = []
    for k, (u, v) in enumerate(zip(a, b, strict=True)):
        series = {i: ((u + v) / 2 - bend[k]) / 4 for i, bend in enumerate(bends, 2)}
        even = sum(value for i, value in series.items() if i % 2 == 0)
        odd = sum(value for i, value in series.items() if i % 2 == 1)
        series[0] = (u + v) - 2 * even
        series[1] = (u - v) / 2 - odd
        found.append(series[0] / 2 + sum(series[i] * math.cos(i * math.pi * t) for i in series if i))
    return found


def rate(step, n_steps):
    """Return the factor on the learning rate: 1 for half of the steps, then linear to 0.01 at nine tenths."""
    done = step / n_steps
    if done < 0.5:
        return 1.0
    if done > 0.9:
        return 0.01
    return 1.0 + (done - 0.5) * (0.01 - 1.0) / (0.9 - 0.5)


def train(coefficients, vectors, free, loss, batches, positions, lr, momentum, weight_decay):
    """Train some of the vectors of a curve by SGD.

    ``coefficients(t)`` are numbers, ``loss(vector, batch)`` a tensor; there is a position for each of the batches of
    all epochs. A vector w of the curve moves by the gradient at the point, times its coefficient there.
    """
    vectors = [v.clone() for v in vectors]
    velocity = dict.fromkeys(free)
    for step, (batch, t) in enumerate(zip(batches, positions, strict=True)):
        c = coefficients(t)
        point = sum(float(ck) * v for ck, v in zip(c, vectors, strict=True)).requires_grad_()
        total = loss(point, batch) + weight_decay / 2 * (point**2).sum()
        (gradient,) = torch.autograd.grad(total, point)
        for k in free:
            own = float(c[k]) * gradient
            velocity[k] = own if velocity[k] is None else momentum * velocity[k] + own
            vectors[k] = vectors[k] - lr * rate(step, len(batches)) * velocity[k]
    return vectors


def _between(a, b, t):
    return [(1 - t) * u + t * v for u, v in zip(a, b, strict=True)]
