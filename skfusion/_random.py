"""Seeds: drawn for members, and of the global random generators within a scope, which leaves them as they were."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch

_LOCK = threading.RLock()


@contextmanager
def seed_scope(seed: int, device: torch.device | str | None = "cpu") -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and restore them on leaving.

    Initialisation, dropout and loaders draw from them; so do a user's augmentations. A lock keeps threads from drawing
    within each other's scope. The generators of GPUs are seeded and restored only where ``device`` is one of them.
    """
    with _LOCK:
        kept, kept_by_python = np.random.get_state(), random.getstate()  # noqa: NPY002
        kind = torch.device(device or "cpu").type
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if kind == "cuda" else []):
            seed_generators(seed, kind)
            try:
                yield
            finally:
                np.random.set_state(kept)  # noqa: NPY002
                random.setstate(kept_by_python)


class Draws:
    """The global generators as one of several has left them, who draw from them in turn within a :func:`seed_scope`."""

    def __init__(self, seed: int, device: torch.device | str | None = "cpu"):
        self.kind = torch.device(device or "cpu").type
        seed_generators(seed, self.kind)
        self._keep()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let the generators go on from where they were left."""
        on_cpu, on_gpu, of_numpy, of_python = self._kept
        torch.set_rng_state(on_cpu)
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
        try:
            yield
        finally:
            self._keep()

    def _keep(self) -> None:
        on_gpu = torch.cuda.get_rng_state_all() if self.kind == "cuda" else []
        self._kept = torch.get_rng_state(), on_gpu, np.random.get_state(), random.getstate()  # noqa: NPY002


def seed_generators(seed: int, kind: str) -> None:
    """Seed the global generators within a :func:`seed_scope`; those of GPUs only where ``kind`` is not the CPU.

    ``torch.manual_seed`` takes a tenth of a millisecond, as it notes where it was called for devices that are not used.
    """
    (torch.default_generator if kind == "cpu" else torch).manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(int(seed))


def draw_seeds(rng: np.random.RandomState, n: int, what: str) -> list[int]:
    """Return n seeds; ``what`` names the parameter that gave n."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{what} must be at least 1: a pool needs a member, and a whole number of them; got {n!r}.")
    return [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=n)]
