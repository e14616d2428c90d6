"""Fine-tunes of one network with unlike hyperparameters (Wortsman et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.stats import loguniform
from sklearn.model_selection import ParameterGrid, ParameterSampler

from skfusion._rows import Inputs, Rows, Task
from skfusion.collect._base import Collector, draw_seeds, prepared
from skfusion.collect._interrupt import hand_over
from skfusion.collect._recorders import EpochHook
from skfusion.collect._run import Progress, Run, train
from skfusion.collect.fine_tuning._init import start_and_split
from skfusion.nets import DivergedError, VectorizeChoice
from skfusion.pool import Member, ModelPool
from skfusion.state import State


class Proposer(Protocol):
    """Proposes hyperparameters, one setting after another."""

    def ask(self) -> dict[str, Any]:
        """Return parameters of the net."""

    def tell(self, params: dict[str, Any], value: float) -> None:
        """Take notice of what came of a setting: its last validation loss (or training loss), lower is better."""


class Proposals(Protocol):
    """What :class:`FineTunes` takes in place of distributions; see :class:`skfusion.tuning.StudyProposals`."""

    def begin(self, seed: int) -> Proposer:
        """Return a proposer that knows nothing yet."""


class FineTunes(Collector):
    """Train members from one start, each with hyperparameters of its own.

    Members that share a start often lie in one basin, where the mean of their weights is a good network.

    Parameters
    ----------
    distributions : dict or Proposals, optional
        What the net's parameters are drawn from, as in ``RandomizedSearchCV``: lists, or distributions with ``rvs``,
        by names such as ``lr``, ``max_epochs``, ``optimizer__weight_decay``, ``module__dropout`` or
        ``iterator_train__collate_fn`` (augmentation). Or an object that proposes settings one after another, such as
        :class:`skfusion.tuning.StudyProposals`. When omitted, ``lr`` is drawn log-uniformly from a tenth of the net's
        own to its own.
    n_members : int, default=8
        Networks to train. Where all distributions are lists, settings repeat only when all have been drawn; seeds
        differ in any case.
    start : int, State, Member, fitted net or FrozenEstimator, optional
        The common start. A number trains the net for that many epochs on the same rows first. When omitted, a net
        with a module instance starts from its weights, and any other is trained first with its own parameters. A
        fitted net loses its weights in scikit-learn's ``clone``; wrap it in ``FrozenEstimator``.
    stack : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis, where only parameters of the optimiser and the
        learning rate are drawn; one after another otherwise. True says why that is not possible.
    max_bytes : int, optional
        Memory for members that are trained together; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_members`` trainings, and one more where the start is trained. The start is the pool's ``base``; the
    settings stand in each member's ``meta["params"]``. Proposals are asked for and trained one by one, whatever
    ``n_jobs`` says. Uniform and greedy soups of such a pool are model soups, and DiWA; see the guide for the recipes
    of other papers.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482. Rame et al., "Diverse weight averaging for
    out-of-distribution generalization", NeurIPS 2022, arXiv:2205.09739.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import FineTunes
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> tunes = FineTunes({"lr": [0.01, 0.003]}, n_members=2, start=2)
    >>> pool = tunes(mlp_regressor(max_epochs=2), x, x**2, np.random.RandomState(0))
    >>> sorted(member.meta["params"]["lr"] for member in pool)
    [0.003, 0.01]
    """

    def __init__(
        self,
        distributions: Mapping[str, Any] | Proposals | None = None,
        n_members: int = 8,
        start: Any = None,
        stack: VectorizeChoice = "auto",
        max_bytes: int | None = None,
    ):
        self.distributions = distributions
        self.n_members = n_members
        self.start = start
        self.stack = stack
        self.max_bytes = max_bytes

    def has_base(self, net: Any) -> bool:
        """Return True: all members start from one state; see :meth:`Collector.has_base`."""
        return True

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
        groups: np.ndarray | None = None,
    ) -> ModelPool:
        """Train the members; see :meth:`Collector.__call__`."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        first, drawn = draw_seeds(rng, 2, "seeds")
        net, rows, task = prepared(net, X, y, sample_weight, task, groups)
        given = self.distributions
        if given is None:
            given = {"lr": loguniform(net.lr / 10, net.lr)}
        check_names(net, given)
        base, own = start_and_split(net, rows, task, self.start, first)
        if not isinstance(given, Mapping):
            return proposed(net, rows, task, given.begin(drawn), seeds, base, progress, own)
        settings = sampled(given, self.n_members, drawn)
        others = [name for name in given if name.partition("__")[0] not in ("lr", "optimizer")]
        stack = False if others and self.stack == "auto" else self.stack
        runs = [
            run_of(f"fine-tune-{i}", seed, params, base, own=own)
            for i, (seed, params) in enumerate(zip(seeds, settings, strict=True))
        ]
        try:
            pool = train(net, rows, task, runs, n_jobs, progress, stack, self.max_bytes)
        except (DivergedError, KeyboardInterrupt) as error:
            kept = getattr(error, "pool", None)
            error.pool = kept and kept.replace(base=base)  # type: ignore[union-attr]
            raise
        return pool.replace(base=base)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4, "start": 1}
        yield {"distributions": {"lr": [0.01, 0.001], "optimizer__weight_decay": [0.0, 0.1]}, "n_members": 3}


def check_names(net: Any, given: Mapping[str, Any] | Proposals, what: str = "distributions") -> None:
    """Raise where distributions are not what they should be, or name parameters that the net does not know."""
    if not isinstance(given, Mapping):
        if not hasattr(given, "begin"):
            raise TypeError(f"distributions must be a dict or proposals, such as StudyProposals; got {given!r}.")
        return
    known = net.get_params(deep=False)
    prefixes = {*getattr(net, "prefixes_", ()), "module", "criterion", "optimizer", "callbacks"}
    for name in given:
        if name not in known and name.partition("__")[0] not in prefixes:
            raise ValueError(
                f"{what} names {name!r}, which is no parameter of {type(net).__name__}. Parameters are such as "
                "lr, max_epochs, batch_size, optimizer__weight_decay or module__dropout."
            )


def sampled(distributions: Mapping[str, Any], n: int, seed: int) -> list[dict[str, Any]]:
    """Return n settings; where there are no more of them, they come again in another order."""
    listed = all(not hasattr(values, "rvs") for values in distributions.values())
    at_once = min(n, len(ParameterGrid(dict(distributions)))) if listed else n
    found: list[dict[str, Any]] = []
    while len(found) < n:
        part = ParameterSampler(dict(distributions), min(at_once, n - len(found)), random_state=seed + len(found))
        found += [{name: plain(value) for name, value in setting.items()} for setting in part]
    return found


def plain(value: Any) -> Any:
    """Return a number of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def run_of(
    name: str, seed: int, params: dict[str, Any], base: State | None = None, net: Any = None, own: Any = None
) -> Run:
    """Return the run of a setting; what cannot stand in a file is told by its representation, and ``own`` is not."""
    shown = {k: v if isinstance(v, (str, int, float, bool, type(None))) else repr(v) for k, v in params.items()}
    return Run(name, seed, params={**(own or {}), **params}, state=base, meta={"params": shown}, net=net)


def proposed(
    net: Any,
    rows: Rows,
    task: Task,
    proposer: Proposer,
    seeds: Sequence[int],
    base: State,
    progress: Progress | None,
    own: Mapping[str, Any],
) -> ModelPool:
    """Return the pool of settings that are proposed one by one, each after the former ones are trained."""
    members: list[Member] = []
    failures: list[DivergedError] = []
    told = None if progress is None else OneByOne(progress)
    if progress is not None:
        progress.start(len(seeds))
    for i, seed in enumerate(seeds):
        params = {name: plain(value) for name, value in proposer.ask().items()}
        check_names(net, params)
        try:
            run = run_of(f"fine-tune-{i}", seed, params, base, own=own)
            pool = train(net, rows, task, [run], progress=told)
        except DivergedError as error:
            failures.append(error)
            proposer.tell(params, math.inf)
            continue
        except KeyboardInterrupt as stop:
            hand_over(stop, members, base)
            raise
        members += pool
        last = pool[0].meta["history"][-1] if pool[0].meta["history"] else {}
        proposer.tell(params, last.get("valid_loss", last.get("train_loss", math.nan)))
        if told is not None and told.stopped:
            break
    if progress is not None:
        progress.finish()
    if failures:
        kept = ModelPool(members, base) if members else None
        raise DivergedError(" ".join(str(error) for error in failures), failures[0].epoch, kept)
    return ModelPool(members, base)


class OneByOne:
    """Tells of runs that are trained one call at a time as parts of one collection."""

    def __init__(self, progress: Progress):
        self.progress, self.stopped = progress, False

    def start(self, n_runs: int) -> None:
        """The whole has started already."""

    def finish(self) -> None:
        """The whole is not done yet."""

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        """A run starts."""
        return self.progress.begin(name, n_epochs)

    def end(self, name: str, members: Sequence[Member]) -> bool:
        """A run is done."""
        self.stopped = bool(self.progress.end(name, members))
        return self.stopped
