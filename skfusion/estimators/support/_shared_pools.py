"""Pools that several fusions of the same rows share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from skfusion._rows import Rows
from skfusion.pool import ModelPool


class SharedPools:
    """Pools by the fingerprint of what made them; each fusion is charged for the whole of its pools."""

    def __init__(self, known: SharedPools | None = None):
        self.pools: dict[str, tuple[ModelPool, float]] = {} if known is None else {**known.pools}  # with their seconds
        self.begin()

    def begin(self) -> None:
        """Charge the next fusion."""
        self.spent = self.charged = 0.0

    def get(self, key: str, collect: Callable[[], ModelPool]) -> ModelPool:
        """Return a pool, which is collected where it is unknown."""
        if key not in self.pools:
            start = time.perf_counter()
            pool = collect()
            self.pools[key] = pool, time.perf_counter() - start
            self.spent += self.pools[key][1]
        pool, seconds = self.pools[key]
        self.charged += seconds
        return pool

    def fair(self, seconds: float) -> float:
        """Return the time that the present fusion would have taken if no other had collected its pools before."""
        return seconds - self.spent + self.charged


def fit_on_shared(
    fusion: Any, rows: Rows, pools: SharedPools, hold_out: bool, start: float | None = None
) -> tuple[float, float]:
    """Fit a fusion on shared members; return the seconds of collecting, as if alone since ``start``, and of fusing."""
    start = time.perf_counter() if start is None else start
    pools.begin()
    pool = fusion._given_pool()
    if pool is None:
        collected = fusion._collect(rows, force_hold_out=hold_out, shared=pools)
        ready = time.perf_counter()
        fusion._fuse(collected)
    else:
        ready = time.perf_counter()
        fusion._fuse_pool(pool, rows, None)
    return pools.fair(ready - start), time.perf_counter() - ready
