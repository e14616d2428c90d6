"""scikit-learn's own checks for the estimators that reuse models, which train anew without a pool."""

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn_checks import cases

from skfusion import ModelReuseClassifier, ModelReuseRegressor

ESTIMATORS = {
    "classifier": ModelReuseClassifier(estimator=LogisticRegression()),
    "regressor": ModelReuseRegressor(estimator=Ridge()),
    "classifier-default": ModelReuseClassifier(),
    "regressor-default": ModelReuseRegressor(),
}


@pytest.mark.parametrize(("estimator", "check"), list(cases(ESTIMATORS, {"classifier", "regressor"})))
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)
