"""The collector family: where members come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import is_regressor
from torch import nn

from skfusion import nets
from skfusion._component import Component
from skfusion.nets import DivergedError
from skfusion.pool import Member, ModelPool
from skfusion.rows import Inputs, Rows, Task
from skfusion.state import copy

EpochHook = Callable[[int, Any], bool | None]


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


class Collector(Component, ABC):
    """Produce the members of a pool, usually by training them."""

    @abstractmethod
    def __call__(
        self,
        net: Any,
        X: Inputs,
        y: np.ndarray,
        rng: np.random.RandomState,
        *,
        sample_weight: np.ndarray | None = None,
        task: Task | None = None,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Collect members.

        Parameters
        ----------
        net : skorch net
            Not changed and not fitted.
        X : ndarray or dict of ndarray
            Inputs; the first axis counts samples.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class codes from 0, indicators, or values (always with an axis of outputs).
        rng : numpy.random.RandomState
            Where seeds are drawn from.
        sample_weight : ndarray of shape (n_samples,), optional
            Weights of the rows.
        task : {"classification", "multilabel", "regression"}, optional
            What the targets are; told by the net when omitted.
        n_jobs : int, optional
            Runs at a time, by joblib; members do not depend on it.
        progress : Progress, optional
            Told of each run.

        Returns
        -------
        ModelPool
            At least one member, with unique names.
        """


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
    """

    name: str
    seed: int
    index: np.ndarray | None = None
    schedule: Callable[[int, int], float] | None = None
    keep: tuple[int, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)


def draw_seeds(rng: np.random.RandomState, n: int, what: str) -> list[int]:
    """Return n seeds; ``what`` names the parameter that gave n."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{what} must be at least 1: a pool needs a member, and a whole number of them; got {n!r}.")
    return [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=n)]


def prepared(
    net: Any, X: Inputs, y: np.ndarray, sample_weight: np.ndarray | None, task: Task | None
) -> tuple[Any, Rows, Task]:
    """Return the net sized to the data, the data as rows, and the task."""
    y = np.asarray(y)
    if task is None:
        task = "regression" if is_regressor(net) else "multilabel" if y.ndim == 2 else "classification"
    if task == "regression" and y.ndim == 1:
        y = y[:, None]
    n_outputs = int(y.max()) + 1 if task == "classification" else y.shape[1]
    classes = getattr(net, "classes", None)
    if task == "classification" and classes is not None:
        n_outputs = max(n_outputs, len(classes))
    given = None if nets.is_net(net) is False else net.get_params(deep=False).get("module__n_out")
    if task == "classification" and given is not None:
        n_outputs = max(n_outputs, int(given))
    rows = Rows(X, y, sample_weight)
    return nets.sized(net, rows, task, n_outputs), rows, task


def train(
    net: Any,
    rows: Rows,
    task: Task,
    runs: Sequence[Run],
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> ModelPool:
    """Train the runs, in processes where ``n_jobs`` asks for some, and return their members in order.

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
        Runs at a time.
    progress : Progress, optional
        Told of each run.

    Returns
    -------
    ModelPool
        The members.

    Raises
    ------
    DivergedError
        If a run diverged. All others are trained to their end and stand in the error's ``pool``.
    """
    members: list[Member] = []
    failures: list[DivergedError] = []
    if progress is not None:
        progress.start(len(runs))
    for run, (found, failure) in zip(runs, _results(net, rows, task, runs, n_jobs, progress), strict=False):
        seen = rows.keys if run.index is None else np.unique(rows.keys[run.index])
        found = [m.replace(rows=seen, net=net) for m in found]
        members += found
        failures += [failure] if failure else []
        if progress is not None and progress.end(run.name, found):
            break
    if progress is not None:
        progress.finish()
    base = copy(net.module.state_dict()) if isinstance(net.module, nn.Module) else None
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
    net: Any, rows: Rows, task: Task, runs: Sequence[Run], n_jobs: int | None, progress: Progress | None
) -> Iterator[tuple[list[Member], DivergedError | None]]:
    parallel = Parallel(n_jobs=n_jobs)
    if parallel.n_jobs == 1 or len(runs) == 1:
        for run in runs:
            hook = None if progress is None else progress.begin(run.name, net.max_epochs)
            yield _train_run(net, rows, task, run, hook)
        return
    jobs = [delayed(_train_run)(net, rows, task, run) for run in runs]
    try:
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    except (ValueError, NotImplementedError) as error:
        if "return_as" not in str(error) and "generator" not in str(error):
            raise
        yield from Parallel(n_jobs=n_jobs)(jobs)  # a backend without generators


def _train_run(
    net: Any, rows: Rows, task: Task, run: Run, hook: EpochHook | None = None
) -> tuple[list[Member], DivergedError | None]:
    here = rows if run.index is None else rows.take(run.index)
    kept: list[Member] = []

    def on_epoch(epoch: int, fitted: Any) -> bool:
        if epoch in run.keep:
            kept.append(Member(f"{run.name}-epoch-{epoch}", nets.state_of(fitted), meta={**run.meta, "epoch": epoch}))
        return bool(hook is not None and hook(epoch, fitted))

    meta = {**run.meta, "seed": run.seed}
    try:
        fitted = nets.fit(net, here, task, run.seed, schedule=run.schedule, on_epoch=on_epoch)
    except DivergedError as error:
        return [], DivergedError(f"Member {run.name!r} diverged: {error}", error.epoch)
    history = nets.history_of(fitted)
    if not kept:
        kept = [Member(run.name, nets.state_of(fitted), meta={"epoch": len(history)})]
    return [m.replace(meta={**meta, **m.meta, "history": history[: m.meta["epoch"]]}) for m in kept], None
