"""What collectors of populations share: one start, one split, lock-step, and what becomes of members that drop out."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from torch import Tensor, nn

from skfusion import nets
from skfusion._numbers import is_finite
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._train_runs import Progress, train
from skfusion.collect.fine_tuning._fine_tunes import check_names, sampled, with_setting
from skfusion.collect.fine_tuning._init import common_start
from skfusion.nets import DivergedError, Population, Run
from skfusion.pool import ModelPool
from skfusion.state import State

_STEPS = ("max_epochs", "batch_size", "train_split")
"""Parameters of a net by which members would take other steps."""

Settings = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class LockStepCollector(Collector, ABC):
    """Train members from one start, step by step together, and let them act on each other.

    A collector defines :meth:`population`. Its members are ``n_members``, which ``init`` and ``params`` are given for,
    unless it defines :meth:`runs` by :func:`runs_from_one_start`.
    """

    has_common_start = True
    n_members: int
    params: Settings
    init: Any

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs from one start; see :meth:`Collector.runs`."""
        return runs_from_one_start(net, rows, rng, "papa", self.n_members, "n_members", self.init, self.params)

    @abstractmethod
    def population(self, seed: int) -> Population:
        """Return what members do to each other; raise where parameters are wrong."""

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Train the members, in this process whatever ``n_jobs`` is; see :meth:`Collector.__call__`."""
        self.population(0)  # which checks its parameters before anything is trained
        runs, (seed,) = self.runs(net, rows, rng), draw_seeds(rng, 1, "seeds")
        population = self.population(seed)
        pool = trained(self, net, rows, runs, population, progress)
        if len(runs) > 1 and not population.n_acts and getattr(self, "alpha", 0) < 1:  # with 1 they are to be apart
            warnings.warn(
                f"Members of {self!r} never met in {pool[0].meta['epoch']} epochs, and trained by themselves from one "
                "start. Train longer, or take a smaller every.",
                stacklevel=2,
            )
        return pool


class BetweenEpochs(Population):
    """Acts every few epochs, but not at the end, so that members differ there."""

    def __init__(self, every: int):
        self.every = every

    def acts_after(self, step: int, steps_per_epoch: int, n_steps: int) -> bool:
        return step % (self.every * steps_per_epoch) == 0 and step < n_steps


def trained(
    collector: Collector,
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    population: Population,
    progress: Progress | None,
) -> ModelPool:
    """Return the members at the end of their training; those that diverged are left out, with a warning."""
    options = {"vectorize": collector.vectorize, "max_bytes": collector.max_bytes}
    try:
        pool = train(net, rows, runs, progress=progress, population=population, **options)
    except DivergedError as error:
        if error.pool is None:
            raise
        pool = error.pool
        lost = [run.name for run in runs if run.name not in pool.names]
        _warn_of_diverged(lost, len(runs), f" in epoch {error.epoch}")
    finite = [m for m in pool if all(map(is_finite, m.state.values()))]
    if finite and len(finite) < len(pool):  # by the very last step, after which no loss was computed
        _warn_of_diverged([m.name for m in pool if m not in finite], len(runs), " in its last step")
        pool = pool.replace(finite)
    epochs = {m.name: m.meta["epoch"] for m in pool}
    if len({*epochs.values()}) > 1:
        shown = ", ".join(f"{name!r} after epoch {n}" for name, n in epochs.items() if n < max(epochs.values()))
        warnings.warn(
            f"Members of the population ended before others: {shown}. Such a member stays as it was then, and the "
            "others went on without it. Take the callback that ends them, such as EarlyStopping, from the net.",
            stacklevel=3,
        )
    return pool


def runs_from_one_start(
    net: Any, rows: Rows, rng: np.random.RandomState, name: str, n: int, what: str, init: Any, params: Settings = None
) -> list[Run]:
    """Return runs from one state, which hold out the same rows; ``what`` names the parameter that gave n.

    Members learn from each other, so that rows held out by one member may be trained on by none.
    """
    seeds = draw_seeds(rng, n, what)
    first, drawn = draw_seeds(rng, 2, "seeds")
    settings = settings_of(net, params, n, drawn)
    split = nets.fixed_split(net, rows, first)
    shared = {} if split is None else {"train_split": split}
    start = _start(clone(net).set_params(**shared) if shared else net, rows, init, first)
    runs = [Run(f"{name}-{i}", seed, state=start, params=shared) for i, seed in enumerate(seeds)]
    return runs if settings is None else [*map(with_setting, runs, settings)]


def settings_of(net: Any, params: Settings, n: int, seed: int) -> list[dict[str, Any]] | None:
    """Return the settings of n members, drawn from a dict or taken from a list; None where there are none."""
    if params is None:
        return None
    if not params or not (isinstance(params, Mapping) or all(isinstance(setting, Mapping) for setting in params)):
        raise ValueError(f"params must be a dict of lists and distributions, or a list of dicts; got {params!r}.")
    names = [*params] if isinstance(params, Mapping) else [name for setting in params for name in setting]
    check_names(net, dict.fromkeys(names), "params")
    if wrong := [name for name in names if name in _STEPS]:
        raise ValueError(f"Members of a population take the same steps, and params has {wrong[0]!r}: leave it out.")
    if isinstance(params, Mapping):
        return sampled(params, n, seed)
    return [dict(setting) for setting in islice(cycle(params), n)]


def check_every(every: Any, unit: str) -> None:
    """Raise where a number of steps or epochs is none."""
    if not isinstance(every, Integral) or every < 1:
        raise ValueError(f"every is a number of {unit}s, a whole one of at least 1; got {every!r}.")


def mean_of(x: Tensor, places: Sequence[int]) -> Tensor:  # x shape: (n_members, ...)
    """Return the mean of the members at some places."""
    return x.mean(0) if len(places) == len(x) else x[[*places]].mean(0)


def _start(net: Any, rows: Rows, init: Any, seed: int) -> State:
    """Return the state from which all members start: a fresh initialisation unless there is another."""
    if init is not None or isinstance(net.module, nn.Module):
        return common_start(net, rows, init, seed)
    with nets.seed_scope(seed, net.device):
        made = clone(net).set_params(verbose=0)
        nets.initialised(made, rows, keep_net=True)
        return nets.state_of(made)


def _warn_of_diverged(names: Sequence[str], n: int, when: str) -> None:
    warnings.warn(
        f"{len(names)} of {n} members diverged and are left out, of which {names[0]!r} is the first,{when}. The others "
        "were averaged without them from then on. Use a smaller learning rate, scale the inputs, or clip gradients.",
        stacklevel=4,
    )
