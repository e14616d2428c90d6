"""Run jobs by joblib, on whatever backend is active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from joblib import Parallel, effective_n_jobs
from joblib.parallel import get_active_backend


def in_order(jobs: Sequence[Any], n_jobs: int | None) -> Iterator[Any]:
    """Run calls made with ``joblib.delayed``, and yield their results in the order of the jobs.

    No more processes are asked for than there are jobs: joblib would start them all, 64 on a machine of so many cores.
    Each comes as soon as it and all before it are done, or all at the end where the backend cannot hand out results one
    by one, as those of ray and ``multiprocessing``.
    """
    # The backend is asked beforehand, as an error in a job could be mistaken for a refusal of the backend.
    backend, _ = get_active_backend()
    if effective_n_jobs(n_jobs) > max(2, len(jobs)):
        n_jobs = max(2, len(jobs))
    one_by_one = getattr(backend, "supports_return_generator", False)
    yield from Parallel(n_jobs=n_jobs, return_as="generator" if one_by_one else "list")(jobs)
