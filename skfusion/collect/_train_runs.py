"""How the runs of collectors are trained, and what is reported of them.

:func:`train` asks :func:`skfusion.nets.plan` whether runs are trained together, as one vectorized program with a member
axis, in several processes, or one after another. A recorder sees each run, and hands over its members.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, pairwise
from typing import Any

import numpy as np
from joblib import delayed, effective_n_jobs
from sklearn.base import clone
from torch import nn

from skfusion import nets
from skfusion._keys import distinct
from skfusion._rows import Rows
from skfusion._vectorized import NotVectorizableError
from skfusion.collect._run_folder import RunFolder
from skfusion.collect._train_kept import Result, of_runs, train_kept
from skfusion.nets import DivergedError, EpochHook, Run, Watch
from skfusion.pool import Member, ModelPool
from skfusion.state import State, copy

Chunks = Iterable[tuple[list[Result], str | None]]
"""What becomes of some runs at a time, and why they were not vectorized although they should be."""


class Progress:
    """What a collector reports of its work, run by run; this one ignores it."""

    def start(self, n_runs: int) -> None:
        """The work starts; it has that many runs."""

    def finish(self) -> None:
        """The work is done."""

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        """A run starts in this process; the result is called as ``hook(epoch, net)`` and may end the run."""
        return None

    def end(self, name: str, members: Sequence[Member]) -> bool:
        """A run is done; a true result asks for no further runs."""
        return False


def train(
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    vectorize: nets.VectorizeChoice = False,
    max_bytes: int | None = None,
    population: nets.Population | None = None,
    folder: RunFolder | None = None,
) -> ModelPool:
    """Train runs, and return their members; ``net`` is sized to the rows.

    With a ``population`` all runs take their steps together, in this process, and it acts on their weights. With a
    ``folder`` only runs are trained whose members are not there, and all are read from it.

    Raises DivergedError if a run diverged: all others are trained to their end and stand in the error's ``pool``. So do
    the members so far in that of a KeyboardInterrupt of the user.
    """
    progress, base = progress or Progress(), _common_start(net, runs)
    members, failures = list[Member](), list[DivergedError]()
    several_nets = len({id(run.net or net) for run in runs}) > 1

    def completed(run: Run, kept: list[Member]) -> list[Member]:
        marks = rows.marks if run.index is None else distinct(rows.marks[run.index])
        meta = {"own_net": True} if several_nets and run.net is not None else {}  # which ensembles run the member in
        return [m.replace(rows=marks, net=m.net or run.net or net, meta={**meta, **m.meta}) for m in kept]

    progress.start(len(runs))
    try:
        if folder is None:
            plan = nets.plan(net, rows, runs, vectorize, max_bytes, effective_n_jobs(n_jobs))
            plan = plan if population is None else _undivided(plan)
            done = chain([([], plan.reason)], _trained(net, rows, runs, plan, n_jobs, progress, population))
        else:
            options = {"vectorize": vectorize, "max_bytes": max_bytes, "n_jobs": n_jobs, "progress": progress}
            done = train_kept(folder, _train_chunk, net, rows, runs, **options)
        results = _results(net, rows, done, population)
        for run, (kept, failure) in zip(runs, results, strict=False):
            members += (kept := completed(run, kept))
            failures += [failure] if failure else []
            if progress.end(run.name, kept):
                break
    except KeyboardInterrupt as stop:
        by_run = getattr(stop, "kept", {})
        names = {m.name for m in members}
        also = [m for run in runs for m in completed(run, by_run.get(run.name, [])) if m.name not in names]
        nets.hand_over(stop, [*members, *also], base)
        raise
    progress.finish()
    if failures:
        message = " ".join(map(str, failures))
        if members:
            others = f"The {len(members)} other members are in this error's attribute pool, and can be fused"
            message += f" {others}: fuse(error.pool, X, y)."
        raise DivergedError(message, failures[0].epoch, ModelPool(members, base) if members else None)
    return ModelPool(members, base)


def _common_start(net: Any, runs: Sequence[Run]) -> State | None:
    """Return the state from which all runs start, if there is one."""
    first = runs[0].state
    if first is not None and all(run.state is first for run in runs):
        return first
    return copy(net.module.state_dict()) if isinstance(net.module, nn.Module) else None


def _undivided(plan: nets.Plan) -> nets.Plan:
    """Return the plan for members that depend on each other, and are all in one task."""
    n, reason = sum(plan.sizes), plan.reason
    if plan.vectorized and len(plan.sizes) > 1:
        reason = f"all {n} must be trained as one, and max_bytes has room for {max(plan.sizes)} of them"
    return nets.Plan([n], plan.vectorized and len(plan.sizes) == 1, reason)


def _trained(
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    plan: nets.Plan,
    n_jobs: int | None,
    progress: Progress,
    population: nets.Population | None,
) -> Chunks:
    """Iterate over what becomes of runs, in their order."""
    chunks = [runs[a:b] for a, b in pairwise(np.cumsum([0, *plan.sizes]))]
    if effective_n_jobs(n_jobs) > 1 and len(chunks) > 1:
        jobs = [delayed(_train_elsewhere)(net, rows, chunk, plan.vectorized) for chunk in chunks]
        return nets.in_order(jobs, plan.n_jobs or n_jobs)
    given = () if population is None else (population,)
    return (_train_chunk(net, rows, chunk, plan.vectorized, progress, *given) for chunk in chunks)


def _results(net: Any, rows: Rows, done: Chunks, population: nets.Population | None) -> Iterator[Result]:
    """Iterate over what becomes of each run, in the order of the runs; warn once where they were not vectorized."""
    how = "one after another" if population is None else "in turn, a step each,"
    reported = set()
    for results, reason in done:
        if reason and reason not in reported:
            warnings.warn(nets.why_not_vectorized(reason, net, rows, how), stacklevel=2)
        reported.add(reason)
        yield from results


class _Training:
    """A run that is being trained in this process, with its recorder and the hook that may end it."""

    def __init__(self, run: Run, hook: EpochHook | None = None):
        self.run, self.hook = run, hook
        self.answers: dict[int, bool] = {}  # of the hook, which sees each epoch once, also of a run that begins again
        self.begin()

    def begin(self) -> None:
        self.recorder = self.run.recorder()
        self.watch = Watch(self.run.schedule, self.recorder, None if self.hook is None else self.on_epoch)
        self.stopped = False
        self.done: list[Member] | None = None

    def on_epoch(self, epoch: int, net: Any) -> bool:
        if epoch not in self.answers:
            self.answers[epoch] = bool(self.hook is not None and self.hook(epoch, net))
        self.stopped = self.answers[epoch]
        return self.stopped

    def members(self, fitted: Any = None) -> list[Member]:
        """Return the members of a fitted net, or, when it is interrupted, those so far."""
        if self.done is not None:
            return self.done
        meta = {**self.run.meta, "seed": self.run.seed}
        members = [m.replace(meta={**meta, **m.meta}) for m in self.recorder.members(self.run.name, fitted)]
        if fitted is not None:
            history = nets.history_of(fitted)
            members = [m.replace(meta={**m.meta, "history": history[: m.meta["epoch"]]}) for m in members]
            self.done = members
        return members

    def result(self, fitted: Any) -> Result:
        """Return the members of the run, or why there are none."""
        if isinstance(fitted, DivergedError):
            return [], DivergedError(f"Member {self.run.name!r} diverged: {fitted}", fitted.epoch)
        if not self.stopped:
            self.recorder.warn_if_incomplete(self.run.name)
        return self.members(fitted), None


@contextmanager
def _kept_on_interrupt(trainings: Sequence[_Training]) -> Iterator[None]:
    """Give an interrupt of the user the members of runs so far, by the names of the runs, as its ``kept``."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.kept = {}  # type: ignore[attr-defined]
        for training in trainings:
            with suppress(Exception):  # of a recorder, which may not hide that the user has interrupted
                stop.kept[training.run.name] = training.members()  # type: ignore[attr-defined]
        raise


def _train_chunk(
    net: Any, rows: Rows, runs: Sequence[Run], vectorized: bool, progress: Progress, *population: nets.Population
) -> tuple[list[Result], str | None]:
    """Train some runs in this process; return the results, and why they were not vectorized although they should be."""
    trainings = [_Training(r, progress.begin(r.name, r.params.get("max_epochs", net.max_epochs))) for r in runs]
    reason = None
    with _kept_on_interrupt(trainings):
        if vectorized and len(runs) > 1:
            try:
                fitted = nets.fit_many(net, rows, runs, [t.watch for t in trainings], *population)
                return [t.result(one) for t, one in zip(trainings, fitted, strict=True)], None
            except NotVectorizableError as error:
                reason = str(error)
            for training in trainings:
                training.begin()  # again, with a new recorder
        if population:
            fitted = nets.fit_in_turn(net, rows, runs, [t.watch for t in trainings], *population)
            return [t.result(one) for t, one in zip(trainings, fitted, strict=True)], reason
        return [t.result(_train_alone(t.run.net or net, rows, t.run, t.watch)) for t in trainings], reason


def _train_elsewhere(net: Any, rows: Rows, runs: Sequence[Run], vectorized: bool) -> tuple[list[Result], str | None]:
    """Train some runs in a worker, whose errors say of which runs they are."""
    with of_runs(runs):
        return _train_chunk(net, rows, runs, vectorized, Progress())


def _train_alone(net: Any, rows: Rows, run: Run, watch: Watch) -> Any:
    """Return the fitted net of a run, or its DivergedError."""
    net = clone(net).set_params(**run.params) if run.params else net
    try:
        return nets.fit(net, rows if run.index is None else rows.take(run.index), run.seed, watch, state=run.state)
    except DivergedError as error:
        return error
