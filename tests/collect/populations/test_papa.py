"""PAPA: members that are pulled towards their mean."""

import math

import looped
import numpy as np
import pytest
import torch
from looped import check_same_state, same_bits
from skorch import NeuralNetRegressor
from skorch.callbacks import LRScheduler
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import PAPA
from skfusion.collect._train_runs import train
from skfusion.collect.populations._papa import _Pull
from skfusion.merge import Greedy, Uniform
from skfusion.nets import Together, mlp_classifier
from skfusion.nets._tabular import CosineAnnealing
from skfusion.testing import _problems as problems

ROWS = problems.rows()
BOTH = pytest.mark.parametrize("vectorize", [True, False])


def collect(collector, **params):
    return looped.collect(collector, problems.net(**params), ROWS)


def independent(collector, **params):
    """The members of the same runs where nothing acts on them."""
    net = problems.sized_net(**params)
    return train(net, ROWS, collector.runs(net, ROWS, np.random.RandomState(0)), vectorize=collector.vectorize)


def together(*tensors, rates=None):
    return Together(1, 3, [*tensors], [1.0] * len(tensors[0]) if rates is None else rates, lambda k: {})


def spread(x):
    return float((x - x.mean(0)).square().sum())


# ---- a pull --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.99, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_a_pull_keeps_the_mean_and_scales_the_spread(alpha, dtype, tolerance):
    theta = torch.randn(5, 40, dtype=dtype)
    mean, before = theta.mean(0), spread(theta)
    _Pull(alpha, 1).act(together(theta))
    torch.testing.assert_close(theta.mean(0), mean, rtol=0, atol=tolerance)
    assert spread(theta) == pytest.approx(alpha**2 * before, rel=10 * tolerance, abs=tolerance)


def test_the_pull_is_weaker_where_the_rate_is_lower():
    theta = torch.randn(4, 30, dtype=torch.float64)
    before = spread(theta)
    _Pull(0.9, 1).act(together(theta, rates=[0.25] * 4))
    assert spread(theta) == pytest.approx((1 - 0.1 * 0.25) ** 2 * before, rel=1e-12)


def test_each_member_has_its_own_rate():
    theta = torch.randn(3, 6, 2, dtype=torch.float64)
    start, rates = theta.clone(), [1.0, 0.5, 0.0]
    _Pull(0.8, 1).act(together(theta, rates=rates))
    for k, rate in enumerate(rates):
        expected = start[k] + 0.2 * rate * (start.mean(0) - start[k])
        torch.testing.assert_close(theta[k], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38, 1e4])
def test_the_mean_is_that_of_members_that_have_not_diverged(bad):
    theta, statistics = torch.randn(4, 5), torch.randn(4, 2)
    theta[2, 1] = bad
    finite = [0, 1, 3]
    expected = [0.5 * x[finite] + 0.5 * x[finite].mean(0) for x in (theta, statistics)]
    _Pull(0.5, 1).act(together(theta, statistics))
    torch.testing.assert_close(theta[finite], expected[0])
    torch.testing.assert_close(statistics[finite], expected[1])


def test_where_all_have_diverged_nothing_is_done():
    theta = torch.full((2, 3), math.nan)
    _Pull(0.5, 1).act(together(theta))
    assert theta.isnan().all()


# ---- a training ----------------------------------------------------------------------------------------------------


@BOTH
def test_without_a_pull_members_are_independent(vectorize, untouched_rng):
    papa = PAPA(3, alpha=1.0, every=1, vectorize=vectorize)
    alone = independent(papa)
    for member, other in zip(collect(papa), alone, strict=True):
        check_same_state(other.state, member.state, 1e-6)
    assert not same_bits(alone[0].state, alone[1].state)


@BOTH
def test_one_member_is_not_changed(vectorize):
    papa = PAPA(1, alpha=0.5, every=1, vectorize=vectorize)
    assert same_bits(collect(papa)[0].state, independent(papa)[0].state)


@BOTH
def test_a_full_pull_makes_members_equal(vectorize):
    pool = collect(PAPA(3, alpha=0.0, every=3, vectorize=vectorize))
    assert all(same_bits(pool[0].state, member.state) for member in pool)
    pool = collect(PAPA(3, alpha=0.0, every=5, vectorize=vectorize))  # not after the last of 12 steps
    assert not same_bits(pool[0].state, pool[1].state)


@BOTH
def test_constants_are_left_alone(vectorize):
    pool = collect(PAPA(3, alpha=0.3, every=1, vectorize=vectorize))
    trained = {name for name in pool.base if name.endswith(("weight", "bias", "running_mean", "running_var"))}
    constant = [name for name, t in pool.base.items() if t.is_floating_point() and name not in trained]
    assert constant
    assert all(torch.equal(member.state[name], pool.base[name]) for member in pool for name in constant)


def lines(n_epochs, **params):
    """Least squares by full batches, where a run is a formula; members differ in their rates."""
    net = NeuralNetRegressor(nn.Linear, module__in_features=3, module__out_features=1, batch_size=24, verbose=0)
    return net.set_params(max_epochs=n_epochs, train_split=None, optimizer=torch.optim.SGD, **params)


def literal(start, rates, alpha, every, n_steps, factor, momentum):
    """Restate the method for :func:`lines`: gradients by hand, one number after another."""
    rows = problems.rows("regression")
    X = np.hstack([rows.X.astype(float), np.ones((len(rows), 1))])
    w = [np.append(start["weight"].double().numpy(), start["bias"].double().numpy()) for _ in rates]
    v = [np.zeros(4) for _ in rates]
    for step in range(1, n_steps + 1):
        for k, rate in enumerate(rates):
            v[k] = momentum * v[k] + 2 * X.T @ (X @ w[k] - rows.y[:, 0]) / len(X)
            w[k] = w[k] - rate * factor(step - 1) * v[k]
        if step % every == 0:
            share, mean = (1 - alpha) * factor(step - 1), sum(w) / len(w)
            w = [(1 - share) * own + share * mean for own in w]
    return w


@BOTH
@pytest.mark.parametrize("annealed", [False, True])
def test_a_run_is_its_literal_restatement(vectorize, annealed):
    rates, n = [0.1, 0.03, 0.01], 7
    callbacks = [("anneal", CosineAnnealing(0.1))] if annealed else []
    net = lines(n, callbacks=callbacks, optimizer__momentum=0.9)
    papa = PAPA(3, alpha=0.8, every=2, params=[{"lr": rate} for rate in rates], vectorize=vectorize)
    pool = looped.collect(papa, net, problems.rows("regression"))

    def factor(epoch):
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * epoch / n)) if annealed else 1.0

    for member, expected in zip(pool, literal(pool.base, rates, 0.8, 2, n, factor, 0.9), strict=True):
        found = np.append(member.state["weight"].numpy(), member.state["bias"].numpy())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert [member.meta["params"] for member in pool] == [{"lr": rate} for rate in rates]


def test_schedules_by_batches_are_seen():
    def pool(vectorize, gamma):
        schedule = LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=gamma, step_every="batch")
        papa = PAPA(4, alpha=0.2, every=2, vectorize=vectorize)
        return collect(papa, module__norm=None, callbacks=[("schedule", schedule)])

    for a, b in zip(pool(False, 0.8), pool(True, 0.8), strict=True):
        check_same_state(a.state, b.state, 1e-5)


@BOTH
def test_weights_of_rows_count(vectorize):
    papa = PAPA(3, alpha=0.5, every=1, vectorize=vectorize)
    weight = np.linspace(0.1, 1.9, len(ROWS))
    pools = [looped.collect(papa, problems.net(), ROWS, sample_weight=w) for w in (None, weight)]
    assert not same_bits(pools[0][0].state, pools[1][0].state)
    one, two = (
        looped.collect(PAPA(3, vectorize=v), problems.net(module__norm=None), ROWS, sample_weight=weight)
        for v in (True, False)
    )
    for a, b in zip(one, two, strict=True):
        check_same_state(a.state, b.state, 1e-5)


# ---- its use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", [Uniform(), Greedy()], ids=repr)
def test_a_soup_needs_no_alignment(merge):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(160, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = mlp_classifier(max_epochs=25, module__hidden=(32,), batch_size=16, lr=0.02)
    soup = SoupClassifier(net, collect=PAPA(4), merge=merge, random_state=0).fit(X, y)
    assert soup.pool_.names == [f"papa-{i}" for i in range(4)]
    assert soup.pool_.base is not None
    single = [EnsembleClassifier().fuse(soup.pool_[[name]], X, y).score(X, y) for name in soup.pool_.names]
    assert soup.score(X, y) >= min(single) - 0.02


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -0.1}, "alpha is the share"),
        ({"alpha": 1.1}, "alpha is the share"),
        ({"alpha": math.nan}, "alpha is the share"),
        ({"alpha": "0.9"}, "alpha is the share"),
        ({"every": 0}, "every is a number of steps"),
        ({"every": 2.5}, "every is a number of steps"),
        ({"n_members": 0}, "n_members must be at least 1"),
        ({"params": {}}, "params must be a dict of lists"),
        ({"params": [3]}, "params must be a dict of lists"),
        ({"params": {"max_epochs": [1, 2]}}, "take the same steps, and params has 'max_epochs'"),
        ({"params": {"rate": [1, 2]}}, "params names 'rate'"),
        ({"params": {"module__hidden": [(3,), (4,)]}}, "The start does not fit"),
        ({"init": 0}, "init must be at least 1 epoch"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        collect(PAPA(**{"n_members": 2, **params}), max_epochs=1)
