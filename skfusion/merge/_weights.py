"""Numbers that are given for the members."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def shares(merger: str, weights: Sequence[float] | None, n: int) -> list[float]:
    """Return the weights of n members, which sum to one; equal where none are given."""
    numbers = [1.0] * n if weights is None else [float(w) for w in weights]
    total = math.fsum(numbers)
    if len(numbers) != n:
        raise ValueError(f"{merger} got {len(numbers)} weights for {n} members; give one weight a member.")
    if not all(math.isfinite(w) and w >= 0 for w in numbers) or total <= 0:
        raise ValueError(f"Weights must be finite, non-negative and not all zero; got {numbers}.")
    return [w / total for w in numbers]


def factors(merger: str, weights: float | Sequence[float] | None, n: int) -> list[float]:
    """Return the factors of the changes of n members, of any sign; all 1 where none are given."""
    numbers = one_each(merger, "finite weight", 1.0 if weights is None else weights, n)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{merger} needs a finite weight for each of {n} members; got {numbers}.")
    return numbers


def one_each(merger: str, name: str, values: float | Sequence[float], n: int) -> list[float]:
    """Return a number for each of n members, of which one for all may be given, or one for each."""
    numbers = [float(v) for v in values] if isinstance(values, Iterable) else [float(values)] * n
    if len(numbers) != n:
        raise ValueError(f"{merger} needs a {name} for each of {n} members; got {numbers}.")
    return numbers
