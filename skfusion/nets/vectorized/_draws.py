"""Forward passes that draw from global generators, which members that are trained together would share."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from skfusion._vectorized import NotVectorizableError


@contextmanager
def fast_and_without_draws(name: str, python: bool | None = None) -> Iterator[None]:
    """Raise where ``vmap`` has no fast kernel for a step, and where :func:`without_draws` raises."""
    with warnings.catch_warnings(), without_draws(name, python):
        warnings.filterwarnings("error", "There is a performance drop")
        yield


@contextmanager
def without_draws(name: str, python: bool | None = None) -> Iterator[None]:
    """Raise where a forward pass has drawn from a global generator, which all members would share.

    Python's own is looked at where ``python`` says so, or else where there is no other thread: those of Dask draw from
    it at any time. In the first batch, what a member has drawn alone too is not of another thread.
    """
    python = is_only_thread() if python is None else python
    before = _random_states(python)
    yield
    if _random_states(python) != before:
        raise NotVectorizableError(f"{name} draws random numbers in its forward pass")


def is_only_thread() -> bool:
    """Return whether no other thread of Python is there, which might draw at any time."""
    return threading.active_count() == 1


def _random_states(python: bool) -> tuple[Any, ...]:
    """Return the states of the random generators that a forward pass might draw from."""
    cuda = [torch.cuda.get_rng_state(i).tolist() for i in range(torch.cuda.device_count())]
    _, key, *place = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate() if python else None, key.tobytes(), place, cuda
