"""Weights of members that are all alike for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def shares(weights: Sequence[float] | None, n_members: int, owner: str) -> np.ndarray:
    """Return weights that a user gave, divided by their sum; equal ones when omitted.

    Parameters
    ----------
    weights : sequence of float or None
        One a member.
    n_members : int
        How many members there are.
    owner : str
        Whose weights they are, for messages.

    Returns
    -------
    ndarray of shape (n_members,)
        Not negative; they sum to one.
    """
    if weights is None:
        return np.full(n_members, 1 / n_members)
    found = checked(weights, owner)
    if len(found) != n_members:
        raise ValueError(f"{owner} got {found.size} weights for {n_members} members; give one weight a member.")
    return found / found.sum()


def checked(weights: Sequence[float], owner: str) -> np.ndarray:
    """Return weights that a user gave as an array; raise where they can be no weights of any members."""
    found = np.asarray(weights, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all() or (found < 0).any() or found.sum() <= 0:
        raise ValueError(
            f"Weights must be finite, non-negative and not all zero, one weight a member; {owner} got {found.tolist()}."
        )
    return found


def check_number(weights: Sequence[float] | None, P: np.ndarray, owner: str) -> None:
    """Raise where a user gave weights for another number of members than there are predictions."""
    if weights is not None and len(P):
        shares(weights, len(P), owner)


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
    """Drop the zeros of a fitted combiner's ``weights_`` and return where the others stood."""
    kept = np.flatnonzero(combiner.weights_)
    combiner.weights_ = combiner.weights_[kept]
    return kept


def check_fitted(combiner: Any, attribute: str) -> None:
    """Raise where a combiner has not been fitted."""
    if not hasattr(combiner, attribute):
        raise ValueError(f"{type(combiner).__name__} must be fitted before it can combine: call fit(P, y, task) first.")


def check_members(combiner: Any, n_members: int, given: int) -> None:
    """Raise where predictions come from another number of members than in ``fit``."""
    if given != n_members:
        raise ValueError(
            f"{type(combiner).__name__} was fitted on {n_members} members and is given {given}; fit it again."
        )


def floating(P: np.ndarray) -> np.dtype:
    """Return the dtype of a mean of predictions: their own where it is one of real numbers, else float64."""
    return P.dtype if np.issubdtype(P.dtype, np.floating) else np.dtype(np.float64)
