"""Hierarchical weight averaging: workers that are averaged online, and their means again offline (Gu et al., 2023)."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect._base import Progress
from skfusion.collect.populations._lock_step import (
    LockStepCollector,
    check_every,
    mean_of,
    runs_from_one_start,
    trained,
)
from skfusion.collect.trajectory._averages import recalibrated
from skfusion.nets import LastState, Population, Recorder, Run, Together, VectorizeChoice
from skfusion.pool import Member, ModelPool
from skfusion.state import State, copy, weighted_sum


@dataclass(eq=False, repr=False)
class HWA(LockStepCollector):
    r"""Train workers from one start, set them to their mean every H steps, and keep the latest of these means.

    .. math:: \bar\theta_i = \frac{1}{K} \sum_{k=1}^{K} \theta_k(iH), \qquad
        \theta_k(iH) \leftarrow \bar\theta_i

    The members are the last I of the :math:`\bar\theta_i`. With ``merge=Uniform()`` their mean is hierarchical weight
    averaging: online over workers, as in local SGD, and offline over time.

    Parameters
    ----------
    n_workers : int, default=2
        Networks that are trained, K. With 1 the members are checkpoints of one run, whose mean is LAWA, or SWA.
    last : int, default=10
        Means that are kept at most, I, those of the latest synchronisations. With 1 there is online averaging only.
    every : int, default=1
        Epochs or steps from one synchronisation to the next, H. More let workers differ more.
    unit : {"step", "epoch"}, default="epoch"
        What ``every`` counts.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start; see :class:`PAPA`.
    vectorize : {"auto", True, False}, default="auto"
        Train workers as one network with a member axis; see :class:`PAPA`.
    max_bytes : int, optional
        Memory for workers that are trained as one; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_workers`` trainings in one process, and ``last`` states. Workers differ in the order of the data and in
    dropout. They go on with the mean of their BatchNorm statistics; those of the members are estimated anew in the end,
    on the training rows. What optimisers keep is each worker's own. What happens where workers drop out is as in
    :class:`PAPA`.

    Where the run ends before the first synchronisation, the member is the mean of the workers at the end, with a
    warning, as there is where fewer than ``last`` means were kept. The ``meta["history"]`` of members is that of the
    first worker.

    References
    ----------
    Gu, Zhang, Jiang, Luo, Zhang, Cui and Li, "Hierarchical weight averaging for deep neural networks", IEEE
    Transactions on Neural Networks and Learning Systems, 2023, arXiv:2304.11519.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import HWA
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> HWA(2, last=3).collect(mlp_regressor(max_epochs=5), x, x**2).names
    ['hwa-epoch-3', 'hwa-epoch-4', 'hwa-epoch-5']
    """

    n_workers: int = 2
    last: int = 10
    every: int = 1
    unit: Literal["step", "epoch"] = "epoch"
    init: Any = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs of the workers; see :meth:`Collector.runs`."""
        runs = runs_from_one_start(net, rows, rng, "worker", self.n_workers, "n_workers", self.init)
        return [replace(run, recorder=Worker) for run in runs]

    def population(self, seed: int) -> Synchronised:
        """Return what synchronises workers; see :meth:`LockStepCollector.population`."""
        if self.unit not in ("step", "epoch"):
            raise ValueError(f"unit must be 'step' or 'epoch'; got {self.unit!r}.")
        check_every(self.every, self.unit)
        if not isinstance(self.last, Integral) or self.last < 1:
            raise ValueError(f"last is the number of means that are kept, at least 1; got {self.last!r}.")
        return Synchronised(self.every, self.unit, self.last)

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Train the workers, in this process whatever ``n_jobs`` is; see :meth:`Collector.__call__`."""
        means = self.population(0)
        runs = self.runs(net, rows, rng)
        (start,) = {id(run.state): run.state for run in runs}.values()
        known = Member("hwa", copy(start or {}), rows=rows.marks, net=net)
        try:
            workers = trained(self, net, rows, runs, means, progress)
        except KeyboardInterrupt as stop:
            nets.hand_over(stop, means.members(known), start)
            raise
        first = workers[0]
        known = known.replace(meta={k: v for k, v in first.meta.items() if k != "seed"})
        members = means.members(known)
        if len(members) < self.last:
            self._warn(len(members), means.n_steps)
        if not members:
            mean = weighted_sum(workers.states, [1 / len(workers)] * len(workers))
            members = [known.replace(name="hwa-end", state=mean)]
        if len(runs) > 1:  # the states of one worker have the statistics that its training gave them
            module = nets.Runner(net, nets.task_of(net, rows), rows).module
            members = [m.replace(state=recalibrated(net, rows, module, m.state)) for m in members]
        return ModelPool(members, start)

    def _warn(self, n: int, n_steps: int) -> None:
        remedy = "Train longer, or take a smaller every or last."
        many = f"Workers were synchronised {n} times, and last={self.last} means were to be kept. {remedy}"
        none = (
            f"Workers were never synchronised, with every={self.every} {self.unit}s in a run of {n_steps} steps: the "
            f"member is their mean at the end. {remedy}"
        )
        warnings.warn(many if n else none, stacklevel=3)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_workers": 4, "last": 2}
        yield {"n_workers": 2, "last": 3, "every": 2, "unit": "step"}


class Worker(Recorder):
    """Leaves the last state of a worker, which is no member: what callbacks make of it in the end would be lost."""

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the last state, of a run that has ended."""
        return LastState().members(name, net)


class Synchronised(Population):
    """Sets workers that have not diverged to their mean, and keeps the latest means."""

    def __init__(self, every: int, unit: str, last: int):
        self.every, self.unit, self.last = every, unit, last
        self.begin()

    def begin(self) -> None:
        self.means: deque[tuple[int, int, State]] = deque(maxlen=self.last)
        self.n_steps = 0

    def acts_after(self, step: int, steps_per_epoch: int, n_steps: int) -> bool:
        self.n_steps = step
        return step % (self.every * (steps_per_epoch if self.unit == "epoch" else 1)) == 0

    def act(self, together: Together) -> None:
        places = together.without_diverged()
        if not places:
            return
        for x in together.tensors:
            x[places] = mean_of(x, places)
        state = {name: t.detach().cpu().clone() for name, t in together.state_of(places[0]).items()}
        self.means.append((together.step, together.steps_per_epoch, state))

    def members(self, known: Member) -> list[Member]:
        """Return the means as members like ``known``, whose state says which tensors are tied."""
        members = []
        for step, steps_per_epoch, mean in self.means:
            epoch, state = -(-step // steps_per_epoch), copy(known.state)
            for name, t in mean.items():
                state[name].copy_(t)
            meta = {**known.meta, "epoch": epoch, "step": step}
            if "history" in meta:
                meta["history"] = meta["history"][:epoch]
            count = step if self.unit == "step" else epoch
            members.append(known.replace(name=f"hwa-{self.unit}-{count}", state=state, meta=meta))
        return members
