"""Means of directions in coordinates: the arc of two, and small steps downhill for many."""

import math

import torch


def arc(a, b, t):
    """Return the point of the arc from a to b at the share t of its angle, with the length on the line."""
    u, v = a / a.norm(), b / b.norm()
    angle = math.acos(float(u @ v))
    point = (math.sin((1 - t) * angle) * u + math.sin(t * angle) * v) / math.sin(angle)
    return point * ((1 - t) * a.norm() + t * b.norm())


def spherical_mean(vectors, weights, n_steps=2000):
    """Return the direction of least weighted sum of squared angles, with the mean length."""
    units = [v / v.norm() for v in vectors]
    x = units[0]
    for _ in range(n_steps):
        step = torch.zeros_like(x)
        for w, u in zip(weights, units, strict=True):
            angle = math.acos(max(-1.0, min(1.0, float(x @ u))))
            across = u - (x @ u) * x
            if angle > 1e-12:
                step += w * angle * across / across.norm()
        x = x + 0.3 * step
        x = x / x.norm()
    return x * sum(w * v.norm() for w, v in zip(weights, vectors, strict=True))
