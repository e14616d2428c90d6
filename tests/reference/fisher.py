"""The diagonal Fisher information, by a backward pass for every row and every label that may come, and its merge."""

import itertools
import math

import torch


def outcomes(kind, z):
    """Yield the probability of each target and the target; for values, one step up or down, which has variance 1."""
    if kind == "categorical":
        yield from zip(z.softmax(0).tolist(), range(len(z)), strict=True)
    elif kind == "bernoulli":
        for y in itertools.product([0, 1], repeat=len(z)):
            yield math.prod(p if on else 1 - p for p, on in zip(z.sigmoid().tolist(), y, strict=True)), torch.tensor(y)
    else:
        for y in itertools.product([-1, 1], repeat=len(z)):
            yield 0.5 ** len(z), z.detach() + torch.tensor(y)


def log_prob(kind, z, y):
    """Return the log-probability of a target, up to a constant."""
    if kind == "categorical":
        return z.log_softmax(0)[y]
    if kind == "bernoulli":
        return (y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log()).sum()
    return -((z - y) ** 2).sum() / 2


def fisher(logits, parameters, n, kind="categorical", labels=None, weights=None):
    """Return the Fisher information of each tensor; ``logits(i)`` are those of row i, of n."""
    weights = [1.0] * n if weights is None else weights
    total = [torch.zeros_like(p) for p in parameters]
    for i, weight in enumerate(weights):
        z = logits(i)
        for p, y in outcomes(kind, z) if labels is None else [(1.0, labels[i])]:
            slopes = torch.autograd.grad(
                log_prob(kind, z, y), parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for t, slope in zip(total, slopes, strict=True):
                t += weight * p * slope**2
    return [t / sum(weights) for t in total]


def merge(vectors, fishers, weights, floor):
    """Return the mean of lists of numbers by the Fisher information, number by number."""
    merged = []
    for column, information in zip(zip(*vectors, strict=True), zip(*fishers, strict=True), strict=True):
        shares = [w * max(f, floor) for w, f in zip(weights, information, strict=True)]
        shares = shares if sum(shares) else weights
        merged.append(sum(s * v for s, v in zip(shares, column, strict=True)) / sum(shares))
    return merged
