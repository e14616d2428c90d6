"""The members of a TabM network: plain networks whose mean it is."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor
from skfusion.collect import Seeds, TabMMembers
from skfusion.combine import EnsembleSelection
from skfusion.nets import MLP, TabularMLP, mlp_classifier, tabm_classifier, tabm_regressor, tabular_classifier
from skfusion.pool import ModelPool

X, Y = load_iris(return_X_y=True)
SMALL = {"module__hidden": (8, 6), "max_epochs": 5}


def ensemble(net=None, n_members=None, **params):
    return EnsembleClassifier(net, collect=TabMMembers(n_members), random_state=0, **params)


def test_the_mean_of_the_members_is_the_network():
    codes = np.random.RandomState(0).randint(3, size=(150, 1))
    A = np.column_stack([codes, X])
    net = tabm_classifier(k=5, module__categorical=[0], **SMALL)
    members = ensemble(net).fit(A, Y)
    assert members.pool_.names == [f"tabm-{k}" for k in range(5)]
    assert all(m.net.module is TabularMLP and m.net.criterion is nn.CrossEntropyLoss for m in members.pool_)
    whole = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(A, Y)
    np.testing.assert_allclose(members.predict_proba(A), whole.predict_proba(A), atol=1e-5)


def test_the_mean_of_values_is_the_network_too():
    A, b = load_diabetes(return_X_y=True)
    net = tabm_regressor(k=3, **SMALL)
    members, whole = (
        EnsembleRegressor(net, collect=collect, random_state=0).fit(A, b) for collect in (TabMMembers(), Seeds(1))
    )
    np.testing.assert_allclose(members.predict(A), whole.predict(A), rtol=1e-5)


def test_a_pruned_network_is_the_mean_of_the_members_that_are_left():
    pruned = ensemble(tabm_classifier(**SMALL), 6, combine=EnsembleSelection(), scoring="neg_log_loss").fit(X, Y)
    weights = pruned.member_weights_
    P = EnsembleClassifier(collect=pruned.pool_).fit(X, Y).predict_members(X)
    mean = sum(weights[name] * part for name, part in zip(pruned.pool_.names, P, strict=True))
    np.testing.assert_allclose(pruned.predict_proba(X), mean, atol=1e-5)
    assert 1 <= sum(w > 0 for w in weights.values()) <= 6


def test_the_net_of_an_estimator_is_trained_with_a_tabm_as_its_module():
    default = ensemble(n_members=3)
    assert default.collect.default_net("regression").criterion.__name__ == "MembersMSELoss"
    for net in (tabular_classifier(**SMALL), mlp_classifier(**SMALL), tabm_classifier(k=3, **SMALL)):
        fitted = ensemble(net, 3).fit(X, Y)
        assert [m.state["lines.weight"].shape[0] for m in fitted.pool_] == [8] * 3
        assert len(fitted.pool_[0].meta["history"]) == 5
    assert fitted.net_.module is TabularMLP
    assert net.module is not TabularMLP  # what was given is as it was


def test_a_pool_fits_a_tabular_net_when_it_comes_back_from_a_directory(tmp_path):
    fitted = ensemble(tabm_classifier(**SMALL), 3).fit(X, Y)
    fitted.pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    again = EnsembleClassifier(tabular_classifier(**SMALL), collect=pool).fit(X, Y)
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-6)
    repeated = ensemble(tabm_classifier(**SMALL), 3).fuse(fitted.pool_, X, Y)
    np.testing.assert_allclose(repeated.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


def test_random_labels_give_chance_on_rows_that_no_member_has_seen():
    rng = np.random.RandomState(0)
    A, b = rng.randn(400, 4), rng.randint(2, size=400)
    net = tabm_classifier(module__hidden=(16, 16), max_epochs=8)
    pruned = ensemble(net, 6, combine=EnsembleSelection()).fit(A[:300], b[:300])
    assert abs(pruned.score(A[300:], b[300:]) - 0.5) < 0.15


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (NeuralNetClassifier(MLP), "criterion=NLLLoss"),
        (NeuralNetClassifier(nn.Linear(4, 3), criterion=nn.CrossEntropyLoss), "a Linear that is made already"),
        (NeuralNetClassifier(MLP, criterion=nn.CrossEntropyLoss()), "an instance of CrossEntropyLoss"),
    ],
)
def test_nets_of_which_no_tabm_can_be_made_are_named(net, message):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        ensemble(net).fit(X, Y)
