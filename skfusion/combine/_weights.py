"""Weights of members that are the same for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def shares(weights: Sequence[float] | None, n_members: int, owner: str) -> np.ndarray:
    """Return the weights of a user divided by their sum, or equal ones when omitted; ``owner`` is named in messages."""
    if weights is None:
        return np.full(n_members, 1 / n_members)
    array = checked(weights, owner)
    if len(array) != n_members:
        raise ValueError(f"{owner} got {array.size} weights for {n_members} members; give one weight a member.")
    return array / array.sum()


def checked(weights: Sequence[float], owner: str) -> np.ndarray:
    """Return the weights of a user as an array; raise where they are invalid for any number of members."""
    array = np.asarray(weights, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
        raise ValueError(
            f"Weights must be finite, non-negative and not all zero, one weight a member; {owner} got {array.tolist()}."
        )
    return array


def weighted_sum(weights: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Return the sum of predictions times weights, shape (n_samples, n_outputs); weights of zero are not read."""
    used = np.flatnonzero(weights)
    return np.tensordot(weights[used], P[used], axes=1).astype(floating(P), copy=False)


def learned_weights(combiner: Any, n_members: int) -> np.ndarray:
    """Return the ``weights_`` of a fitted combiner, which are as many as there are members."""
    check_fitted(combiner, "weights_")
    check_members(combiner, len(combiner.weights_), n_members)
    return combiner.weights_


def narrowed(combiner: Any) -> np.ndarray:
    """Drop the zeros of a fitted combiner's ``weights_``; return the positions of the others."""
    kept = np.flatnonzero(combiner.weights_)
    combiner.weights_ = combiner.weights_[kept]
    return kept


def check_fitted(combiner: Any, attribute: str) -> None:
    """Raise where a combiner has not been fitted."""
    if not hasattr(combiner, attribute):
        raise ValueError(f"{type(combiner).__name__} must be fitted before it can combine: call fit(P, y, task) first.")


def check_members(combiner: Any, n_members: int, n_given: int) -> None:
    """Raise where predictions come from another number of members than in ``fit``."""
    if n_given != n_members:
        raise ValueError(
            f"{type(combiner).__name__} was fitted on {n_members} members and is given {n_given}; fit it again."
        )


def floating(P: np.ndarray) -> np.dtype:
    """Return the dtype of a mean of predictions: their own where it is one of real numbers, else float64."""
    return P.dtype if np.issubdtype(P.dtype, np.floating) else np.dtype(np.float64)
