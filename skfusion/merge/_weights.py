"""Weights that are given for the members."""

from __future__ import annotations

import math
from collections.abc import Sequence


def shares(asker: str, weights: Sequence[float] | None, n: int) -> list[float]:
    """Return the weights of n members, which sum to one; all alike where none are given."""
    given = [1.0] * n if weights is None else [float(w) for w in weights]
    total = math.fsum(given)
    if len(given) != n:
        raise ValueError(f"{asker} got {len(given)} weights for {n} members; give one weight a member.")
    if not all(math.isfinite(w) and w >= 0 for w in given) or total <= 0:
        raise ValueError(f"Weights must be finite, non-negative and not all zero; got {given}.")
    return [w / total for w in given]
