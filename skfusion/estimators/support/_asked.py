"""Members that are asked one by one, each for some of the rows, as a cascade asks them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from skfusion._rows import n_rows_of, rows_at

Ask = Callable[[int, np.ndarray], np.ndarray]
"""Gives the predictions of a member for the rows at some positions."""


def asking(predict: Callable[[int, Any], np.ndarray], X: Any) -> Ask:
    """Return what asks a member for some rows of X, which are not copied where they are all."""
    n = n_rows_of(X)
    return lambda k, rows: predict(k, X if len(rows) == n else rows_at(X, rows))


def milliseconds(ask: Ask, n_members: int, n_samples: int) -> np.ndarray:
    """Return the milliseconds that each member takes for 1,000 rows, the best of three times after one that warms up.

    Members predict up to 1,000 rows for it.
    """
    rows = np.arange(min(n_samples, 1000))

    def seconds(k: int) -> float:
        start = time.perf_counter()
        ask(k, rows)
        return time.perf_counter() - start

    return np.array([min([seconds(k) for _ in range(4)][1:]) for k in range(n_members)]) * 1e6 / len(rows)
