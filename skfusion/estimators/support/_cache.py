"""Pools that are kept between fits and fusions, by keys of all that made them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from skfusion._rows import Rows
from skfusion.nets import NoKey, fingerprint
from skfusion.pool import ModelPool


def fingerprint_or_warning(*things: Any) -> str | None:
    """Return the key of members that are to be kept, or warn and return None where there is none that is certain."""
    try:
        return fingerprint(*things)
    except NoKey as error:
        warnings.warn(
            "The members are trained anew and not kept for other fits and fusions, as it is not certain what they "
            f"depend on: {error}.",
            UserWarning,
            stacklevel=2,
        )
        return None


class SharedPools:
    """Pools by the fingerprint of what made them, with the seconds that this took."""

    def __init__(self, known: SharedPools | None = None):
        self.pools: dict[str, tuple[ModelPool, float]] = {} if known is None else {**known.pools}
        self.unpaid = 0.0

    def get(self, key: str, collect: Callable[[], ModelPool]) -> ModelPool:
        """Return a pool, which is collected where it is unknown; else its seconds are to be paid by who asked."""
        if key in self.pools:
            self.unpaid += self.pools[key][1]
        else:
            start = time.perf_counter()
            pool = collect()
            self.pools[key] = pool, time.perf_counter() - start
        return self.pools[key][0]


def fit_on_shared(
    fusion: Any, rows: Rows, pools: SharedPools, hold_out: bool, start: float | None = None
) -> tuple[float, float]:
    """Fit a fusion on shared members; return the seconds of collecting, as if alone since ``start``, and of fusing."""
    start = time.perf_counter() if start is None else start
    pools.unpaid = 0.0
    pool = fusion._given_pool()
    if pool is None:
        collected = fusion._collect(rows, force_hold_out=hold_out, shared=pools)
        ready = time.perf_counter()
        fusion._fuse(collected)
    else:
        ready = time.perf_counter()
        fusion._fuse_pool(pool, rows, None)
    return ready - start + pools.unpaid, time.perf_counter() - ready
