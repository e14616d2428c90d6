"""The shares of members in a soup, where a merger learns them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from skfusion import SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Fisher, Learned
from skfusion.nets import mlp_classifier
from skfusion.state import weighted_sum
from skfusion.tuning import LayerwiseSoupWeights

X, y = load_iris(return_X_y=True)
NET = mlp_classifier(max_epochs=5, module__hidden=(8,))


def fused(merge):
    return SoupClassifier(NET, collect=Seeds(3), merge=merge, random_state=0).fit(X, y)


@pytest.mark.parametrize("simplex", [True, False])
def test_learned_shares_make_the_soup(simplex):
    soup = fused(Learned(n_steps=20, simplex=simplex))
    assert [*soup.member_weights_] == soup.pool_.names
    shares = [*soup.member_weights_.values()]
    assert np.ptp(shares) > 0.1
    expected = weighted_sum(soup.pool_.states, shares)
    for key, tensor in soup.state_.items():
        torch.testing.assert_close(tensor, expected[key])


@pytest.mark.parametrize("merge", [Learned(n_steps=20, per_layer=True), LayerwiseSoupWeights(n_trials=10)])
def test_shares_by_layer_are_shown_by_their_mean(merge):
    soup = fused(merge)
    table = np.array([*soup.merge_report_["weights"].values()])
    assert len(table) > 1  # layers
    np.testing.assert_allclose([*soup.member_weights_.values()], table.mean(axis=0))
    assert sum(soup.member_weights_.values()) == pytest.approx(1)


def test_a_merger_that_is_no_sum_has_no_shares():
    assert fused(Fisher()).member_weights_ is None
