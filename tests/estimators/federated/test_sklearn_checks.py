"""scikit-learn's own checks, and the laws of estimators, for federations with and without groups."""

import numpy as np
import pytest
from sklearn_checks import cases
from small_nets import small_nets

from skfusion import FederatedClassifier, FederatedRegressor
from skfusion.merge import PFNM, FedMA
from skfusion.testing import laws

classifier, regressor = small_nets(module__hidden=(16,), lr=0.02)


def groups_of(X):
    """Return a client for each row, by its numbers, so that copies of a row are at one; None where X is no table."""
    if np.asarray(X).dtype.kind == "c":
        return None
    try:
        return np.floor(4 * np.asarray(X, np.float64)[:, 0]).astype(int) % 3
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


class GroupedClassifier(FederatedClassifier):
    """Clients by what is in their rows."""

    def fit(self, X, y, sample_weight=None, groups=None):
        return super().fit(X, y, sample_weight, groups_of(X))


class GroupedRegressor(FederatedRegressor):
    """Clients by what is in their rows."""

    def fit(self, X, y, sample_weight=None, groups=None):
        return super().fit(X, y, sample_weight, groups_of(X))


ESTIMATORS = {
    "classifier": FederatedClassifier(classifier(), n_rounds=5),
    "regressor": FederatedRegressor(regressor(), n_rounds=8),
    "grouped-classifier": GroupedClassifier(classifier(), n_rounds=5),
    "grouped-regressor": GroupedRegressor(regressor(), n_rounds=8),
    "pfnm": FederatedClassifier(classifier(), fuse=PFNM(correct=True), n_rounds=5),
    "fedma": FederatedRegressor(regressor(), fuse=FedMA(), n_rounds=8),
}
NAMES = [
    "check_fit_does_not_write_its_data",
    "check_fit_keeps_the_parameters",
    "check_fit_leaves_the_global_random_state",
    "check_pickle_predicts_the_same",
    "check_random_labels_give_chance",
    "check_same_random_state_gives_the_same_predictions",
    "check_wrapped_net_stays_unfitted",
]
LAWS = [law for law in laws() if law.__name__ in NAMES]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # of NaN, in groups_of
@pytest.mark.parametrize(("estimator", "check"), list(cases(ESTIMATORS, {"classifier", "grouped-regressor"})))
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", ["classifier", "regressor", "pfnm"])
def test_estimator_keeps_the_law(name, law):
    law(ESTIMATORS[name])
