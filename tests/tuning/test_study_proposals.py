"""Settings of fine-tunes that Optuna proposes."""

import math

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from sklearn.base import clone
from sklearn.datasets import load_iris

from skfusion import SoupClassifier
from skfusion.collect import FineTunes
from skfusion.nets import mlp_classifier
from skfusion.tuning import StudyProposals


def space(trial):
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "optimizer__weight_decay": trial.suggest_categorical("decay", [0.0, 0.1]),
    }


def bowl(params):
    return math.log10(params["lr"] / 0.003) ** 2 + params["optimizer__weight_decay"]


def turns(proposals, n, seed=0, value=bowl):
    proposer, asked = proposals.begin(seed), []
    for _ in range(n):
        asked.append(proposer.ask())
        proposer.tell(asked[-1], value(asked[-1]))
    return asked, proposer.study


def test_it_matches_the_loop_of_optuna():
    study = optuna.create_study(direction="minimize", sampler=TPESampler(seed=5))
    study.optimize(lambda trial: bowl(space(trial)), n_trials=25)
    asked, own = turns(StudyProposals(space), 25, seed=5)
    assert asked == [{"lr": t.params["lr"], "optimizer__weight_decay": t.params["decay"]} for t in study.trials]
    assert own.best_value == study.best_value


def test_settings_gather_where_the_loss_is_low():
    asked, _ = turns(StudyProposals(space), 40)
    assert np.mean([bowl(p) for p in asked[25:]]) < 0.5 * np.mean([bowl(p) for p in asked[:10]])


def test_each_collection_begins_anew():
    proposals = StudyProposals(space, RandomSampler)
    first, second, other = (turns(proposals, 4, seed)[0] for seed in (1, 1, 2))
    assert first == second != other
    kept = StudyProposals(space, RandomSampler(seed=3))
    assert turns(kept, 4, 1)[0] == turns(kept, 4, 2)[0]


def test_trainings_that_diverge_are_the_worst_and_unknown_losses_fail():
    losses = iter([1.0, math.inf, math.nan])
    _, study = turns(StudyProposals(space), 3, value=lambda params: next(losses))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.best_value == 1.0


@pytest.mark.parametrize(
    ("proposals", "message"),
    [
        (StudyProposals({"lr": [0.1]}), "space must be a function of a trial"),
        (StudyProposals(lambda trial: 0.1), "space must return a dict of parameters; got 0.1"),
        (StudyProposals(space, "tpe"), "make one from seed=.*got 'tpe'"),
    ],
)
def test_bad_settings_are_named(proposals, message):
    with pytest.raises(TypeError, match=message):
        turns(proposals, 1)


def test_it_proposes_fine_tunes_of_an_estimator():
    X, y = load_iris(return_X_y=True)
    tunes = FineTunes(StudyProposals(space), n_members=4, init=1)
    soup = SoupClassifier(mlp_classifier(max_epochs=2, module__hidden=(4,)), collect=tunes, random_state=0)
    soup.set_params(collect__distributions__sampler=RandomSampler)
    first, again = (clone(soup).fit(X, y).pool_ for _ in range(2))
    settings = [dict(m.meta["params"]) for m in first]
    assert settings == [dict(m.meta["params"]) for m in again]
    assert len({s["lr"] for s in settings}) == 4
    assert all(s.keys() == {"lr", "optimizer__weight_decay"} for s in settings)
