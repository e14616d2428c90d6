"""The fusions that the command line knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import skfusion
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import EnsembleSelection, Stack, Vote
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor

ENSEMBLE = (skfusion.EnsembleClassifier, skfusion.EnsembleRegressor)


@dataclass(frozen=True)
class Choice:
    """A fusion by name."""

    says: str  # what it is, in one sentence
    parts: Callable[[int], dict[str, Any]]  # ``parts(n_members)`` are the parameters
    kinds: tuple[type, type] = ENSEMBLE  # the classifier and the regressor
    regression: bool = True  # whether it can predict values

    def build(self, task: str, n_members: int, n_epochs: int) -> Any:
        """Return the unfitted estimator."""
        classify = task == "classification"
        net = (mlp_classifier if classify else mlp_regressor)(max_epochs=n_epochs)
        return self.kinds[not classify](net, **self.parts(n_members))


SOUP = (skfusion.SoupClassifier, skfusion.SoupRegressor)
AVERAGING = (skfusion.WeightAveragingClassifier, skfusion.WeightAveragingRegressor)
SNAPSHOT = (skfusion.SnapshotEnsembleClassifier, skfusion.SnapshotEnsembleRegressor)
FAST_GEOMETRIC = (skfusion.FastGeometricEnsembleClassifier, skfusion.FastGeometricEnsembleRegressor)
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
}


def chosen(names: list[str], task: str, n_members: int, n_epochs: int) -> dict[str, Any]:
    """Return unfitted estimators by name, of all fusions that suit the task where no names are given."""
    suited = [name for name, choice in FUSIONS.items() if choice.regression or task == "classification"]
    if wrong := [name for name in names if name not in suited]:
        why = "is not for regression" if wrong[0] in FUSIONS else "is unknown"
        raise ValueError(f"--fusion {wrong[0]} {why}; there are {', '.join(suited)}.")
    return {name: FUSIONS[name].build(task, n_members, n_epochs) for name in dict.fromkeys(names or suited)}
