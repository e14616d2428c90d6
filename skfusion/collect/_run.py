"""Train the runs of a collector: as stacks, in processes, or one after another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from joblib import delayed, effective_n_jobs
from sklearn.base import clone
from torch import nn

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion._vectorized import NotVectorizableError
from skfusion.collect._interrupt import hand_over
from skfusion.collect._recorders import EpochHook, Keeper, Result, once
from skfusion.nets import DivergedError, Job
from skfusion.pool import Member, ModelPool
from skfusion.state import State, copy

if TYPE_CHECKING:
    from skfusion.collect.trajectory._running_mean import RunningMean


class Progress(Protocol):
    """What a collector tells of its work, run by run."""

    def start(self, n_runs: int) -> None:
        """The work starts; it has that many runs."""

    def finish(self) -> None:
        """The work is done."""

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        """A run starts in this process; the result is called as ``hook(epoch, net)`` and may end the run."""

    def end(self, name: str, members: Sequence[Member]) -> bool:
        """A run is done; a true result asks for no further runs."""


@dataclass(frozen=True)
class Run:
    """One training run, of which one or more states are kept.

    Parameters
    ----------
    name : str
        Of the run; its members' names start with it.
    seed : int
        Of initialisation, shuffling and dropout.
    index : ndarray of int, optional
        Rows to train on; all when omitted.
    schedule : callable, optional
        Factor on the learning rate by step; see :func:`skfusion.nets.fit`.
    keep : tuple of int, optional
        Epochs (from 1) after which the state is kept; the last one when empty.
    meta : dict, optional
        Kept with each member.
    params : dict, optional
        Parameters of the net, such as ``lr``, that are this run's own.
    state : State, optional
        Where to start; a fresh initialisation when omitted.
    net : skorch net, optional
        Sized to the data, where the run has an architecture of its own. Its member's ``meta["own_net"]`` is true.
    average : callable, optional
        Makes the mean of states that is kept in place of the last one, in the process where the run is trained. Such a
        run cannot be stacked.
    """

    name: str
    seed: int
    index: np.ndarray | None = None
    schedule: Callable[[int, int], float] | None = None
    keep: tuple[int, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    state: State | None = None
    net: Any = None
    average: Callable[[], RunningMean] | None = None


def train(
    net: Any,
    rows: Rows,
    task: Task,
    runs: Sequence[Run],
    n_jobs: int | None = None,
    progress: Progress | None = None,
    stack: nets.VectorizeChoice = False,
    max_bytes: int | None = None,
) -> ModelPool:
    """Train the runs, stacked or one by one, in processes where ``n_jobs`` asks for some; return their members.

    Parameters
    ----------
    net : skorch net
        Sized to the data.
    rows : Rows
        Training data.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    runs : sequence of Run
        What to train.
    n_jobs : int, optional
        Processes.
    progress : Progress, optional
        Told of each run.
    stack : {"auto", True, False}, default=False
        Whether runs are trained as one stack.
    max_bytes : int, optional
        Memory for the stacks; half of what is free when omitted.

    Returns
    -------
    ModelPool
        The members.

    Raises
    ------
    DivergedError
        If a run diverged. All others are trained to their end and stand in the error's ``pool``.
    KeyboardInterrupt
        If the user interrupts; the members that are trained stand in its ``pool``.
    """
    members: list[Member] = []
    failures: list[DivergedError] = []
    base = copy(net.module.state_dict()) if isinstance(net.module, nn.Module) else None

    def known(run: Run, found: list[Member]) -> list[Member]:
        seen = rows.marks if run.index is None else np.unique(rows.marks[run.index])
        return [m.replace(rows=seen, net=run.net or net) for m in found]

    if progress is not None:
        progress.start(len(runs))
    results = _results(net, rows, task, runs, n_jobs, progress, stack, max_bytes)
    try:
        for run, (found, failure) in zip(runs, results, strict=False):
            members += (found := known(run, found))
            failures += [failure] if failure else []
            if progress is not None and progress.end(run.name, found):
                break
    except KeyboardInterrupt as stop:
        kept = getattr(stop, "kept", {})
        names = {m.name for m in members}
        also = [m for run in runs for m in known(run, kept.get(run.name, [])) if m.name not in names]
        hand_over(stop, [*members, *also], base)
        raise
    if progress is not None:
        progress.finish()
    if failures:
        kept = ModelPool(members, base) if members else None
        rest = (
            f" The {len(members)} other members are in this error's attribute pool, and can be fused: "
            "fuse(error.pool, X, y)."
        )
        message = " ".join(str(failure) for failure in failures) + (rest if members else "")
        raise DivergedError(message, failures[0].epoch, kept)
    return ModelPool(members, base)


def _results(
    net: Any,
    rows: Rows,
    task: Task,
    runs: Sequence[Run],
    n_jobs: int | None,
    progress: Progress | None,
    stack: nets.VectorizeChoice,
    max_bytes: int | None,
) -> Iterator[Result]:
    n_processes = effective_n_jobs(n_jobs)
    plan = nets.plan(net, task, [_job(rows, run) for run in runs], stack, max_bytes, n_processes)
    reasons = {None, plan.reason}  # each is told once
    if plan.reason:
        _warn(plan.reason, net, rows)
    ends = np.cumsum([0, *plan.sizes]).tolist()
    chunks = [runs[a:b] for a, b in pairwise(ends)]
    if n_processes == 1 or len(chunks) == 1:
        for chunk in chunks:
            epochs = [run.params.get("max_epochs", net.max_epochs) for run in chunk]
            hooks = [progress and progress.begin(run.name, n) for run, n in zip(chunk, epochs, strict=True)]
            found, reason = _train_chunk(net, rows, task, chunk, plan.vectorized, hooks)
            if reason not in reasons:
                _warn(reason, net, rows)
            reasons.add(reason)
            yield from found
        return
    jobs = [delayed(_train_chunk)(net, rows, task, chunk, plan.vectorized) for chunk in chunks]
    for found, reason in nets.in_order(jobs, plan.n_jobs or n_jobs):
        if reason not in reasons:
            _warn(reason, net, rows)
        reasons.add(reason)
        yield from found


def _warn(reason: str, net: Any, rows: Rows) -> None:
    names = nets.biases_without_effect(net, rows)
    more = (
        f" By more they differ through {', '.join(names)}: BatchNorm takes these biases away, so that their gradients "
        f"are rounding alone, of which {getattr(net.optimizer, '__name__', 'the optimizer')} makes full steps. Give "
        "their layers bias=False."
    )
    warnings.warn(
        f"The members are trained one after another and not as one stack: {reason}. Results are the same but for "
        f"rounding, which training can amplify; stack=False says that this is meant.{more if names else ''}",
        stacklevel=2,
    )


def _train_chunk(
    net: Any, rows: Rows, task: Task, runs: Sequence[Run], stacked: bool, hooks: Sequence[EpochHook | None] = ()
) -> tuple[list[Result], str | None]:
    """Train some runs in this process; the result of each, and why they were not stacked although they should be."""
    hooks = [hook and once(hook) for hook in hooks or [None] * len(runs)]
    keepers: list[Keeper] = []
    try:
        return _train_kept(net, rows, task, runs, stacked, hooks, keepers)
    except KeyboardInterrupt as stop:
        stop.kept = {keeper.run.name: keeper.members for keeper in keepers}  # type: ignore[attr-defined]
        raise


def _train_kept(
    net: Any,
    rows: Rows,
    task: Task,
    runs: Sequence[Run],
    stacked: bool,
    hooks: Sequence[EpochHook | None],
    keepers: list[Keeper],
) -> tuple[list[Result], str | None]:
    """Train some runs, and put what keeps their members into ``keepers`` as they begin."""
    reason = None
    if stacked and len(runs) > 1:
        keepers += [Keeper(run, hook) for run, hook in zip(runs, hooks, strict=True)]
        jobs = [_job(rows, run, keeper) for run, keeper in zip(runs, keepers, strict=True)]
        try:
            found = nets.fit_many(net, task, jobs)
            return [keeper.result(fitted) for keeper, fitted in zip(keepers, found, strict=True)], None
        except NotVectorizableError as error:
            reason = str(error)
        del jobs  # and what was kept of a stack that has failed
        keepers.clear()
    results = []
    for run, hook in zip(runs, hooks, strict=True):
        keepers.append(keeper := Keeper(run, hook))
        here = rows if run.index is None else rows.take(run.index)
        own = run.net or net
        own = clone(own).set_params(**run.params) if run.params else own
        try:
            watched = {"schedule": run.schedule, "on_epoch": keeper, "on_step": keeper.average}
            fitted = nets.fit(own, here, task, run.seed, state=run.state, **watched)
        except DivergedError as error:
            fitted = error
        results.append(keeper.result(fitted))
    return results, reason


def _job(rows: Rows, run: Run, on_epoch: EpochHook | None = None) -> Job:
    return Job(rows, run.seed, run.params, run.schedule, on_epoch, run.index, run.state)
