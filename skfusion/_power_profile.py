"""Averages with weights that are a power of time: their length, and how much each part of a run counts."""

from __future__ import annotations

from numbers import Real

import numpy as np

LONGEST = 0.2887
"""Relative length of the plain mean, the longest average that there is: one over the root of 12, rounded."""


def exponent_of(sigma: float) -> float:
    """Return the exponent of the profile with a relative length, or raise ``ValueError`` where there is none."""
    if not isinstance(sigma, Real) or not 0 < sigma <= LONGEST:
        raise ValueError(
            f"sigma is the length of the average relative to the run, above 0 and at most {LONGEST} (the plain "
            f"mean); got {sigma!r}."
        )
    roots = np.roots([1, 7, 16 - sigma**-2, 12 - sigma**-2])
    return max(float(roots.real[np.abs(roots.imag) < 1e-6].max()), 0.0)


def shares_between(edges: np.ndarray, sigma: float, time: float) -> np.ndarray:
    """Return how much what lies between consecutive edges counts in the average after a time; they sum to one.

    With the edges 0, 1, 2, ... these are the weights of the states after each step.
    """
    shares: np.ndarray = np.diff(np.minimum(edges / time, 1.0) ** (exponent_of(sigma) + 1))
    return shares
