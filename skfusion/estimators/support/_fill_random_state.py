"""One seed for all parts of an estimator that have none, and for the global generators while it runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from sklearn.base import BaseEstimator

from skfusion import nets


def seeded(estimator: Any, seed: int) -> Any:
    """Return the estimator with the seed in place of every ``random_state`` that is None."""
    free = [k for k, v in estimator.get_params().items() if k.split("__")[-1] == "random_state" and v is None]
    if free:  # a frozen estimator has no parameters that can be set
        estimator.set_params(**dict.fromkeys(free, seed))
    return estimator


def stream(estimator: Any, seed: int) -> AbstractContextManager[None]:
    """Seed the global generators while an estimator of any library runs that may draw from them, and restore them.

    Estimators of this library seed their own networks. One that holds such an estimator gets no seed here, as the
    threads in which it may train would wait for this one.
    """
    parts = [] if estimator is None else [estimator, *estimator.get_params().values()]
    if any(_is_own(part) for part in parts):
        return nullcontext()
    devices = [torch.device(part.device or "cpu") for part in parts if nets.is_net(part)]
    return nets.seed_scope(seed, next((device for device in devices if device.type == "cuda"), "cpu"))


def _is_own(part: Any) -> bool:
    kinds = type(part).__mro__ if isinstance(part, BaseEstimator) and not nets.is_net(part) else ()
    return any(kind.__module__.partition(".")[0] == "skfusion" for kind in kinds)
