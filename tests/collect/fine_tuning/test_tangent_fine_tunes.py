"""Fine-tunes in the tangent space of their start, and what merges of them predict."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, SoupRegressor, nets
from skfusion._rows import Rows
from skfusion.collect import FineTunes, TangentFineTunes
from skfusion.merge import TIES, Greedy, RegMean, TaskArithmetic, Uniform
from skfusion.nets import Runner, mlp_classifier, mlp_regressor
from skfusion.pool import ModelPool
from skfusion.repair import Repair
from skfusion.tangent import Linearised, linearised

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
NET = mlp_classifier(max_epochs=3, module__hidden=(6,))
RATES = {"lr": [0.01, 0.003, 0.03]}


def collect(tunes, net=NET, seed=0, **options):
    return tunes.collect(net, X, y, random_state=seed, **options)


def logits(pool, state, given=X):
    return Runner(pool[0].net, "classification", Rows(X, y)).raw(state, given).double()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def is_expanded(pool, start):
    """All members are expanded at the start, which is the base."""
    assert same(pool.base, linearised(start, start))
    for member in pool:
        assert isinstance(member.net.module, Linearised)
        assert not getattr(member.net, "initialized_", False)
        assert same({k: v for k, v in member.state.items() if k.startswith("start.")},
                    {k: v for k, v in pool.base.items() if k.startswith("start.")})  # fmt: skip
        assert not same(member.state, pool.base)


def test_members_are_expansions_at_the_trained_start():
    pool = collect(TangentFineTunes(RATES, 3, init=2))
    is_expanded(pool, {k.removeprefix("net."): v for k, v in pool.base.items() if k.startswith("net.")})
    assert sorted(m.meta["params"]["lr"] for m in pool) == [0.003, 0.01, 0.03]
    sized = nets.sized(clone(NET), Rows(X, y), 3)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=1)[0]
    trained = nets.fit(sized.set_params(max_epochs=2), Rows(X, y), int(seed))
    is_expanded(pool, nets.state_of(trained))
    start = Runner(sized, "classification", Rows(X, y)).raw(nets.state_of(trained), X).double()
    torch.testing.assert_close(logits(pool, pool.base), start, rtol=0, atol=1e-5)


def test_members_train_the_expansion():
    pool = collect(TangentFineTunes(RATES, 3, init=2))
    for member in pool:
        line = Linearised(Runner(NET_SIZED, "classification", Rows(X, y)).module)
        line.load_state_dict(pool.base)
        net = nets.with_module(NET_SIZED, line).set_params(**member.meta["params"])
        expected = nets.fit(net, Rows(X, y), member.meta["seed"])
        assert same(member.state, nets.state_of(expected))
        losses = [row["train_loss"] for row in member.meta["history"]]
        assert losses[-1] < losses[0]


NET_SIZED = nets.sized(clone(NET), Rows(X, y), 3)


def test_module_instances_fitted_nets_and_states_are_starts():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    is_expanded(collect(TangentFineTunes(n_members=2), net), before)
    assert same(module.state_dict(), before)
    fitted = nets.fit(NET_SIZED, Rows(X, y), 7)
    for start in (nets.state_of(fitted), FrozenEstimator(fitted)):
        is_expanded(collect(TangentFineTunes(n_members=1, init=start)), nets.state_of(fitted))


def test_what_would_make_another_network_is_refused():
    with pytest.raises(ValueError, match="tangent space is that of one network: 'module__dropout' cannot be drawn"):
        collect(TangentFineTunes({"lr": [0.1], "module__dropout": [0.1, 0.2]}))
    with pytest.raises(ValueError, match="names 'learning_rate', which is no parameter"):
        collect(TangentFineTunes({"learning_rate": [0.1]}, init=1))
    with pytest.raises(ValueError, match="at least 1 epoch.*got 0"):
        collect(TangentFineTunes(init=0))


def test_proposals_are_taken():
    class Halving:
        def begin(self, seed):
            self.lr, self.told = 0.02, []
            return self

        def ask(self):
            self.lr /= 2
            return {"lr": self.lr}

        def tell(self, params, value):
            self.told.append(value)

    proposals = Halving()
    pool = collect(TangentFineTunes(proposals, 2, init=1))
    assert [m.meta["params"]["lr"] for m in pool] == [0.01, 0.005]
    assert proposals.told == [m.meta["history"][-1]["train_loss"] for m in pool]


# ---- in estimators -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize(("scale", "weights"), [(1.0, None), (0.4, [1.0, -1.0, 2.0])])
def test_outputs_of_a_soup_by_task_arithmetic_add_up(scale, weights, norm):
    net = clone(NET).set_params(module__norm=norm)
    merge = TaskArithmetic(scale, weights)
    soup = SoupClassifier(net, collect=TangentFineTunes(RATES, 3, init=3), merge=merge, random_state=0).fit(X, y)
    pool = soup.pool_
    f_0, *each = (logits(pool, state) for state in (pool.base, *pool.states))
    expected = f_0 + scale * sum(w * (f - f_0) for w, f in zip(weights or [1, 1, 1], each, strict=True))
    assert max(float((f - f_0).abs().max()) for f in each) > 0.01
    torch.testing.assert_close(logits(pool, soup.state_), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(soup.predict_proba(X), expected.softmax(1).numpy(), atol=1e-4)
    assert isinstance(soup.estimator_.module_, Linearised)
    np.testing.assert_allclose(soup.estimator_.predict_proba(X), soup.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("merge", [Uniform(), Greedy(), TaskArithmetic(None), TIES()])
def test_mergers_of_every_kind_keep_the_point_of_expansion(merge):
    net = clone(NET).set_params(module__norm="batch")
    soup = SoupClassifier(net, collect=TangentFineTunes(RATES, 3, init=3), merge=merge, random_state=0).fit(X, y)
    start = {k: v for k, v in soup.pool_.base.items() if k.startswith("start.")}
    assert all(torch.equal(soup.state_[k], v) for k, v in start.items())
    assert soup.score(X, y) > 0.5
    again = clone(soup).fuse(soup.pool_, X, y, held_out=soup.held_out_)  # the estimator's own net is no expansion
    np.testing.assert_allclose(again.predict_proba(X), soup.predict_proba(X), atol=1e-6)
    restored = pickle.loads(pickle.dumps(soup))
    np.testing.assert_allclose(restored.predict_proba(X), soup.predict_proba(X), atol=1e-6)


def test_a_pool_from_a_directory_asks_for_an_expansion_and_takes_it(tmp_path):
    fitted = SoupClassifier(NET, collect=TangentFineTunes(RATES, 2, init=1), merge=Uniform(), random_state=0).fit(X, y)
    fitted.pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    with pytest.raises(
        ValueError, match=r"give the net skfusion\.nets\.with_module\(net, skfusion\.tangent\.Linearised"
    ):
        SoupClassifier(NET, collect=pool, merge=Uniform()).fit(X, y)
    net = nets.with_module(NET, Linearised(Runner(NET_SIZED, "classification", Rows(X, y)).module))
    found = SoupClassifier(net, collect=pool, merge=Uniform()).fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


def test_regmean_says_that_it_does_not_reach_expansions():
    with pytest.raises(ValueError, match=r"equal in all \d of them.*use Uniform.*TangentFineTunes"):
        SoupClassifier(NET, collect=TangentFineTunes(RATES, 2, init=1), merge=RegMean(), random_state=0).fit(X, y)


def test_ties_keeps_its_share_of_what_was_trained():
    pool = collect(TangentFineTunes(RATES, 2, init=1))
    merged = TIES(0.2)([pool.states[0]], pool.base)
    names = ["net." + name for name, _ in Runner(NET_SIZED, "classification").module.named_parameters()]
    kept = sum(int((merged[name] != pool.base[name]).sum()) for name in names)
    assert kept == round(0.2 * sum(pool.base[name].numel() for name in names))


def test_an_ensemble_of_expansions_is_that_of_its_members():
    fitted = EnsembleClassifier(NET, collect=TangentFineTunes(RATES, 2, init=2), random_state=0).fit(X, y)
    pool = fitted.pool_
    expected = sum(logits(pool, m.state).softmax(1) for m in pool) / 2
    for ensemble in (fitted, EnsembleClassifier(NET).fuse(pool, X, y), EnsembleClassifier(collect=pool).fit(X, y)):
        np.testing.assert_allclose(ensemble.predict_proba(X), expected.numpy(), atol=1e-6)


def test_ordinary_fine_tunes_can_be_expanded_afterwards():
    pool = collect(FineTunes(RATES, 3, init=3))
    lines = [m.replace(state=linearised(m.state, pool.base), net=None) for m in pool]
    given = ModelPool(lines, linearised(pool.base, pool.base))
    net = nets.with_module(NET_SIZED, Linearised(Runner(NET_SIZED, "classification", Rows(X, y)).module))
    soup = SoupClassifier(net, collect=given, merge=TaskArithmetic(0.5)).fit(X, y)
    given = ModelPool([m.replace(net=net) for m in lines], given.base)
    f_0, *each = (logits(given, state) for state in (given.base, *given.states))
    expected = f_0 + 0.5 * sum(f - f_0 for f in each)
    torch.testing.assert_close(logits(given, soup.state_), expected, rtol=0, atol=1e-4)


def test_regressors_and_weights():
    target = X[:, :1].astype(np.float32)
    net = mlp_regressor(max_epochs=3, module__hidden=(6,))
    soup = SoupRegressor(net, collect=TangentFineTunes(RATES, 2, init=10), merge=Uniform(), random_state=0)
    assert soup.fit(X[:, 1:], target, sample_weight=np.linspace(0.1, 2, 150)).score(X[:, 1:], target) > 0.5


def test_repair_is_refused():
    with pytest.raises(ValueError, match="tangent network.*leave repair out"):
        SoupClassifier(NET, collect=TangentFineTunes(n_members=2), merge=Uniform(), repair=Repair()).fit(X, y)
