"""Independent runs that differ in their hyperparameters too."""

import numpy as np
import pytest
import torch
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import Hyper, Seeds
from skfusion.collect.independent._hyper import same
from skfusion.combine import Stack
from skfusion.nets import mlp_classifier
from skfusion.select import TopK
from skfusion.testing import _problems as problems

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
SHAPES = [{"module__hidden": (4,)}, {"module__hidden": (6, 5), "lr": 0.05}, {"module__dropout": 0.3}]


def net(**params):
    return mlp_classifier(**{"max_epochs": 8, "module__hidden": (8,), "lr": 0.02, **params})


def collect(hyper, given=None, seed=7, **params):
    return hyper.collect(given or net(), X, y, random_state=seed, **params)


def test_a_member_is_a_run_with_its_setting():
    pool = collect(Hyper(SHAPES))
    seeds = np.random.RandomState(7).randint(np.iinfo(np.int32).max, size=3)
    assert pool.names == ["hyper-0", "hyper-1", "hyper-2"]
    for member, seed, setting in zip(pool, seeds, SHAPES, strict=True):
        sized = nets.sized(net(**setting), Rows(X, y), 3)
        fitted = nets.fit(sized, Rows(X, y), int(seed))
        for key, value in nets.state_of(fitted).items():
            assert torch.equal(member.state[key], value)
        nets.Runner(member.net, "classification").place(member.state)
    assert pool[1].meta["params"] == {"module__hidden": "(6, 5)", "lr": 0.05}


def test_lists_give_all_combinations_or_some_of_them():
    given = {"lr": [0.01, 0.02], "module__hidden": [(4,), (6,), (8, 8)]}
    every = collect(Hyper(given))
    assert len({str(m.meta["params"]) for m in every}) == 6
    some = collect(Hyper(given, n_members=4))
    assert len({str(m.meta["params"]) for m in some}) == 4
    more = collect(Hyper(given, n_members=8))
    assert len({str(m.meta["params"]) for m in more}) == 6
    assert len({m.meta["seed"] for m in more}) == 8


def test_settings_come_again_with_other_seeds():
    pool = collect(Hyper(SHAPES[:2], n_members=3))
    assert pool[0].meta["params"] == pool[2].meta["params"]
    assert not torch.equal(pool[0].state["layers.0.weight"], pool[2].state["layers.0.weight"])
    assert pool[0].net is pool[2].net


def test_distributions_are_drawn_from():
    pool = collect(Hyper({"lr": loguniform(1e-3, 1e-1)}, n_members=5))
    rates = [m.meta["params"]["lr"] for m in pool]
    assert len({*rates}) == 5
    assert all(1e-3 <= rate <= 1e-1 for rate in rates)
    assert pool.names == collect(Hyper({"lr": loguniform(1e-3, 1e-1)}, n_members=5), seed=1).names


def test_one_setting_is_seeds():
    alone, seeds = collect(Hyper([{"lr": 0.02}], n_members=3)), collect(Seeds(3))
    assert problems.snapshot(alone.states) == problems.snapshot(seeds.states)


def test_members_do_not_depend_on_processes():
    assert problems.snapshot(collect(Hyper(SHAPES))) == problems.snapshot(collect(Hyper(SHAPES), n_jobs=2))


def test_ensembles_of_unlike_architectures():
    fitted = EnsembleClassifier(net(max_epochs=20), collect=Hyper(SHAPES, n_members=5), random_state=0).fit(X, y)
    P = fitted.predict_members(X)
    for member, found in zip(fitted.pool_, P, strict=True):
        alone = nets.Runner(member.net, "classification").predict(member.state, X)
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)
    assert fitted.score(X, y) > 0.9
    again = clone(fitted).fuse(fitted.pool_, X, y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    without_net = EnsembleClassifier().fuse(fitted.pool_, X, y)
    np.testing.assert_allclose(without_net.predict_proba(X), fitted.predict_proba(X), rtol=1e-5)


@pytest.mark.parametrize("params", [{"combine": Stack(), "cv": 2}, {"select": TopK(2)}], ids=["stack", "select"])
def test_unlike_architectures_are_combined_and_selected(params):
    fitted = EnsembleClassifier(net(max_epochs=20), collect=Hyper(SHAPES), random_state=0, **params).fit(X, y)
    assert fitted.score(X, y) > 0.85


def test_callbacks_may_score_unlike_architectures():
    monitor = ScoringMonitor(scoring="accuracy")
    EnsembleClassifier(net(), collect=Hyper(SHAPES), random_state=0).set_callbacks(monitor).fit(X, y)
    frame = monitor.get_logs().data_as_pandas
    assert (frame.query("task_name == 'epoch'")["accuracy"].between(0, 1)).sum() == 24


def test_soups_of_unlike_architectures_are_refused():
    with pytest.raises(ValueError, match=r"layers\.0\.weight"):
        SoupClassifier(net(), collect=Hyper(SHAPES), random_state=0).fit(X, y)


def test_other_activations_are_computed_by_their_members():
    """Tensors are alike, the code is not: the net of each member must run it."""

    class Shaped(nn.Module):
        def __init__(self, n_in, n_out, activation=torch.tanh):
            super().__init__()
            self.first, self.last, self.activation = nn.Linear(n_in, 6), nn.Linear(6, n_out), activation

        def forward(self, X):
            return self.last(self.activation(self.first(X)))

    settings = [{"module__activation": f} for f in (torch.relu, torch.sin)]
    given = nets.mlp_classifier(max_epochs=8, lr=0.02).set_params(module=Shaped)
    fitted = EnsembleClassifier(given, collect=Hyper(settings), random_state=0).fit(X, y)
    for member, found, f in zip(fitted.pool_, fitted.predict_members(X), (torch.relu, torch.sin), strict=True):
        s = member.state
        hidden = f(torch.from_numpy(X) @ s["first.weight"].T + s["first.bias"])
        expected = (hidden @ s["last.weight"].T + s["last.bias"]).softmax(1)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_settings_of_one_representation_have_nets_of_their_own():
    class Scale(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by

        def forward(self, X):
            return torch.tanh(self.by * X)

    class Scaled(nn.Module):
        def __init__(self, n_in, n_out, act=torch.tanh, signs=None):
            super().__init__()
            self.first, self.last, self.act, self.signs = nn.Linear(n_in, 6), nn.Linear(6, n_out), act, signs

        def forward(self, X):
            return self.last(self.act(self.first(X)) * (1 if self.signs is None else torch.from_numpy(self.signs[:6])))

    given = nets.mlp_classifier(max_epochs=8, lr=0.02).set_params(module=Scaled)
    signs = [np.ones(2000, np.float32), np.ones(2000, np.float32)]
    signs[1][3:1990] = -1  # numpy prints the ends of it only
    settings = [{"module__act": Scale(by)} for by in (1.0, -3.0)]
    settings += [{"module__act": settings[0]["module__act"], "module__signs": given} for given in signs]
    assert repr(settings[0]) == repr(settings[1])
    assert repr(settings[2]) == repr(settings[3])
    fitted = EnsembleClassifier(given, collect=Hyper(settings), random_state=0).fit(X, y)
    for member, found, setting in zip(fitted.pool_, fitted.predict_members(X), settings, strict=True):
        s, by = member.state, setting["module__act"].by
        hidden = torch.tanh(by * (torch.from_numpy(X) @ s["first.weight"].T + s["first.bias"]))
        hidden = hidden * torch.from_numpy(setting.get("module__signs", signs[0])[:6])
        expected = (hidden @ s["last.weight"].T + s["last.bias"]).softmax(1)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert len({id(m.net) for m in fitted.pool_}) == 4


def test_settings_that_are_alike():
    module, other = nn.Tanh(), nn.Tanh()
    assert same({"a": (1, [2.0, "x"]), "b": module, "c": None}, {"c": None, "b": module, "a": (1, [2.0, "x"])})
    assert same(np.float32(0.5), np.float32(0.5))
    for a, b in [(module, other), ((1, 2), [1, 2]), (1, 1.0), (1, True), ((1,), (1, 2)), ({"a": 1}, {"b": 1}), (1, 2)]:
        assert not same(a, b)
    assert not same(np.ones(2), np.ones(2))  # which is safe: the second one has a net of its own
    pool = collect(Hyper([{"module__hidden": (4,)}, {"module__hidden": (2 + 2,)}]))
    assert pool[0].net is pool[1].net


def test_other_modules_are_sized_to_the_data():
    class Wide(nn.Module):
        def __init__(self, n_in, n_out, width=5):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_out))

        def forward(self, X):
            return self.layers(X)

    given = nets.mlp_classifier(max_epochs=2)
    pool = collect(Hyper([{"module": Wide, "module__width": 7}, {"lr": 0.01}]), given)
    assert [tuple(m.state["layers.0.weight"].shape) for m in pool] == [(7, 4), (64, 4)]


@pytest.mark.parametrize(
    ("params", "n_members", "message"),
    [
        ({}, None, "params must be a dict"),
        ([], None, "params must be a dict"),
        ([3], None, "params must be a dict"),
        ({"lr": loguniform(1e-3, 1)}, None, "a distribution, of 'lr'.*give n_members"),
        ({"learning_rate": [0.1]}, None, "params names 'learning_rate', which is no parameter"),
        ({"lr": [0.1]}, 0, "n_members"),
    ],
    ids=["empty", "no-settings", "numbers", "endless", "unknown", "none"],
)
def test_wrong_parameters_are_refused(params, n_members, message):
    with pytest.raises(ValueError, match=message):
        collect(Hyper(params, n_members))


def test_architectures_cannot_be_stacked_nor_drawn_for_a_module_that_is_made():
    with pytest.raises(ValueError, match="vectorize=True.*'module__hidden'"):
        collect(Hyper(SHAPES[:1], vectorize=True))
    with pytest.raises(ValueError, match="given a module that is made already. Give the net its class"):
        collect(Hyper({"module__hidden": [(2,)]}), nets.with_module(net(), nn.Linear(4, 3)))


class Needy(nn.Module):
    """Has no default width."""

    def __init__(self, hidden, n_in=3, n_out=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, n_out))

    def forward(self, x):
        return self.layers(x)


def test_it_draws_by_itself_what_the_net_lacks():
    net = NeuralNetClassifier(Needy, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None)
    rows = problems.rows()
    pool = Hyper([{"module__hidden": 3}, {"module__hidden": 5}]).collect(net, rows.X, rows.y)
    assert [len(member.state["layers.0.weight"]) for member in pool] == [3, 5]
