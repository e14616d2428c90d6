"""Random streams of a stretch of work, which leave the global ones as they were."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_LOCK = threading.RLock()


@contextmanager
def seed_scope(seed: int, device: torch.device | str | None = "cpu") -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and restore them on leaving.

    Initialisation, dropout and loaders draw from them. A lock keeps threads out of each other's stream.

    Parameters
    ----------
    seed : int
        Non-negative.
    device : str or torch.device, default="cpu"
        What is computed on; the generators of GPUs are seed_scope and restored only where it is one of them.

    Yields
    ------
    None
        Nothing.
    """
    with _LOCK:
        kept, kept_by_python = np.random.get_state(), random.getstate()  # noqa: NPY002  augmentations draw from them
        kind = torch.device(device or "cpu").type
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if kind == "cuda" else []):
            (torch.default_generator if kind == "cpu" else torch).manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(int(seed))
            try:
                yield
            finally:
                np.random.set_state(kept)  # noqa: NPY002
                random.setstate(kept_by_python)
