"""Rounds of a federation and what they must equal: plain training, steps on all rows, weights in place of copies."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import FederatedClassifier, FederatedRegressor, SoupClassifier, SoupRegressor
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.merge import PFNM, FedAdam, FedAvgM, FedMA, FedYogi, Fisher, Greedy, RegMean, TaskArithmetic, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.8)
VALUES = X[:, 0] - 2 * X[:, 1]
CLIENT = np.array(["a", "b", "c"])[np.r_[np.zeros(15), np.ones(30), np.full(45, 2)].astype(int)]
SMALL = {"module__hidden": (8,), "lr": 0.02}
PLAIN = {"module__hidden": (6,), "optimizer": torch.optim.SGD, "optimizer__weight_decay": 0.0, "batch_size": 10**6}
PLAIN |= {"optimizer__fused": None, "lr": 0.3}


def assert_equal(first, second, **tolerance):
    """Raise where two states differ, by more than rounding where a tolerance is given."""
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("how", [{"n_clients": 1}, {"groups": np.zeros(90)}], ids=["all", "one group"])
def test_one_client_is_plain_training(norm, how):
    net = mlp_classifier(**SMALL, module__norm=norm)
    groups = how.get("groups")
    params = {"n_clients": 1} if groups is None else {}
    one = FederatedClassifier(net, n_rounds=1, local_epochs=4, random_state=3, **params).fit(X, Y, groups=groups)
    plain = SoupClassifier(net.set_params(max_epochs=4), collect=Seeds(1), merge=Uniform(), random_state=3).fit(X, Y)
    assert_equal(one.state_, plain.state_)
    net = mlp_regressor(**SMALL)
    one = FederatedRegressor(net, n_rounds=1, local_epochs=4, random_state=3, **params).fit(X, VALUES, groups=groups)
    plain = SoupRegressor(net.set_params(max_epochs=4), collect=Seeds(1), merge=Uniform(), random_state=3)
    assert_equal(one.state_, plain.fit(X, VALUES).state_)


def test_rounds_of_one_client_are_epochs():
    net = mlp_classifier(**PLAIN)
    fits = [FederatedClassifier(net, n_rounds=n, local_epochs=12 // n, n_clients=1, random_state=0) for n in (1, 3, 12)]
    first, *others = [fit.fit(X, Y).state_ for fit in fits]
    for other in others:
        assert_equal(first, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("vectorize", [False, True])
def test_a_step_of_each_client_is_a_step_on_all_rows(weighted, vectorize):
    # the mean of the clients' gradients by their rows is the gradient of the mean loss of all rows
    weight = RNG.uniform(0.5, 3.0, size=len(X)) if weighted else None
    net = mlp_classifier(**PLAIN)
    params = {"n_rounds": 3, "local_epochs": 1, "random_state": 0, "vectorize": vectorize}
    apart = FederatedClassifier(net, **params).fit(X, Y, sample_weight=weight, groups=CLIENT)
    together = FederatedClassifier(net, **params, n_clients=1).fit(X, Y, sample_weight=weight)
    start = FederatedClassifier(net, **{**params, "n_rounds": 1}, n_clients=1).fit(X, Y, sample_weight=weight)
    assert_equal(apart.state_, together.state_, rtol=1e-3, atol=1e-5)
    assert (start.state_["layers.0.weight"] - apart.state_["layers.0.weight"]).abs().max() > 0.01


@pytest.mark.parametrize("fuse", [None, PFNM(correct=True), FedMA()])
def test_a_copy_of_a_client_changes_nothing_but_its_weight(fuse):
    net = mlp_regressor(**{**PLAIN, "lr": 0.05})
    params = {"n_rounds": 2, "local_epochs": 3, "random_state": 0, "fuse": fuse}
    copied = np.r_[np.arange(90), np.flatnonzero(CLIENT == "b")]
    names = np.r_[CLIENT, np.full(30, "d")]
    twice = FederatedRegressor(net, **params).fit(X[copied], VALUES[copied], groups=names)
    if fuse is None:
        weight = np.where(CLIENT == "b", 2.0, 1.0)
        weighted = FederatedRegressor(net, **params).fit(X, VALUES, sample_weight=weight, groups=CLIENT)
        assert_equal(twice.state_, weighted.state_, rtol=1e-4, atol=1e-5)
        assert weighted.client_weights_ == {"a": 15.0, "b": 60.0, "c": 45.0}
    members = {member.name: member.state for member in twice.pool_}
    assert_equal(members["b"], members["d"], rtol=1e-4, atol=1e-6)  # from one start on equal rows, without shuffling
    assert twice.history_[-1]["n_parameters"] == twice.history_[0]["n_parameters"]


def test_clients_of_like_shape_train_as_one_program():
    groups = np.arange(90) % 5
    for norm in (None, "layer"):
        net = mlp_classifier(**SMALL, module__norm=norm, batch_size=8)
        params = {"n_rounds": 2, "local_epochs": 2, "random_state": 0}
        fits = [FederatedClassifier(net, **params, vectorize=how).fit(X, Y, groups=groups) for how in (True, False)]
        assert_equal(*(fit.state_ for fit in fits), rtol=1e-4, atol=1e-5)


def test_results_do_not_depend_on_processes_nor_on_the_order_of_rows():
    net = mlp_classifier(**SMALL)
    params = {"n_rounds": 2, "local_epochs": 2, "random_state": 0, "vectorize": False}
    first = FederatedClassifier(net, **params).fit(X, Y, groups=CLIENT)
    assert_equal(first.state_, FederatedClassifier(net, **params, n_jobs=2).fit(X, Y, groups=CLIENT).state_)
    order = RNG.permutation(90)
    again = FederatedClassifier(net, **params).fit(X[order], Y[order], groups=CLIENT[order])
    assert_equal(first.state_, again.state_, rtol=1e-4, atol=1e-5)  # sums of the moments are in another order


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize(
    "params",
    [
        {"fuse": Uniform()},
        {"fuse": Greedy()},
        {"fuse": Fisher()},
        {"fuse": RegMean()},
        {"fuse": TaskArithmetic(0.5)},
        {"fuse": PFNM(correct=True)},
        {"fuse": FedMA()},
        {"fuse": FedMA(gamma=1e3, sigma=0.1), "n_rounds": 2},
        {"align": WeightMatching()},
        {"align": WeightMatching(), "common_start": False, "n_rounds": 1},
        {"fuse": PFNM(), "common_start": False, "n_rounds": 1},
        {"server": FedAvgM(momentum=0.5)},
        {"server": FedAdam(lr=0.1), "align": WeightMatching()},
        {"server": FedYogi(lr=0.1)},
        {"client_fraction": 0.6},
    ],
    ids=str,
)
def test_every_way_to_fuse_learns(params, norm):
    groups = np.arange(90) % 3
    net = mlp_classifier(**SMALL, module__norm=norm, batch_size=16)
    federated = FederatedClassifier(net, **{"n_rounds": 6, "random_state": 0} | params).fit(X, Y, groups=groups)
    base_rate = np.bincount(Y).max() / len(Y)
    assert federated.score(X, Y) > base_rate + 0.1
    assert (federated.estimator_.predict(X) == federated.predict(X)).all()


@pytest.mark.parametrize("server", [None, FedAvgM(lr=0.5), FedAdam(lr=0.1)])
def test_statistics_are_those_of_the_weights_that_the_server_has(server):
    net = mlp_classifier(**SMALL, module__norm="batch")
    federated = FederatedClassifier(net, server=server, n_rounds=2, random_state=0).fit(X, Y, groups=CLIENT)
    module, seen = federated.estimator_.module_.eval(), []
    norm = next(layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d))
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    module(torch.from_numpy(X))
    torch.testing.assert_close(norm.running_mean, seen[0].mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, seen[0].var(0), rtol=1e-4, atol=1e-5)


def test_parameters_that_a_net_does_not_train_stay():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
            with torch.no_grad():
                self.last.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
            self.last.bias.requires_grad_(False)

        def forward(self, x):
            return self.last(self.first(x).relu())

    net = NeuralNetClassifier(Frozen, criterion=nn.CrossEntropyLoss, lr=0.1, train_split=None, verbose=0)
    for params in ({}, {"fuse": FedMA()}, {"server": FedAdam()}):
        federated = FederatedClassifier(net, n_rounds=1, random_state=0, **params).fit(X, Y, groups=CLIENT)
        torch.testing.assert_close(federated.state_["last.bias"], torch.tensor([1.0, 2.0, 3.0]))


def test_a_network_that_grows_goes_on_with_its_width():
    net = mlp_classifier(**SMALL)
    fuse = PFNM(sigma=0.05, gamma=1e3, correct=True, max_width=20)
    federated = FederatedClassifier(net, fuse=fuse, n_rounds=4, random_state=0).fit(X, Y, groups=CLIENT)
    sizes = [row["n_parameters"] for row in federated.history_]
    assert sizes == sorted(sizes)
    assert 8 < len(federated.state_["layers.0.weight"]) <= 20
    assert federated.predict_proba(X).shape == (90, 3)


def test_clients_are_drawn_for_each_round():
    groups = np.arange(90) % 6
    federated = FederatedClassifier(mlp_classifier(**SMALL), client_fraction=0.5, n_rounds=12, random_state=0)
    federated.fit(X, Y, groups=groups)
    drawn = [row["clients"] for row in federated.history_]
    assert all(len({*names}) == 3 for names in drawn)
    assert {name for names in drawn for name in names} == {*range(6)}
    assert federated.pool_.names == [str(name) for name in drawn[-1]]
    few = FederatedClassifier(mlp_classifier(**SMALL), client_fraction=0.01, n_rounds=2, local_epochs=1)
    assert [len(row["clients"]) for row in few.fit(X, Y, groups=groups).history_] == [1, 1]
