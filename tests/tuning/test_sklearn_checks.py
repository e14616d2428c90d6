"""scikit-learn's own checks for searches."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator
from sklearn_checks import cases

from skfusion import EnsembleRegressor, SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.select import TopK
from skfusion.tuning import FusionSearch

SMALL = {"module__hidden": (16,), "lr": 0.02, "max_epochs": 15}


def soups(trial):
    return {"merge": Greedy(strict=trial.suggest_categorical("strict", [True, False]))}


def ensembles(trial):
    return {"select": TopK(trial.suggest_int("k", 1, 2))}


def baselines(trial):
    return {"C": trial.suggest_float("C", 0.1, 10)}


SEARCHES = {
    "classifier": FusionSearch(SoupClassifier(mlp_classifier(**SMALL), collect=Seeds(2)), soups, n_trials=2, cv=2),
    "regressor": FusionSearch(EnsembleRegressor(mlp_regressor(**SMALL), collect=Seeds(2)), ensembles, n_trials=2, cv=2),
    "baseline": FusionSearch(LogisticRegression(), baselines, n_trials=2, cv=2),
}


@pytest.mark.parametrize(("search", "check"), list(cases(SEARCHES, {"baseline"})))
def test_search_keeps_to_scikit_learn(search, check):
    check(search)


@pytest.mark.slow
def test_check_estimator_itself_passes():
    check_estimator(SEARCHES["baseline"], on_fail="raise", on_skip=None)
