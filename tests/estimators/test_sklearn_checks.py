"""scikit-learn's own checks, all of them, for every estimator and recipe."""

import time

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import skfusion
from skfusion import (
    EnsembleClassifier,
    EnsembleRegressor,
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.collect import Bootstrap, Seeds, Snapshots, Tail
from skfusion.combine import Stack, Vote
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.select import TopK

SMALL = {"module__hidden": (16,), "lr": 0.02, "max_epochs": 15}


def classifier(**params):
    return mlp_classifier(**{**SMALL, **params})


def regressor(**params):
    return mlp_regressor(**{**SMALL, **params})


@parametrize_with_checks(
    [
        SoupClassifier(classifier(), collect=Seeds(2)),
        SoupRegressor(regressor(), collect=Seeds(2)),
        EnsembleClassifier(classifier(), collect=Seeds(2)),
        EnsembleRegressor(regressor(), collect=Seeds(2)),
        WeightAveragingClassifier(classifier()),
        WeightAveragingRegressor(regressor()),
        SnapshotEnsembleClassifier(classifier(), n_cycles=2),
        SnapshotEnsembleRegressor(regressor(), n_cycles=2),
        StackingFusion(classifier(), n_members=2, cv=2),
        StackingFusion(regressor(), n_members=2, cv=2),
        StackingFusion(estimators=[("linear", LogisticRegression()), ("near", KNeighborsClassifier(3))], cv=2),
        StackingFusion(estimators=[("ridge", Ridge()), ("net", regressor())], cv=2),
        # further configurations
        SoupClassifier(classifier(multilabel=True), collect=Seeds(2)),
        SoupClassifier(classifier(module__norm="batch"), collect=Snapshots(3), merge=Uniform()),
        SoupClassifier(classifier(module__dropout=0.2), collect=Tail(0.5), select=TopK(2)),
        SoupRegressor(regressor(module__norm="batch"), collect=Tail(0.5), merge=Uniform()),
        EnsembleClassifier(classifier(module__norm="batch"), collect=Bootstrap(2), combine=Vote()),
        EnsembleClassifier(classifier(), collect=Seeds(2), combine=Stack(), cv=2),
        EnsembleClassifier(classifier(), collect=Seeds(3), select=TopK(2), scoring="accuracy"),
        EnsembleRegressor(regressor(module__dropout=0.1), collect=Bootstrap(2)),
        EnsembleRegressor(regressor(), collect=Seeds(2), combine=Stack(), cv=2),
    ]
)
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)


def test_check_estimator_itself_passes_for_the_defaults():
    start = time.process_time()
    for name in sorted(skfusion.estimators.__all__):
        if name != "StackingFusion":  # 5 * 6 full networks a fit: see below
            check_estimator(getattr(skfusion, name)(), on_fail="raise", on_skip=None)
    check_estimator(StackingFusion(classifier(), n_members=2, cv=2), on_fail="raise", on_skip=None)
    assert time.process_time() - start < 240
