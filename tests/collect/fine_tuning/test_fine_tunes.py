"""Fine-tunes of one network."""

import json
import math

import looped
import numpy as np
import pytest
import torch
from scipy.stats import loguniform, uniform
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import SoupClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import FineTunes, Seeds
from skfusion.collect.fine_tuning._fine_tunes import sampled
from skfusion.merge import TaskArithmetic, Uniform
from skfusion.nets import DivergedError, mlp_classifier, mlp_regressor
from skfusion.pool import Member, ModelPool
from skfusion.state import distance

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
NET = mlp_classifier(max_epochs=3, module__hidden=(6,))


def collect(tunes, net=NET, seed=0, **options):
    return looped.collect(tunes, net, Rows(X, y), seed, **options)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def alone(pool, member, params, net=NET):
    """The member, trained by itself from the base."""
    sized = nets.sized(clone(net), Rows(X, y), 3).set_params(**params)
    fitted = nets.fit(sized, Rows(X, y), member.meta["seed"], state=pool.base)
    return nets.state_of(fitted)


@pytest.mark.parametrize("vectorize", [False, "auto", True])
def test_members_are_trained_from_the_base_with_their_own_parameters(vectorize):
    pool = collect(
        FineTunes({"lr": [0.003, 0.03], "optimizer__weight_decay": [0.0, 0.1]}, 4, init=2, vectorize=vectorize)
    )
    assert sorted((m.meta["params"]["lr"], m.meta["params"]["optimizer__weight_decay"]) for m in pool) == [
        (0.003, 0.0),
        (0.003, 0.1),
        (0.03, 0.0),
        (0.03, 0.1),
    ]
    for member in pool:
        expected = alone(pool, member, member.meta["params"])
        assert all(torch.allclose(member.state[k], t, atol=1e-5) for k, t in expected.items())
        assert len(member.meta["history"]) == 3
    assert len({m.meta["seed"] for m in pool}) == 4
    json.dumps([dict(m.meta) for m in pool])


def test_epochs_and_modules_may_differ():
    tunes = FineTunes({"max_epochs": [1, 2], "module__dropout": [0.1, 0.5]}, n_members=4, init=1)
    pool = collect(tunes, clone(NET).set_params(module__dropout=0.2))
    assert sorted(len(m.meta["history"]) for m in pool) == [1, 1, 2, 2]
    assert sorted(m.meta["params"]["module__dropout"] for m in pool) == [0.1, 0.1, 0.5, 0.5]


@pytest.mark.parametrize("norm", [None, "batch"])
def test_dropout_of_the_default_net_may_differ(norm):
    net = clone(NET).set_params(module__norm=norm)
    pool = collect(FineTunes({"module__dropout": [0.0, 0.1, 0.5]}, n_members=3, init=1), net)
    for member in pool:
        expected = alone(pool, member, member.meta["params"], net)
        assert same(member.state, expected)
    assert len({m.state["layers.0.weight"].sum().item() for m in pool}) == 3


def test_the_start_is_trained_first():
    sized = nets.sized(clone(NET), Rows(X, y), 3)
    for start, epochs in ((2, 2), (None, 3)):
        pool = collect(FineTunes({"lr": [1e-12]}, n_members=1, init=start))
        seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=3)
        trained = nets.fit(sized.set_params(max_epochs=epochs), Rows(X, y), int(seeds[1]))
        assert same(pool.base, nets.state_of(trained))
        assert distance(pool[0].state, pool.base) < 1e-6


def test_networks_states_and_members_are_starts():
    fitted = nets.fit(nets.sized(clone(NET), Rows(X, y), 3), Rows(X, y), 7)
    state = nets.state_of(fitted)
    for start in (state, fitted, FrozenEstimator(fitted), Member("m", state)):
        pool = collect(FineTunes(n_members=1, init=start))
        assert same(pool.base, state)
        assert (
            pool.base["layers.0.weight"].data_ptr() != state["layers.0.weight"].data_ptr()
            if "layers.0.weight" in state
            else True
        )
    kept = clone(FineTunes(n_members=1, init=FrozenEstimator(fitted)))
    assert same(collect(kept).base, state)


def test_a_module_instance_is_a_start():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    pool = collect(FineTunes(n_members=2), net)
    assert same(pool.base, before)
    assert same(module.state_dict(), before)


def test_starts_that_are_none():
    lost = clone(FineTunes(init=collectible()))
    with pytest.raises(ValueError, match="clone has dropped them"):
        collect(lost)
    with pytest.raises(ValueError, match="at least 1 epoch.*got 0"):
        collect(FineTunes(init=0))
    with pytest.raises(TypeError, match="number of epochs.*'best'"):
        collect(FineTunes(init="best"))
    with pytest.raises(ValueError, match="is missing in the state"):
        collect(FineTunes(init={"w": torch.zeros(3)}))
    pool = collect(FineTunes(n_members=1, init=1))
    broken = {k: v * math.nan if v.is_floating_point() else v for k, v in pool.base.items()}
    with pytest.raises(ValueError, match="member init holds NaN"):
        collect(FineTunes(init=broken))


def test_parameters_that_make_another_network_are_refused():
    with pytest.raises(ValueError, match="start does not fit the network"):
        collect(FineTunes({"module__hidden": [(5,)]}, n_members=1, init=1))


def collectible():
    return nets.fit(nets.sized(clone(NET), Rows(X, y), 3), Rows(X, y), 7)


def test_the_default_draws_learning_rates_below_the_nets():
    net = clone(NET).set_params(lr=0.05)
    rates = [m.meta["params"]["lr"] for m in collect(FineTunes(n_members=6, init=1), net)]
    assert all(0.005 <= rate <= 0.05 for rate in rates)
    assert len(set(rates)) == 6


def test_settings_repeat_when_all_are_drawn():
    found = sampled({"lr": [1, 2, 3]}, 7, 0)
    counts = [sum(s["lr"] == v for s in found) for v in (1, 2, 3)]
    assert sorted(counts) == [2, 2, 3]
    assert sorted(s["lr"] for s in found[:3]) == [1, 2, 3]
    drawn = sampled({"lr": loguniform(1e-3, 1), "momentum": uniform(0, 1)}, 5, 0)
    assert len({s["lr"] for s in drawn}) == 5
    assert all(type(v) is float for s in drawn for v in s.values())
    assert sampled({"lr": loguniform(1e-3, 1)}, 3, 1) != sampled({"lr": loguniform(1e-3, 1)}, 3, 2)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="names 'learning_rate', which is no parameter"):
        collect(FineTunes({"learning_rate": [0.1]}))
    with pytest.raises(TypeError, match="dict or proposals"):
        collect(FineTunes([0.1, 0.2]))


def test_what_json_cannot_hold_is_told_by_its_representation(tmp_path):
    pool = collect(FineTunes({"optimizer": [torch.optim.SGD]}, n_members=1, init=1))
    assert pool[0].meta["params"] == {"optimizer": repr(torch.optim.SGD)}
    pool.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    assert same(loaded.base, pool.base)
    assert loaded[0].meta["params"] == pool[0].meta["params"]


def test_a_run_that_diverges_leaves_the_others():
    with pytest.raises(DivergedError, match="diverged") as caught:
        collect(FineTunes({"lr": [0.01, 1e30]}, n_members=2, init=1, vectorize=False))
    assert len(caught.value.pool) == 1
    assert caught.value.pool.base is not None


# ---- proposals ---------------------------------------------------------------------------------------------------


class Halving:
    """Halve the learning rate each time, and remember what came of it."""

    begun: list = []  # noqa: RUF012

    def begin(self, seed):
        self.begun.append(Proposer())
        return self.begun[-1]


class Proposer:
    def __init__(self):
        self.lr, self.told = 0.1, []

    def ask(self):
        self.lr /= 2
        return {"lr": np.float64(self.lr)}

    def tell(self, params, value):
        self.told.append((params["lr"], value))


def test_proposals_are_asked_for_one_by_one():
    events = []

    class Listener:
        def start(self, n_runs):
            events.append(("start", n_runs))

        def finish(self):
            events.append("finish")

        def begin(self, name, n_epochs):
            events.append(("begin", name, n_epochs))

        def end(self, name, members):
            events.append(("end", name, len(members)))
            return name == "fine-tune-1"

    pool = collect(FineTunes(Halving(), n_members=3, init=1))
    assert [m.meta["params"]["lr"] for m in pool] == [0.05, 0.025, 0.0125]
    losses = [m.meta["history"][-1]["train_loss"] for m in pool]
    assert Halving.begun[-1].told == [*zip([0.05, 0.025, 0.0125], losses, strict=True)]
    short = collect(FineTunes(Halving(), n_members=3, init=1), progress=Listener())
    assert short.names == ["fine-tune-0", "fine-tune-1"]
    assert events == [
        ("start", 3),
        *[e for i in range(2) for e in (("begin", f"fine-tune-{i}", 3), ("end", f"fine-tune-{i}", 1))],
        "finish",
    ]


def test_the_validation_loss_is_told_where_there_is_one():
    from skorch.dataset import ValidSplit

    net = clone(NET).set_params(train_split=ValidSplit(3))
    pool = collect(FineTunes(Halving(), n_members=1, init=1), net)
    assert Halving.begun[-1].told[0][1] == pool[0].meta["history"][-1]["valid_loss"]


def test_a_proposal_that_diverges_is_told_of():
    class Wild(Proposer):
        def ask(self):
            self.lr = 1e30 if self.lr == 0.1 else 0.01
            return {"lr": self.lr}

    class Wilds(Halving):
        def begin(self, seed):
            self.begun.append(Wild())
            return self.begun[-1]

    with pytest.raises(DivergedError, match="fine-tune-0") as caught:
        collect(FineTunes(Wilds(), n_members=2, init=1))
    assert caught.value.pool.names == ["fine-tune-1"]
    assert Halving.begun[-1].told[0] == (1e30, math.inf)


# ---- in estimators -----------------------------------------------------------------------------------------------


def test_a_soup_of_fine_tunes_keeps_what_is_known():
    soup = SoupClassifier(NET, collect=FineTunes(n_members=4, init=5), random_state=0).fit(X, y)
    held = soup.held_out_
    for member in soup.pool_:
        single = nets.restored(soup.net_, member.state, soup.classes_)
        p = single.predict_proba(X[held])
        np.testing.assert_allclose(member.predictions, p, atol=1e-6)
        assert member.score == pytest.approx(np.mean(p.argmax(1) == y[held]))
    assert soup.merge_report_["score"] >= max(m.score for m in soup.pool_)
    assert soup.pool_.base is not None


def test_what_needs_a_base_says_so_before_anything_is_trained():
    class Never(Seeds):
        def __call__(self, *args, **kwargs):
            raise AssertionError("it has trained")

    with pytest.raises(ValueError, match="TaskArithmetic.*needs the common start.*FineTunes"):
        SoupClassifier(NET, collect=Never(2), merge=TaskArithmetic()).fit(X, y)
    pool = collect(Seeds(2))
    with pytest.raises(ValueError, match=r"TaskArithmetic.*pool has no base.*replace\(base=state\)"):
        SoupClassifier(NET, collect=pool, merge=TaskArithmetic()).fit(X, y)
    start = collect(FineTunes(n_members=1, init=1)).base
    SoupClassifier(NET, collect=pool.replace(base=start), merge=TaskArithmetic()).fit(X, y)


def test_task_arithmetic_starts_from_the_base():
    pool = collect(FineTunes(n_members=2, init=2))
    still = SoupClassifier(NET, collect=pool, merge=TaskArithmetic(scale=0.0)).fit(X, y)
    assert same(still.state_, pool.base)
    mean = SoupClassifier(NET, collect=pool, merge=Uniform()).fit(X, y)
    half = SoupClassifier(NET, collect=pool, merge=TaskArithmetic(scale=0.5)).fit(X, y)
    assert all(torch.allclose(mean.state_[k], half.state_[k], atol=1e-6) for k in mean.state_)
    assert sum(half.member_weights_.values()) == pytest.approx(1)


def test_regressors_take_fine_tunes():
    target = X[:, :1].astype(np.float32)
    tunes = FineTunes(n_members=2, init=1)
    pool = tunes.collect(mlp_regressor(max_epochs=1), X[:, 1:], target, random_state=0)
    assert len(pool) == 2


def test_a_fitted_net_that_is_not_the_start_is_told_of():
    net = mlp_classifier(max_epochs=1).set_params(module__n_in=4, module__n_out=3).fit(X.astype("float32"), y)
    tunes = FineTunes(n_members=2)
    with pytest.warns(UserWarning, match=r"does not start from its weights.*init=net.module_.state_dict\(\)"):
        SoupClassifier(net, collect=tunes, random_state=0).fit(X, y)
    given = FineTunes(n_members=2, init=net.module_.state_dict())
    pool = SoupClassifier(net, collect=given, random_state=0).fit(X, y).pool_  # a warning would be an error
    assert same(pool.base, net.module_.state_dict())
