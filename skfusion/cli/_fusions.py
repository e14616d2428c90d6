"""The fusions that ``skfusion compare`` knows by name, and the nets that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

import skfusion
from skfusion.cli._table import Data
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import EnsembleSelection, Stack, Vote
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor, tabular_classifier, tabular_regressor

NETS = {
    "table": (tabular_classifier, tabular_regressor),
    "plain": (mlp_classifier, mlp_regressor),
}
ENSEMBLE = (skfusion.EnsembleClassifier, skfusion.EnsembleRegressor)


@dataclass(frozen=True)
class Choice:
    """A fusion by name."""

    says: str  # what it is, in one sentence
    parts: Callable[[int], dict[str, Any]]  # ``parts(n_members)`` are the parameters
    kinds: tuple[type, type] = ENSEMBLE  # the classifier and the regressor
    regression: bool = True  # whether it can predict values
    of_nets: bool = True  # whether it is made of the net of the comparison, which needs its columns prepared
    slow: bool = False  # whether it is fitted only where it is named

    def build(self, net: Any, task: str, n_members: int) -> Any:
        """Return the unfitted estimator."""
        given = [net] if self.of_nets else []
        return self.kinds[task != "classification"](*given, **self.parts(n_members))


SOUP = (skfusion.SoupClassifier, skfusion.SoupRegressor)
AVERAGING = (skfusion.WeightAveragingClassifier, skfusion.WeightAveragingRegressor)
SNAPSHOT = (skfusion.SnapshotEnsembleClassifier, skfusion.SnapshotEnsembleRegressor)
FAST_GEOMETRIC = (skfusion.FastGeometricEnsembleClassifier, skfusion.FastGeometricEnsembleRegressor)
PORTFOLIO = (skfusion.PortfolioClassifier, skfusion.PortfolioRegressor)
FUSIONS = {
    "single": Choice("One network: what all others must beat.", lambda n: {"collect": Seeds(1)}),
    "uniform-soup": Choice(
        "One network with the mean weights of independent networks; expected to fail, as these lie in different "
        "valleys of the loss and their mean lies between.",
        lambda n: {"collect": Seeds(n), "merge": Uniform()},
        SOUP,
    ),
    "greedy-soup": Choice(
        "One network: the best member, averaged with each other one that does not lower the held-out score.",
        lambda n: {"collect": Seeds(n), "merge": Greedy()},
        SOUP,
    ),
    "swa": Choice(
        "One network with the mean weights of the last quarter of a single training (stochastic weight averaging).",
        lambda n: {},
        AVERAGING,
    ),
    "snapshot": Choice(
        "Many networks from a single training whose learning rate falls and starts again; their predictions are "
        "averaged.",
        lambda n: {"n_cycles": n},
        SNAPSHOT,
    ),
    "fge": Choice(
        "Many networks from short cycles of the learning rate at the end of a single training; their predictions are "
        "averaged (fast geometric ensembling).",
        lambda n: {"n_members": n},
        FAST_GEOMETRIC,
    ),
    "ensemble": Choice(
        "Many independent networks, whose predictions are averaged (deep ensemble).", lambda n: {"collect": Seeds(n)}
    ),
    "selection": Choice(
        "Many independent networks, averaged with the weights that greedy selection on held-out rows gives them; some "
        "have none.",
        lambda n: {"collect": Seeds(n), "combine": EnsembleSelection()},
    ),
    "vote": Choice(
        "Many independent networks, each with one vote for a class.",
        lambda n: {"collect": Seeds(n), "combine": Vote()},
        regression=False,
    ),
    "bagging": Choice(
        "Many networks, each trained on rows drawn with replacement; their predictions are averaged.",
        lambda n: {"collect": Bootstrap(n)},
    ),
    "boosting": Choice(
        "Many networks trained one after another, each on what those before it get wrong, with a weighted vote or "
        "median.",
        lambda n: {"n_members": n},
        (skfusion.BoostingFusion, skfusion.BoostingFusion),
    ),
    "stack": Choice(
        "Many independent networks and a linear model, fitted on out-of-fold predictions, that combines theirs.",
        lambda n: {"collect": Seeds(n), "combine": Stack()},
    ),
    "portfolio": Choice(
        "Networks, boosted trees, forests and linear models of configurations that were chosen on other tables, "
        "averaged with weights by ensemble selection; it prepares columns by itself, and takes minutes.",
        lambda n: {},
        PORTFOLIO,
        of_nets=False,
        slow=True,
    ),
}
SLOW = [name for name, choice in FUSIONS.items() if choice.slow]
"""Fusions that are fitted only where they are named."""


def net_for(kind: str, dataset: Data, n_epochs: int | None) -> Any:
    """Return an unfitted net for the columns as :attr:`Data.prepare` or, for tables, :attr:`Data.codes` gives them."""
    if kind not in NETS:
        raise ValueError(f"Unknown --net {kind!r}; there are {', '.join(NETS)}.")
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


def chosen(names: Sequence[str], net: Any, task: str, n_members: int) -> dict[str, Any]:
    """Return unfitted estimators by name, of all fusions that suit the task where no names are given."""
    suited = [name for name, choice in FUSIONS.items() if choice.regression or task == "classification"]
    if wrong := [name for name in names if name not in suited]:
        why = "is not for regression" if wrong[0] in FUSIONS else "is unknown"
        raise ValueError(f"--fusion {wrong[0]} {why}; there are {', '.join(suited)}.")
    names = names or [name for name in suited if name not in SLOW]
    return {name: FUSIONS[name].build(net, task, n_members) for name in dict.fromkeys(names)}
