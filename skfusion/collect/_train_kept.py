"""Train the runs whose members are not in a folder yet, and read those of the others.

Whoever trains a run puts its members into the folder and hands back their names, so that neither members nor data
travel between processes: see :mod:`skfusion.collect._by_path` for the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from joblib import delayed, effective_n_jobs

from skfusion import nets
from skfusion._keys import distinct
from skfusion._rows import Rows
from skfusion.collect._run_folder import RunFolder, keys_of
from skfusion.nets import DivergedError, EpochHook, Run
from skfusion.pool import Member

AT_A_TIME = 32
"""Members that are trained as one on a CPU at most: more are no faster, and a process that dies would lose them all."""

Result = tuple[list[Member], DivergedError | None]
TrainChunk = Callable[..., tuple[list[Result], str | None]]
Outcome = tuple[list[str], list[Member], DivergedError | None]
"""What has become of a run: names of members in the folder, members that are not kept, or why there are none."""


@dataclass(frozen=True, eq=False)
class Keeping:
    """Where the members of runs are kept, by which keys, and how the runs are trained."""

    folder: RunFolder
    train_chunk: TrainChunk
    keys: dict[str, str]
    net: Any
    rows: Rows

    def of(self, runs: Sequence[Run]) -> Keeping:
        """Return the same with the keys of some runs, as it travels with these."""
        return replace(self, keys={run.name: self.keys[run.name] for run in runs if run.name in self.keys})


def train_kept(
    folder: RunFolder,
    train_chunk: TrainChunk,
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    *,
    vectorize: nets.VectorizeChoice,
    max_bytes: int | None,
    n_jobs: int | None,
    progress: Any,
) -> Iterator[tuple[list[Result], str | None]]:
    """Iterate over what becomes of runs, in their order, and why they were not vectorized although they should be.

    ``train_chunk(net, rows, runs, vectorized, progress)`` trains some of them in the process where it is called.
    """
    keys, complete = keys_of(net, rows, runs), folder.complete()
    failed = {run.name: folder.failure(keys[run.name]) for run in runs if keys[run.name] not in complete}
    missing = [run for run in runs if run.name in failed and failed[run.name] is None]
    trained: dict[str, Outcome] = {}
    keeping = Keeping(folder, train_chunk, {run.name: keys[run.name] for run in missing}, net, rows)
    waiting = _trained(keeping, runs, missing, vectorize, max_bytes, n_jobs, progress)
    for run in runs:
        if run.name in failed and failed[run.name] is None:
            while run.name not in trained:
                with _to_be_continued(folder, keys):
                    outcomes, reason = next(waiting)
                trained.update(outcomes)
                yield [], reason
            names, members, failure = trained.pop(run.name)
        else:
            names, members, failure = complete.get(keys[run.name], []), [], failed.get(run.name)
        yield [([*folder.read(names, run), *members], failure)], None
    waiting.close()


def _trained(
    keeping: Keeping,
    runs: Sequence[Run],
    missing: list[Run],
    vectorize: nets.VectorizeChoice,
    max_bytes: int | None,
    n_jobs: int | None,
    progress: Any,
) -> Iterator[tuple[dict[str, Outcome], str | None]]:
    """Iterate over what becomes of the missing runs, some at a time, by their names."""
    if not missing:
        return
    n_processes = effective_n_jobs(n_jobs)
    plan = nets.plan(keeping.net, keeping.rows, runs, vectorize, max_bytes, n_processes)  # of all, as if none was there
    yield {}, plan.reason
    todo, sizes = missing, [1] * len(missing)
    if plan.vectorized:
        if len(missing) == 1:  # with another one, as a run that is trained alone is not the same to the last bit
            todo = [missing[0], next(run for run in runs if run is not missing[0])]
        plan = nets.plan(keeping.net, keeping.rows, todo, True, max_bytes, n_processes)
        sizes = _at_most(AT_A_TIME if plan.vectorized and not _on_gpu(keeping.net) else len(todo), plan.sizes)
    chunks = [todo[a:b] for a, b in pairwise(np.cumsum([0, *sizes]))]
    if n_processes > 1 and len(chunks) > 1:
        ready = [[replace(run, state=keeping.folder.travelling(run.state)) for run in chunk] for chunk in chunks]
        jobs = [delayed(_keep_elsewhere)(keeping.of(chunk), chunk, plan.vectorized) for chunk in ready]
        done = nets.in_order(jobs, plan.n_jobs or n_jobs)
    else:
        done = (_keep_chunk(keeping, chunk, plan.vectorized, progress) for chunk in chunks)
    yield from done


def _at_most(largest: int, sizes: Sequence[int]) -> list[int]:
    """Return sizes of which none is larger, for as many runs in all."""
    parts = []
    for size in sizes:
        n = math.ceil(size / largest)
        parts += [size // n + (i < size % n) for i in range(n)]
    return parts


def _on_gpu(net: Any) -> bool:
    return str(net.device or "cpu").startswith("cuda")


def _keep_chunk(
    keeping: Keeping,
    runs: Sequence[Run],
    vectorized: bool,
    progress: Any,
) -> tuple[dict[str, Outcome], str | None]:
    """Train some runs in this process and keep the members of those that have a key.

    Those of a run that was ended on purpose are not kept.
    """
    watched, keys, rows = _Ended(progress), keeping.keys, keeping.rows
    results, reason = keeping.train_chunk(keeping.net, rows, runs, vectorized, watched)
    outcomes: dict[str, Outcome] = {}
    for run, (members, failure) in zip(runs, results, strict=True):
        if run.name not in keys:  # it is there, perhaps in use, and was trained for company only
            continue
        if run.name in watched.ended:
            outcomes[run.name] = [], members, failure
            continue
        marks = rows.marks if run.index is None else distinct(rows.marks[run.index])
        names = keeping.folder.put(keys[run.name], run, [m.replace(rows=marks) for m in members], failure)
        outcomes[run.name] = names, [], failure
    return outcomes, reason


def _keep_elsewhere(
    keeping: Keeping,
    runs: Sequence[Run],
    vectorized: bool,
) -> tuple[dict[str, Outcome], str | None]:
    """Keep some runs in a worker; a task that a scheduler starts again, as its end is lost, may have kept them."""
    complete, keys = keeping.folder.complete(), keeping.keys
    asked = [run.name for run in runs if run.name in keys]
    if all(keys[name] in complete for name in asked):
        return {name: (complete[keys[name]], [], None) for name in asked}, None
    with of_runs(runs):
        return _keep_chunk(keeping, runs, vectorized, None)


@contextmanager
def _to_be_continued(folder: RunFolder, keys: dict[str, str]) -> Iterator[None]:
    """Add to an error, such as that of a worker that has died, what is kept."""
    try:
        yield
    except Exception as error:
        n_kept = len(folder.complete().keys() & {*keys.values()})
        error.add_note(
            f"{n_kept} of {len(keys)} runs are kept in {folder.path}: the same call continues with the rest."
        )
        raise


@contextmanager
def of_runs(runs: Sequence[Run]) -> Iterator[None]:
    """Add to an error in a worker in the training of which runs it happened."""
    try:
        yield
    except Exception as error:
        names = f"{runs[0].name!r}" if len(runs) == 1 else f"one of {runs[0].name!r} to {runs[-1].name!r}"
        error.add_note(f"This happened in a worker, in the training of {names}.")
        raise


class _Ended:
    """Progress of runs in one process, which remembers those that were ended on purpose."""

    def __init__(self, progress: Any):
        self.progress = progress
        self.ended: set[str] = set()

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        hook = None if self.progress is None else self.progress.begin(name, n_epochs)
        if hook is None:
            return None

        def watched(epoch: int, net: Any) -> bool:
            ended = bool(hook(epoch, net))
            if ended:
                self.ended.add(name)
            return ended

        return watched
