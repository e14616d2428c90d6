"""The fusions that ``skfusion compare`` knows by name, and the nets that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from scipy.stats import loguniform
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

import skfusion
from skfusion.cli._near import did_you_mean
from skfusion.cli._table import Data
from skfusion.collect import Bootstrap, FineTunes, Hyper, Seeds
from skfusion.combine import EnsembleSelection, Stack, Vote
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor, tabular_classifier, tabular_regressor
from skfusion.select import TopK

NETS = {
    "table": (tabular_classifier, tabular_regressor),
    "plain": (mlp_classifier, mlp_regressor),
}
ENCODED = {"table": "embedded by the networks", "plain": "one-hot encoded for the networks"}
"""What becomes of categories, by the net."""
ENSEMBLE = (skfusion.EnsembleClassifier, skfusion.EnsembleRegressor)


@dataclass(frozen=True)
class Choice:
    """A fusion by name."""

    says: str  # what it is, in one sentence
    parts: Callable[[Any, int], dict[str, Any]]  # ``parts(net, n_members)`` are the parameters
    kinds: tuple[type, type] = ENSEMBLE  # the classifier and the regressor
    regression: bool = True  # whether it can predict values
    of_nets: bool = True  # whether it is made of the net of the comparison, which needs its columns prepared
    extra: bool = False  # whether it is fitted only where it is named

    def build(self, net: Any, task: str, n_members: int) -> Any:
        """Return the unfitted estimator."""
        given = {"estimator": net} if self.of_nets else {}
        return self.kinds[task != "classification"](**{**given, **self.parts(net, n_members)})


def _settings(net: Any) -> dict[str, Any]:
    """Return what a search for better hyperparameters of a net draws from."""
    known = net.get_params()
    rate, decay, epochs = known["lr"], known["optimizer__weight_decay"], known["max_epochs"]
    return {
        "lr": loguniform(rate / 5, 5 * rate),
        "optimizer__weight_decay": loguniform(decay / 20, 5 * decay),
        "max_epochs": [max(1, epochs // 3), max(1, 2 * epochs // 3), epochs],
    }


def _with_boosting(net: Any, n: int) -> dict[str, Any]:
    """Return the members of a stack of networks and boosted trees."""
    boosting = HistGradientBoostingClassifier if is_classifier(net) else HistGradientBoostingRegressor
    nets = [(f"net-{i}", net) for i in range(max(1, n // 2))]
    return {"estimator": None, "estimators": [*nets, ("boosting", boosting(learning_rate=0.2, max_iter=30))], "cv": 3}


SOUP = (skfusion.SoupClassifier, skfusion.SoupRegressor)
AVERAGING = (skfusion.WeightAveragingClassifier, skfusion.WeightAveragingRegressor)
SNAPSHOT = (skfusion.SnapshotEnsembleClassifier, skfusion.SnapshotEnsembleRegressor)
FAST_GEOMETRIC = (skfusion.FastGeometricEnsembleClassifier, skfusion.FastGeometricEnsembleRegressor)
PORTFOLIO = (skfusion.PortfolioClassifier, skfusion.PortfolioRegressor)
FUSIONS = {
    "single": Choice("One network: what all others must beat.", lambda net, n: {"collect": Seeds(1)}),
    "uniform-soup": Choice(
        "One network with the mean weights of independent networks; expected to fail, as these lie in different "
        "valleys of the loss and their mean lies between.",
        lambda net, n: {"collect": Seeds(n), "merge": Uniform()},
        SOUP,
    ),
    "greedy-soup": Choice(
        "One network: the best member, averaged with each other one that does not lower the held-out score.",
        lambda net, n: {"collect": Seeds(n), "merge": Greedy()},
        SOUP,
        extra=True,
    ),
    "finetune-soup": Choice(
        "One network with the mean weights of fine-tunes, with different learning rates, of one start that has had a "
        "third of the epochs; as they lie in one valley, their weights can be averaged.",
        lambda net, n: {"collect": FineTunes(n_members=n, init=max(1, net.max_epochs // 3)), "merge": Uniform()},
        SOUP,
    ),
    "rebasin": Choice(
        "One network: the mean of two independent ones, after the hidden units of one were brought into the order of "
        "the other's (git re-basin).",
        lambda net, n: {},
        (skfusion.ReBasinMerger, skfusion.ReBasinMerger),
    ),
    "curve": Choice(
        "Many networks on a trained curve of low loss between two independent ones (mode connectivity); their "
        "predictions are averaged.",
        lambda net, n: {},
        (skfusion.CurveClassifier, skfusion.CurveRegressor),
    ),
    "swa": Choice(
        "One network with the mean weights of the last quarter of a single training (stochastic weight averaging).",
        lambda net, n: {},
        AVERAGING,
    ),
    "snapshot": Choice(
        "Many networks from a single training whose learning rate falls and starts again; their predictions are "
        "averaged.",
        lambda net, n: {"n_cycles": n},
        SNAPSHOT,
    ),
    "fge": Choice(
        "Many networks from short cycles of the learning rate at the end of a single training; their predictions are "
        "averaged (fast geometric ensembling).",
        lambda net, n: {"n_members": n},
        FAST_GEOMETRIC,
        extra=True,
    ),
    "ensemble": Choice(
        "Many independent networks, whose predictions are averaged (deep ensemble).",
        lambda net, n: {"collect": Seeds(n)},
    ),
    "selection": Choice(
        "Many independent networks, averaged with the weights that greedy selection on held-out rows gives them; some "
        "have none.",
        lambda net, n: {"collect": Seeds(n), "combine": EnsembleSelection()},
        extra=True,
    ),
    "vote": Choice(
        "Many independent networks, each with one vote for a class.",
        lambda net, n: {"collect": Seeds(n), "combine": Vote()},
        regression=False,
        extra=True,
    ),
    "bagging": Choice(
        "Many networks, each trained on rows drawn with replacement; their predictions are averaged.",
        lambda net, n: {"collect": Bootstrap(n)},
    ),
    "boosting": Choice(
        "Many networks trained one after another, each on what those before it get wrong, with a weighted vote or "
        "median.",
        lambda net, n: {"n_members": n},
        (skfusion.BoostingFusion, skfusion.BoostingFusion),
        extra=True,
    ),
    "stack": Choice(
        "Many independent networks and a linear model, fitted on out-of-fold predictions, that combines theirs.",
        lambda net, n: {"collect": Seeds(n), "combine": Stack()},
        extra=True,
    ),
    "boosted-stack": Choice(
        "Some networks and boosted trees, and a linear model, fitted on out-of-fold predictions, that combines theirs.",
        _with_boosting,
        (skfusion.StackingFusion, skfusion.StackingFusion),
    ),
    "tuned": Choice(
        "One network: the best on held-out rows of a random search among learning rates, weight decays and numbers of "
        "epochs, which trains two networks for each member of the others; its settings are trained again on all rows.",
        lambda net, n: {"collect": Hyper(_settings(net), n_members=2 * n), "select": TopK(1), "refit": True},
    ),
    "portfolio": Choice(
        "Networks, boosted trees, forests and linear models of configurations that were chosen on other tables, "
        "averaged with weights by ensemble selection; it prepares columns by itself, and takes minutes.",
        lambda net, n: {},
        PORTFOLIO,
        of_nets=False,
        extra=True,
    ),
}
EXTRA = [name for name, choice in FUSIONS.items() if choice.extra]
"""Fusions that are fitted only where they are named."""


def net_for(kind: str, dataset: Data, n_epochs: int | None) -> Any:
    """Return an unfitted net for the columns as :attr:`Data.prepare` or, for tables, :attr:`Data.codes` gives them."""
    if kind not in NETS:
        raise ValueError(f"Unknown --net {kind!r}; there are {', '.join(NETS)}.{did_you_mean(kind, NETS)}")
    categories = [] if dataset.typed is None or kind == "plain" else dataset.typed.categories_
    given: dict[str, Any] = {"module__categorical": [*range(len(categories))]} if categories else {}
    if n_epochs is not None:
        given["max_epochs"] = n_epochs
    return NETS[kind][dataset.task != "classification"](**given)


def prepared(estimator: Any, dataset: Data, net: str) -> Any:
    """Return an unfitted estimator that takes the rows of a dataset, by a pipeline where these are no numbers."""
    prepare = dataset.codes if net == "table" else dataset.prepare
    if isinstance(estimator, PORTFOLIO):  # which takes columns of all kinds
        prepare = None if prepare is None else "passthrough"
    return estimator if prepare is None else Pipeline([("prepare", prepare), ("fusion", estimator)])


def chosen(
    names: Sequence[str], net: Any, task: str, n_members: int, time_limit: float | None = None
) -> dict[str, Any]:
    """Return unfitted estimators by name, of all fusions that suit the task where no names are given.

    Those that have a limit of time get the given one.
    """
    suited = [name for name, choice in FUSIONS.items() if choice.regression or task == "classification"]
    if wrong := [name for name in names if name not in suited]:
        why = "is not for regression" if wrong[0] in FUSIONS else "is unknown"
        near = [] if wrong[0] in FUSIONS else _near(wrong[0], suited)
        meant = f"did you mean {' or '.join(near)}? All are" if near else "there are"
        raise ValueError(f"--fusion {wrong[0]} {why}; {meant} {', '.join(suited)}.")
    names = names or [name for name in suited if name not in EXTRA]
    fusions = {name: FUSIONS[name].build(net, task, n_members) for name in dict.fromkeys(names)}
    if time_limit is not None:
        _limit(fusions, time_limit)
    return fusions


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Return the names that are like one, or contain it."""
    name = name.lower()
    holding = [k for k in known if len(name) > 2 and name in k]
    return [*dict.fromkeys([*holding, *get_close_matches(name, known, 3, 0.6)])]


def _limit(fusions: dict[str, Any], seconds: float) -> None:
    """Set a limit of time where fusions have one; raise where none has."""
    if not seconds > 0:
        raise ValueError(f"--time-limit must be more than 0 seconds; got {seconds:g}.")
    limited = [estimator for name, estimator in fusions.items() if not FUSIONS[name].of_nets]
    if not limited:
        known = [name for name, choice in FUSIONS.items() if not choice.of_nets]
        raise ValueError(
            f"--time-limit is for {', '.join(known)}, which is not among the fusions asked for: leave it out, or add "
            f"--fusion {known[0]}. Of networks, --epochs and --members say how long they take."
        )
    for estimator in limited:
        estimator.set_params(time_limit=seconds)


def about_nets(net: str, dataset: Data, fusions: Collection[str], given: Sequence[str]) -> list[str]:
    """Return notes on what becomes of categories, and on options of networks where no fusion is made of the net.

    ``given`` are the options that the user gave.
    """
    notes, of_nets = [], any(FUSIONS[name].of_nets for name in fusions)
    if dataset.typed is not None and dataset.typed.categories_ and of_nets:
        notes.append(f"Categories are {ENCODED[net]}.")
    if not of_nets and given:
        do = "do" if len(given) > 1 else "does"
        notes.append(f"{' and '.join(given)} {do} not concern {', '.join(fusions)}, which has members of its own.")
    return notes
