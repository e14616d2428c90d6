"""Logarithms of probabilities, and back."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from skfusion._rows import Task
from skfusion.combine._weights import floating


def logs(P: np.ndarray, task: Task) -> np.ndarray:
    """Return log-probabilities of classes, or log-odds of labels, in float64.

    Probabilities are kept a rounding error away from 0 (and, of labels, from 1), so that no member can rule anything
    out for good.
    """
    smallest = float(np.finfo(floating(P)).eps)
    P = P.astype(np.float64)
    if task == "multilabel":
        P = P.clip(smallest, 1 - smallest)
        return np.log(P) - np.log1p(-P)
    return np.log(np.maximum(P, smallest))


def from_logs(z: np.ndarray, task: Task) -> np.ndarray:
    """Return the probabilities of classes or labels that have such log-probabilities, up to a constant, or log-odds."""
    if task == "multilabel":
        return expit(z)
    return softmax(z, axis=-1)
