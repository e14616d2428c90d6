"""scikit-learn's own checks for every forest."""

import pytest
from sklearn_checks import cases

from skfusion import DeepForestClassifier, DeepForestRegressor, NeuralDecisionForestClassifier
from skfusion.forests import MultiGrainedScan
from skfusion.nets import mlp_classifier

SMALL = {"n_forests": 1, "n_trees": 5, "cv": 2, "max_levels": 3}

NET = mlp_classifier(module__hidden=(16,), lr=0.02, max_epochs=15)

ESTIMATORS = {
    "deep-classifier": DeepForestClassifier(**SMALL),
    "deep-regressor": DeepForestRegressor(**SMALL),
    "deep-scan": DeepForestClassifier(**SMALL, scan=MultiGrainedScan((0.5,), n_trees=3, min_samples_leaf=1, cv=2)),
    "scan": MultiGrainedScan((0.5,), n_trees=3, min_samples_leaf=1, cv=2),
    "neural": NeuralDecisionForestClassifier(NET, n_trees=3, depth=3, n_leaf_updates=5),
    "neural-default": NeuralDecisionForestClassifier(),
}


DRIVERS = {"deep-classifier", "scan", "neural"}


@pytest.mark.parametrize(("estimator", "check"), list(cases(ESTIMATORS, DRIVERS)))
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)
