"""scikit-learn's own checks, all of them, for every forest."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

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


def cases():
    """Every check of every estimator, under names that are the same in every process."""
    for name, estimator in ESTIMATORS.items():
        for instance, check in estimator_checks_generator(estimator):
            function = getattr(check, "func", check)
            yield pytest.param(instance, check, id=f"{name}-{function.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(cases()))
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)
