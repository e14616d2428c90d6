"""Clients: what they see of each other, which is nothing but fused weights, and clients that are unusual."""

import pickle

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import FederatedClassifier, FederatedRegressor
from skfusion.align import ActivationMatching
from skfusion.collect import Seeds
from skfusion.merge import PFNM, FedAdam, FedMA, Greedy, TaskArithmetic
from skfusion.nets import DivergedError, mlp_classifier, mlp_regressor, tabular_classifier

RNG = np.random.default_rng(1)
X = RNG.normal(size=(80, 4)).astype(np.float32)
Y = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 1)]
CLIENT = np.repeat(["a", "b"], 40)
FIXED = {"x_mean": np.zeros(4), "x_std": np.ones(4)}
A, B = np.flatnonzero(CLIENT == "a"), np.flatnonzero(CLIENT == "b")


def net(**params):
    return mlp_classifier(**{"module__hidden": (8,), "batch_size": 8, "lr": 0.02, **params})


def trained_b(rows_of_a, estimator=None, weight=None, y=Y, **params):
    """Return what client b has trained in the first round, where client a has other rows."""
    index = np.r_[rows_of_a, B]
    federated = FederatedClassifier(estimator or net(), n_rounds=1, local_epochs=3, random_state=0, **params)
    weight = None if weight is None else weight[index]
    federated.fit(X[index], y[index], sample_weight=weight, groups=CLIENT[index])
    return next(member for member in federated.pool_ if member.name == "b"), federated


VALIDATED = {
    "train_split": ValidSplit(0.3, stratified=True, random_state=0),
    "callbacks": [("stop", EarlyStopping(patience=1))],
}


KINDS = {"plain": {}, "BatchNorm": {"module__norm": "batch"}, "early stopping": VALIDATED}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("held", [None, 0.3], ids=["all", "held out"])
def test_rows_of_a_client_do_not_reach_another_one(kind, held):
    estimator = net(module__scaling=FIXED, **kind)
    expected, _ = trained_b(A, estimator, validation_fraction=held)
    weight = np.where(CLIENT == "a", 3.5, 1.0)
    for rows, extra in ((A[:23], {}), (np.r_[A, A[:5]], {}), (A[::-1], {}), (A, {"weight": weight})):
        found, _ = trained_b(rows, estimator, validation_fraction=held, **extra)
        for name, tensor in expected.state.items():
            if extra:  # its rows have weights of one, for the same numbers by another sum
                torch.testing.assert_close(found.state[name], tensor)
            else:
                assert torch.equal(found.state[name], tensor)


def test_of_inputs_a_client_tells_mean_and_variance_alone():
    expected, federated = trained_b(A)
    np.testing.assert_allclose(federated.state_["x_mean"], X.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(federated.state_["x_std"], X.std(axis=0), atol=1e-6)
    index, other = np.arange(80), X.copy()
    other[A] = 2 * X[A].mean(axis=0) - X[A]  # of the same mean and variance
    federated = FederatedClassifier(net(), n_rounds=1, local_epochs=3, random_state=0)
    federated.fit(other[index], Y, groups=CLIENT)
    found = next(member for member in federated.pool_ if member.name == "b")
    for name, tensor in expected.state.items():
        torch.testing.assert_close(found.state[name], tensor, rtol=1e-4, atol=1e-5)


def test_rows_that_are_held_out_do_not_scale_a_net():
    def fitted(values):
        federated = FederatedRegressor(mlp_regressor(module__hidden=(8,)), validation_fraction=0.3, random_state=0)
        return federated.set_params(n_rounds=1).fit(X, values, groups=CLIENT)

    values = X[:, 0] - X[:, 1]
    states = []
    for row in range(8):  # some of these rows are held out, whatever the split
        other = values.copy()
        other[row] += 100.0
        states.append(fitted(other).state_)
    expected = fitted(values).state_
    same = [all(torch.equal(state[name], tensor) for name, tensor in expected.items()) for state in states]
    assert 0 < sum(same) < len(same)


def test_labels_of_a_client_do_not_reach_another_one_but_for_their_names():
    expected, _ = trained_b(A)
    other = Y.copy()
    other[A] = Y[A][::-1]
    found, _ = trained_b(A, y=other)
    for name, tensor in expected.state.items():
        assert torch.equal(found.state[name], tensor)


def test_values_far_from_zero_are_scaled_for_all_clients_alike():
    values = (1e6 + X[:, 0] - X[:, 1]).astype(np.float64)
    learner = mlp_regressor(module__hidden=(16,), batch_size=8)
    federated = FederatedRegressor(learner, random_state=0).fit(X, values, groups=CLIENT)
    assert federated.score(X, values) > 0.8


def test_random_labels_are_found_by_chance_on_new_rows_and_on_held_out_ones():
    rows, labels = RNG.normal(size=(400, 5)), RNG.integers(4, size=400)
    groups = np.arange(400) % 4
    for params in ({}, {"fuse": Greedy()}, {"fuse": PFNM(correct=True)}, {"n_clients": 8}):
        federated = FederatedClassifier(net(), n_rounds=4, validation_fraction=0.5, random_state=0, **params)
        federated.fit(rows, labels, groups=None if "n_clients" in params else groups)
        slack = 4 * np.sqrt(0.25 * 0.75 / 200)
        assert abs(federated.history_[-1]["score"] - 0.25) < slack
        new = federated.score(RNG.normal(size=(400, 5)), RNG.integers(4, size=400))
        assert abs(new - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)


def test_copies_of_a_row_are_at_one_client_and_on_one_side():
    rows, labels = np.repeat(RNG.normal(size=(60, 5)), 4, axis=0), np.repeat(RNG.integers(4, size=60), 4)
    learner = net(max_epochs=1, module__hidden=(64,))
    params = {"n_rounds": 6, "local_epochs": 10, "validation_fraction": 0.3, "random_state": 0, "n_clients": 3}
    federated = FederatedClassifier(learner, **params).fit(rows, labels)
    assert federated.history_[-1]["score"] < 0.25 + 4 * np.sqrt(0.25 * 0.75 / 18)


def test_clients_may_have_different_classes():
    labels = np.where(X[:, 0] > 0, "right", "left")
    groups = np.where(np.arange(80) % 8 == 0, "both", labels)
    federated = FederatedClassifier(net(), n_rounds=20, local_epochs=1, random_state=0).fit(X, labels, groups=groups)
    assert federated.classes_.tolist() == ["left", "right"]
    assert federated.score(X, labels) > 0.9
    alone = next(member for member in federated.pool_ if member.name == "left")
    assert alone.state["layers.2.weight"].shape == (2, 8)


def test_clients_without_rows_take_no_part():
    weight = np.where(CLIENT == "a", 0.0, 1.0)
    with pytest.warns(UserWarning, match=r"The clients \['a'\] have no rows of positive weight") as caught:
        federated = FederatedClassifier(net(), n_rounds=1, random_state=0).fit(X, Y, weight, CLIENT)
    assert caught[0].filename == __file__
    assert federated.clients_ == ["b"]
    only = FederatedClassifier(net(), n_rounds=1, random_state=0).fit(X[B], Y[B], groups=CLIENT[B])
    for name, tensor in only.state_.items():
        assert torch.equal(federated.state_[name], tensor)


@pytest.mark.parametrize("groups", [np.where(CLIENT == "a", np.nan, 1.0), np.where(CLIENT == "a", None, "b")])
def test_rows_without_a_client_are_an_error(groups):
    with pytest.raises(ValueError, match=f"groups is missing for {len(A)} of 80 rows; give each of them a group"):
        FederatedClassifier(net(), n_rounds=1).fit(X, Y, groups=groups)


def test_a_client_of_one_row():
    groups = np.r_[np.zeros(1), np.ones(79)]
    federated = FederatedClassifier(net(), n_rounds=2, validation_fraction=0.2, random_state=0).fit(X, Y, groups=groups)
    assert federated.client_weights_[0.0] == 1
    assert [*federated.history_[0]["scores"]] == [1.0]  # it has no row to hold out
    with pytest.raises(ValueError, match=r"the clients \[0.0\] have no more to train on"):
        FederatedClassifier(net(module__norm="batch")).fit(X, Y, groups=groups)


def test_a_client_that_diverges_is_left_out():
    rows = X.copy()
    rows[A] *= 1e30
    plain = mlp_regressor(module__hidden=(8,), module__scaling={"x_mean": np.zeros(4), "x_std": np.ones(4)})
    with pytest.warns(UserWarning, match="left out of a round: Member 'a' diverged"):
        federated = FederatedRegressor(plain, n_rounds=1, random_state=0).fit(rows, X[:, 0], groups=CLIENT)
    assert federated.history_[0]["clients"] == ["b"]
    with pytest.raises(DivergedError, match="Member 'a' diverged"):
        FederatedRegressor(plain, n_rounds=1, random_state=0).fit(rows[A], X[A, 0], groups=CLIENT[A])


def test_groups_are_routed_through_metadata():
    with config_context(enable_metadata_routing=True):
        estimator = FederatedClassifier(net(), n_rounds=1, random_state=0).set_fit_request(groups=True)
        found = cross_validate(
            estimator, X, Y, cv=GroupKFold(2), params={"groups": np.arange(80) % 4}, return_estimator=True
        )
    clients = [fitted.clients_ for fitted in found["estimator"]]
    assert sorted(clients[0] + clients[1]) == [0, 1, 2, 3]  # each fold is fitted on the clients that the other lacks


def test_groups_reach_a_federation_at_the_end_of_a_pipeline():
    labels = RNG.permutation(np.repeat([0, 1], 40))
    with config_context(enable_metadata_routing=True):
        last = FederatedClassifier(net(), n_rounds=2, local_epochs=2, random_state=0).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), last)
        found = cross_validate(pipeline, X, X[:, 0] > 0, cv=3, params={"groups": CLIENT}, return_estimator=True)
        by_chance = cross_validate(pipeline, X, labels, cv=4, params={"groups": CLIENT})
    assert [fitted[-1].clients_ for fitted in found["estimator"]] == [["a", "b"]] * 3
    assert np.mean(found["test_score"]) > 0.6
    assert abs(np.mean(by_chance["test_score"]) - 0.5) < 4 * 0.5 / np.sqrt(80)


def test_inputs_by_name_and_several_labels():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, left, right):
            return self.left(left) + self.right(right)

    labels = (X[:, :3] > 0).astype(int)
    two = NeuralNetClassifier(Two, criterion=nn.BCEWithLogitsLoss, lr=0.5, train_split=None, verbose=0)
    by_name = {"left": X[:, :2], "right": X[:, 2:]}
    federated = FederatedClassifier(two, n_rounds=10, random_state=0).fit(by_name, labels, groups=CLIENT)
    assert federated.score(by_name, labels) > 0.7
    held = FederatedClassifier(two, n_rounds=1, validation_fraction=0.2, random_state=0).fit(by_name, labels)
    assert 0 <= held.history_[0]["score"] <= 1


def test_scores_are_those_of_the_rows_that_clients_hold_out():
    federated = FederatedClassifier(net(), n_rounds=2, validation_fraction=0.25, scoring="neg_log_loss", random_state=0)
    history = federated.fit(X, Y, groups=np.repeat(["a", "b"], [20, 60])).history_
    last = history[-1]
    assert [*last["scores"]] == ["a", "b"]
    assert last["score"] == pytest.approx(0.25 * last["scores"]["a"] + 0.75 * last["scores"]["b"])
    assert last["score"] > history[0]["score"]
    assert "score" not in FederatedClassifier(net(), n_rounds=1).fit(X, Y).history_[0]
    assert "score" in FederatedClassifier(net(), n_rounds=1, fuse=Greedy(), random_state=0).fit(X, Y).history_[0]


def test_it_can_be_pickled():
    federated = FederatedClassifier(net(), fuse=PFNM(gamma=1e4, sigma=0.05), n_rounds=2, random_state=0).fit(X, Y)
    assert len(federated.state_["layers.0.weight"]) > 8
    again = pickle.loads(pickle.dumps(federated))
    assert np.array_equal(again.predict_proba(X), federated.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_rounds": 0}, ValueError, "n_rounds must be a whole number"),
        ({"local_epochs": 1.5}, ValueError, "local_epochs must be a whole number"),
        ({"n_clients": True}, ValueError, "n_clients must be a whole number"),
        ({"client_fraction": 0.0}, ValueError, "client_fraction is a share"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be between 0 and 1"),
        ({"fuse": Seeds()}, TypeError, "fuse must be a Merger"),
        ({"fuse": PFNM}, TypeError, r"Write PFNM\(\)"),
        ({"align": PFNM()}, TypeError, "align must be an Aligner"),
        ({"server": FedAdam(lr=-1)}, ValueError, "lr of FedAdam"),
        ({"fuse": TaskArithmetic(), "common_start": False}, ValueError, "needs the common start"),
        ({"fuse": PFNM(sigma=0)}, ValueError, "sigma must be a positive number"),
        ({"fuse": PFNM(sigma=0.01, gamma=1e9), "server": FedAdam()}, ValueError, "has changed the widths"),
        ({"estimator": net(module__hidden=()), "fuse": PFNM()}, ValueError, "no units of MLP can change places"),
        ({"estimator": tabular_classifier()}, ValueError, "quantiles of all rows, which no client has"),
        ({"estimator": 3}, TypeError, "estimator must be a skorch net"),
        ({"scoring": "nothing"}, ValueError, "nothing"),
    ],
)
def test_bad_input_is_explained(params, error, message):
    with pytest.raises(error, match=message):
        FederatedClassifier(**{"estimator": net(), "n_rounds": 1, **params}).fit(X, Y)


@pytest.mark.parametrize("fuse", [PFNM(), FedMA(), PFNM(sigma=-1.0)], ids=repr)
def test_what_cannot_be_matched_is_said_before_anything_is_trained(fuse):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            h = self.first(x).relu()
            return self.last(h + self.second(h).relu())

    class Untrained(NeuralNetClassifier):
        def train_step(self, *args, **params):
            raise AssertionError("It is trained.")

    estimator = Untrained(Residual, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0)
    message = "sigma must be" if getattr(fuse, "sigma", 1) < 0 else "computed by 2: first.weight, second.weight"
    with pytest.raises(ValueError, match=message):
        FederatedClassifier(estimator, fuse=fuse, n_rounds=1, vectorize=False).fit(X, Y, groups=CLIENT)


def test_alignment_by_activations_and_groups_of_another_length():
    federated = FederatedClassifier(net(), align=ActivationMatching(), n_rounds=2, random_state=0).fit(X, Y)
    assert federated.score(X, Y) > 0.6
    with pytest.raises(ValueError, match="groups has 3 entries for 80 rows"):
        FederatedClassifier(net()).fit(X, Y, groups=[1, 2, 3])
