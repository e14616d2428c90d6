"""Fine-tunes of one network with different hyperparameters, for model soups (Wortsman et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.stats import loguniform
from sklearn.model_selection import ParameterGrid, ParameterSampler

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._in_turn import in_turn
from skfusion.collect._run_folder import RunFolder
from skfusion.collect._train_runs import Progress, train
from skfusion.collect.fine_tuning._init import start_and_split
from skfusion.nets import DivergedError, Run, VectorizeChoice
from skfusion.pool import Member, ModelPool


class Proposer(Protocol):
    """Proposes hyperparameters, one setting after another."""

    def ask(self) -> dict[str, Any]:
        """Return parameters of the net."""

    def tell(self, params: dict[str, Any], value: float) -> None:
        """Learn the result of a setting: its last validation loss (or training loss), lower is better."""


class Proposals(Protocol):
    """What :class:`FineTunes` takes in place of distributions; see :class:`skfusion.tuning.StudyProposals`."""

    def begin(self, seed: int) -> Proposer:
        """Return a proposer that knows nothing yet."""


@dataclass(eq=False, repr=False)
class FineTunes(Collector):
    """Train members from one start, each with other hyperparameters.

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
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start. A number trains the net for that many epochs on the same rows first. When omitted, a net
        with a module instance starts from its weights, and any other is trained first with its own parameters. A
        fitted net loses its weights in scikit-learn's ``clone``; wrap it in ``FrozenEstimator``.
    vectorize : {"auto", True, False}, default="auto"
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
    >>> tunes = FineTunes({"lr": [0.01, 0.003]}, n_members=2, init=2)
    >>> pool = tunes.collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> sorted(member.meta["params"]["lr"] for member in pool)
    [0.003, 0.01]
    """

    distributions: Mapping[str, Any] | Proposals | None = None
    n_members: int = 8
    init: Any = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None
    has_common_start = True
    uses_run_folder = True

    @property
    def follows_results(self) -> bool:
        """Whether settings are proposed one after another; see :class:`Collector`."""
        return hasattr(self.distributions, "begin")

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs from one start, with settings where they are drawn at once; see :meth:`Collector.runs`."""
        return self._runs_and_seed(net, rows, rng)[0]

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Train the members; see :meth:`Collector.__call__`."""
        if not self.follows_results:
            return super().__call__(net, rows, rng, n_jobs=n_jobs, progress=progress)
        runs, seed = self._runs_and_seed(net, rows, rng)
        return train_proposed(net, rows, runs, self.distributions.begin(seed), progress, self.run_folder)

    def _runs_and_seed(self, net: Any, rows: Rows, rng: np.random.RandomState) -> tuple[list[Run], int]:
        """Return the runs, with settings where they are drawn at once, and the seed of the settings."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        first, drawn = draw_seeds(rng, 2, "seeds")
        distributions = self.distributions
        if distributions is None:
            distributions = {"lr": loguniform(net.lr / 10, net.lr)}
        check_names(net, distributions)
        start, params = start_and_split(net, rows, self.init, first)
        runs = [Run(f"fine-tune-{i}", seed, state=start, params=params) for i, seed in enumerate(seeds)]
        if isinstance(distributions, Mapping):
            runs = [*map(with_setting, runs, sampled(distributions, self.n_members, drawn))]
        return runs, drawn

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4, "init": 1}
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
    settings: list[dict[str, Any]] = []
    while len(settings) < n:
        part = ParameterSampler(dict(distributions), min(at_once, n - len(settings)), random_state=seed + len(settings))
        settings += [{name: plain(value) for name, value in setting.items()} for setting in part]
    return settings


def plain(value: Any) -> Any:
    """Return a number of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def with_setting(run: Run, setting: dict[str, Any]) -> Run:
    """Return the run with hyperparameters; ``meta["params"]`` has the representation of what cannot stand in a file."""
    shown = {k: v if isinstance(v, (str, int, float, bool, type(None))) else repr(v) for k, v in setting.items()}
    return replace(run, params={**run.params, **setting}, meta={"params": shown, **run.meta})


def train_proposed(
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    proposer: Proposer,
    progress: Progress | None,
    folder: RunFolder | None = None,
) -> ModelPool:
    """Return the members of runs whose settings are proposed one by one, each after the former ones are trained."""
    members: list[Member] = []
    failures: list[DivergedError] = []
    base = runs[0].state
    with in_turn(progress, len(runs), members, base) as reported:
        for run in runs:
            setting = {name: plain(value) for name, value in proposer.ask().items()}
            check_names(net, setting)
            try:
                pool = train(net, rows, [with_setting(run, setting)], progress=reported, folder=folder)
            except DivergedError as error:
                failures.append(error)
                proposer.tell(setting, math.inf)
                continue
            members += pool
            last = pool[0].meta["history"][-1] if pool[0].meta["history"] else {}
            proposer.tell(setting, last.get("valid_loss", last.get("train_loss", math.nan)))
            if reported.stopped:
                break
    if failures:
        kept = ModelPool(members, base) if members else None
        raise DivergedError(" ".join(str(error) for error in failures), failures[0].epoch, kept)
    return ModelPool(members, base)
