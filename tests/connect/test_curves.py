"""Curves between networks: where there is nothing to do, equal ends, aligned ends, and digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.align import WeightMatching
from skfusion.connect import Bezier, Fourier, Line, PolyChain
from skfusion.landscape import barrier, excess, loss_along, segment
from skfusion.nets import Runner, mlp_classifier
from skfusion.objective import Batch, ModuleObjective
from skfusion.repair import Recalibrate
from skfusion.testing import _problems as problems
from skfusion.tracing import symmetry_of

KINDS = [PolyChain, Bezier, Fourier]
kinds = pytest.mark.parametrize("kind", KINDS)


def linear_problem():
    """A linear model with a squared loss, and two states of it near the optimum."""
    module = nn.Linear(3, 1).double()
    x = torch.randn(60, 3, dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    batches = [Batch(*parts) for parts in zip(x.split(20), y.split(20), strict=True)]

    def loss(state):
        return float((data.forward(state, x) - y).square().mean())

    data = ModuleObjective(
        module,
        lambda: batches,
        loss,
        lambda state: -loss(state),
        criterion=lambda out, batch: (out - batch.y).square().mean(),
    )
    best = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    ends = [{"weight": best + s, "bias": torch.zeros(1, dtype=torch.float64)} for s in (1.0, -0.5)]
    return data, ends


@kinds
def test_a_linear_model_with_a_convex_loss_needs_no_curve_and_takes_no_harm(kind):
    data, ends = linear_problem()
    assert barrier(*ends, data).sup == 0.0
    path = kind(n_epochs=30, lr=0.02)(ends, data)
    found = loss_along(path, data, 31)
    assert kind is Fourier or found.barrier < 1e-6  # which starts slowly, and stays near the loss of the worse end
    assert found.loss.max() == found.loss[[0, -1]].max()


@kinds
def test_equal_ends_stay_a_loop_of_low_loss(kind):
    data, (a, _) = problems.to_train(), problems.ends()
    loop = kind(n_epochs=20, n_bends=2)([a, {k: v.clone() for k, v in a.items()}], data)
    assert loss_along(loop, data, 21).loss.max() < data.loss(a) + 0.05
    assert loop.at(0.0) is a


def test_the_ends_of_the_laws_have_a_barrier():
    assert barrier(*problems.ends(), problems.to_train()).sup > 0.3


@kinds
def test_an_untrained_curve_is_the_line(kind):
    data, ends = problems.to_train(), problems.ends()
    untrained = kind(n_epochs=0, n_bends=3)(ends, data)
    t = np.linspace(0, 1, 13)
    places = (1 - np.cos(np.pi * t)) / 2 if kind is Fourier else t
    found = loss_along(untrained, data, 13)
    line = np.array(
        [loss_along(through(ends, s), data, 3).loss[1] if 0 < s < 1 else data.loss(ends[int(s)]) for s in places]
    )
    np.testing.assert_allclose(found.loss, line, rtol=0, atol=1e-5)
    assert excess(places, found.loss) == pytest.approx(excess(places, line), abs=1e-5)
    assert untrained.history == ()


def through(ends, s):
    """A path that is at the position ``s`` of the line between its ends when it is half-way."""
    line = Line()(ends)
    return lambda t: line.at({0.0: 0.0, 0.5: s, 1.0: 1.0}[t])


def test_bends_are_recalibrated_as_other_points(digits):
    states, data = digits
    path = PolyChain(n_epochs=2)(states, data)
    bend = path.at(0.5)
    assert bend is path.controls[1]
    found = loss_along(path, data, 5)
    assert found.loss[2] == pytest.approx(data.loss(Recalibrate(1)(bend, states, data)), rel=1e-4)
    assert abs(found.loss[2] - data.loss(bend)) > 0.01
    one_by_one = loss_along(path, data, 5, repair=Recalibrate(1))
    np.testing.assert_allclose(found.loss, one_by_one.loss, rtol=1e-4)


def test_ends_that_were_trained_are_recalibrated(digits):
    states, data = digits
    path = Bezier(n_epochs=3, train_ends=True)(states, data)
    assert not path.own_ends
    found = loss_along(path, data, 3)
    for t, loss in ((0.0, found.loss[0]), (1.0, found.loss[2])):
        assert loss == pytest.approx(data.loss(Recalibrate(1)(path.at(t), [], data)), rel=1e-4)
    assert loss_along(Bezier(n_epochs=3)(states, data), data, 3).loss[0] == pytest.approx(
        data.loss(states[0]), rel=1e-5
    )


@pytest.fixture(scope="module")
def digits():
    """Two perceptrons with BatchNorm that were trained on digits from unlike seeds, and how they are judged."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    train, held_out = Rows(X[:1200], y[:1200]), Rows(X[1200:], y[1200:])
    net = mlp_classifier(module__hidden=(32, 32), module__norm="batch", max_epochs=15, batch_size=64)
    net = nets.sized(net, train, 10)
    states = [nets.state_of(nets.fit(net, train, seed)) for seed in (0, 1)]
    runner = Runner(net, "classification", train)
    return states, nets.Judge(runner, train, held_out)


@kinds
def test_a_curve_between_digits_networks_lowers_the_barrier(digits, kind, untouched_rng):
    states, data = digits
    line = barrier(*states, data)
    found = loss_along(kind(n_epochs=15, lr=0.05)(states, data), data)
    assert line.sup > 0.3
    assert found.barrier < 0.25 * line.sup
    assert found.score_barrier < 0.25 * line.error
    assert found.mean_loss < 0.7 * (line.mean + found.loss[[0, -1]].mean())


def test_more_bends_and_weight_decay_work_on_digits(digits):
    states, data = digits
    path = Bezier(n_bends=3, n_epochs=15, weight_decay=1e-4)(states, data)
    assert loss_along(path, data).barrier < 0.25 * barrier(*states, data).sup


def test_alignment_keeps_the_losses_of_the_ends_and_curves_join_what_was_aligned(digits):
    (a, b), data = digits
    example = next(iter(data.batches())).x[:8]
    symmetry = symmetry_of(data.module, example)
    aligned = WeightMatching()(b, a, symmetry).apply(b)
    assert any(not torch.equal(aligned[k], b[k]) for k in b)
    assert data.loss(aligned) == pytest.approx(data.loss(b), abs=1e-6)
    assert data.score(aligned) == data.score(b)
    before, after = (barrier(a, end, data).sup for end in (b, aligned))
    assert after < before
    path = Bezier(n_epochs=15)([a, aligned], data)
    assert path.at(1.0) is aligned
    assert loss_along(path, data).barrier < 0.25 * before  # of `after` the curve may leave anything, as it may be zero
    assert path.length() < Bezier(n_epochs=15)([a, b], data).length()


def test_a_curve_of_a_network_without_classes():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    rows = Rows(X, (X[:, :1] * X[:, 1:2]).astype(np.float32))
    net = nets.sized(nets.mlp_regressor(module__hidden=(16,), max_epochs=30), rows, 1)
    states = [nets.state_of(nets.fit(net, rows, seed)) for seed in (0, 1)]
    data = nets.Judge(Runner(net, "regression", rows), rows, rows)
    path = Bezier(n_epochs=30)(states, data)
    assert loss_along(path, data).barrier < 0.5 * loss_along(segment(*states), data).barrier
