"""Estimators of any library with a seed in every place that has none."""

from __future__ import annotations

from typing import Any


def seeded(estimator: Any, seed: int) -> Any:
    """Return the estimator with the seed in place of every ``random_state`` that is None."""
    free = [k for k, v in estimator.get_params().items() if k.split("__")[-1] == "random_state" and v is None]
    if free:  # a frozen estimator has no parameters that can be set
        estimator.set_params(**dict.fromkeys(free, seed))
    return estimator
