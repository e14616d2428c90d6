"""scikit-learn's own checks, and the laws of estimators, for the recipes of many networks."""

import pytest
from sklearn_checks import cases
from small_nets import small_nets

from skfusion import (
    BaggingFusion,
    BoostingFusion,
    DropoutEnsembleClassifier,
    DropoutEnsembleRegressor,
    FastGeometricEnsembleClassifier,
    FastGeometricEnsembleRegressor,
)
from skfusion.testing import checks_for

classifier, regressor = small_nets(max_epochs=20, module__hidden=(16,), lr=0.02)


ESTIMATORS = {
    "fge-classifier": FastGeometricEnsembleClassifier(classifier(module__norm="batch")),
    "fge-regressor": FastGeometricEnsembleRegressor(regressor(), n_members=2),
    "bagging-classifier": BaggingFusion(classifier(), n_members=3),
    "bagging-regressor": BaggingFusion(regressor(module__norm="batch"), n_members=3),
    "bagging-columns": BaggingFusion(
        classifier(), n_members=5, max_samples=0.8, max_features=0.7, bootstrap=False, random_state=0
    ),
    "boosting-classifier": BoostingFusion(classifier(), n_members=3),
    "boosting-regressor": BoostingFusion(regressor(module__norm="batch"), n_members=3),
    "boosting-resampled": BoostingFusion(classifier(), n_members=3, resample=True),
    "dropout-classifier": DropoutEnsembleClassifier(classifier(module__dropout=0.2, module__norm="batch"), n_passes=9),
    "dropout-regressor": DropoutEnsembleRegressor(regressor(module__dropout=0.1), n_passes=9),
}


def law_cases():
    """Every law of every estimator, under names that are the same in every process."""
    for name, estimator in ESTIMATORS.items():
        for law_name, law in checks_for(estimator):
            yield pytest.param(estimator, law, id=f"{name}-{law_name}")


@pytest.mark.filterwarnings("ignore:Boosting ends with member")  # true of the noise that some checks fit
@pytest.mark.parametrize(("estimator", "check"), [*cases(ESTIMATORS, set()), *law_cases()])
def test_recipe_keeps_to_scikit_learn_and_the_laws(estimator, check):
    check(estimator)
