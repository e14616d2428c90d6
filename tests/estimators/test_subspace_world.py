"""Subspaces inside scikit-learn's machinery: its checks, and the laws of estimators."""

import pytest
from sklearn_checks import cases

from skfusion import SubspaceClassifier, SubspaceRegressor
from skfusion.align import WeightMatching
from skfusion.collect import Seeds, Untrained
from skfusion.connect import Bezier, LearnedSubspace, SimplexPerMode, Simplicial
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.testing import checks_for
from skfusion.testing._laws_estimator import check_one_member_is_its_own_fusion

SMALL = {"max_epochs": 3, "module__hidden": (8,), "lr": 0.02}
LEARNING = {"max_epochs": 15, "module__hidden": (16,), "lr": 0.02}  # enough for scikit-learn's checks of accuracy
QUICK = Simplicial(n_connectors=1, n_epochs=2, n_samples=2)
LEARNED = LearnedSubspace(n_epochs=40, lr=0.3)

CHECKED = {
    "best": SubspaceClassifier(mlp_classifier(**LEARNING), connect=QUICK, predict_with="best", n_points=3),
    "learned": SubspaceClassifier(mlp_classifier(**LEARNING), connect=LEARNED, predict_with="midpoint"),
    "espro": SubspaceClassifier(
        mlp_classifier(**LEARNING, module__norm="batch"), connect=SimplexPerMode(1, 2, n_epochs=2), n_points=4
    ),
    "regressor": SubspaceRegressor(mlp_regressor(**LEARNING), connect=QUICK, predict_with="best", n_points=3),
}


@pytest.mark.parametrize(("estimator", "check"), list(cases(CHECKED, {"best"})))
def test_subspaces_keep_to_scikit_learn(estimator, check):
    check(estimator)


def subspace(net=None, **params):
    net = mlp_classifier(**SMALL) if net is None else net
    return SubspaceClassifier(net, **{"connect": QUICK, "n_points": 3, "random_state": 0, **params})


LAWFUL = [
    subspace(),
    subspace(mlp_classifier(**SMALL, module__norm="batch"), predict_with="best"),
    subspace(connect=LearnedSubspace(n_epochs=2), collect=Untrained(2), predict_with="midpoint"),
    subspace(connect=Bezier(n_epochs=2), align=WeightMatching(), collect=Seeds(2)),
    SubspaceRegressor(mlp_regressor(**SMALL), connect=QUICK, n_points=3),
]


def law_cases():
    """Every law of every estimator."""
    for i, estimator in enumerate(LAWFUL):
        for name, law in checks_for(estimator):
            yield pytest.param(estimator, law, id=f"{i}-{name}")


@pytest.mark.parametrize(("estimator", "law"), list(law_cases()))
def test_subspaces_keep_the_laws_of_estimators(estimator, law):
    law(estimator)


def test_the_exemption_is_needed():
    assert [*SubspaceRegressor._test_skips()] == [check_one_member_is_its_own_fusion.__name__]
    with pytest.raises(AssertionError):
        check_one_member_is_its_own_fusion(subspace(connect=Simplicial(1, n_epochs=20, lr=0.3)))
