"""Run jobs by joblib, on whatever backend is active."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from joblib import Parallel
from joblib.parallel import get_active_backend


def in_order(jobs: Iterable[Any], n_jobs: int | None) -> Iterator[Any]:
    """Run calls made with ``joblib.delayed``, and yield their results in the order of the jobs.

    Each comes as soon as it and all before it are done, or all at the end where the backend cannot hand out results one
    by one, as those of ray and ``multiprocessing``.
    """
    # The backend is asked beforehand, as an error in a job could be mistaken for a refusal of the backend.
    backend, _ = get_active_backend()
    one_by_one = getattr(backend, "supports_return_generator", False)
    yield from Parallel(n_jobs=n_jobs, return_as="generator" if one_by_one else "list")(jobs)
