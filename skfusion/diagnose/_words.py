"""Numbers and names in words: the one formatter of numbers, for sentences, tables and drawings."""

from __future__ import annotations

import math
from collections.abc import Iterable


def number(x: float, digits: int = 3) -> str:
    """Return a number with so many digits after the point; "unknown" for NaN."""
    x = float(x)  # a number of NumPy would be rounded in another way
    if math.isnan(x):
        return "unknown"
    return f"{round(x, digits) + 0.0:,.{digits}f}" if abs(x) < 1e5 else f"{x:.3g}"


def span(values: Iterable[float]) -> str:
    """Return the range of numbers."""
    low, high = (number(f(values)) for f in (min, max))
    return low if low == high else f"{low} to {high}"


def begun(text: str) -> str:
    """Return a text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    quoted = [repr(n) for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
