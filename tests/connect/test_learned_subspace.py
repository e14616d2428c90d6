"""Subspaces that are learned from scratch, beside steps that are written by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.connect import Bezier, Complex, LearnedSubspace, Line, Path, SimplicialComplex
from skfusion.connect._descent import WARM_UP, cosine
from skfusion.connect._learned_subspace import squared_cosine
from skfusion.objective import Batch, ModuleObjective


def perceptron(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def starts(n):
    return [{k: v.detach() for k, v in perceptron(seed + 1).state_dict().items()} for seed in range(n)]


def batches(n=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n * 10, 3, dtype=torch.float64, generator=generator)
    return [Batch(part, (part[:, 0] > part[:, 1]).long()) for part in x.split(10)]


def cross_entropy(out, batch):
    return nn.functional.cross_entropy(out, batch.y)


def objective(rows=None, criterion=cross_entropy):
    rows = batches() if rows is None else rows
    return ModuleObjective(perceptron(), lambda: rows, criterion=criterion)


def gradient(state, batch):
    leaves = {k: v.clone().requires_grad_() for k, v in state.items()}
    loss = cross_entropy(functional_call(perceptron(), leaves, (batch.x,)), batch)
    return dict(zip(leaves, torch.autograd.grad(loss, [*leaves.values()]), strict=True)), float(loss.detach())


PLAIN = {"n_epochs": 1, "momentum": 0.0, "weight_decay": 0.0, "beta": 0.0, "random_state": 3}
FIRST = 0.1  # the factor on the rate of the first step


@pytest.mark.parametrize(("basis", "n"), [(None, 1), (None, 2), (None, 3), (Line(), 2), (Bezier(), 3)], ids=repr)
def test_a_step_moves_each_corner_by_its_coefficient(basis, n):
    states, (batch, *_) = starts(n), batches()
    found = LearnedSubspace(basis, lr=0.5, **PLAIN)(states, objective([batch]))
    drawn = basis or Complex([range(n)])
    c = drawn.weights(drawn.sample(np.random.RandomState(3), n), n)
    point = {k: sum(w * s[k] for w, s in zip(c, states, strict=True)) for k in states[0]}
    slope, loss = gradient(point, batch)
    assert found.history == pytest.approx((loss,))
    for w, before, after in zip(c, states, found.controls, strict=True):
        for k, v in before.items():
            torch.testing.assert_close(after[k], v - 0.5 * FIRST * w * slope[k], rtol=0, atol=1e-12)


def test_layers_draw_points_of_their_own():
    states, (batch, *_) = starts(2), batches()
    found = LearnedSubspace(Line(), layerwise=True, lr=0.5, **PLAIN)(states, objective([batch]))
    rng = np.random.RandomState(3)
    t = {name: rng.uniform() for name in ("0", "2")}
    point = {k: (1 - t[k[0]]) * states[0][k] + t[k[0]] * states[1][k] for k in states[0]}
    slope, _ = gradient(point, batch)
    for j, (before, after) in enumerate(zip(states, found.controls, strict=True)):
        for k, v in before.items():
            c = t[k[0]] if j else 1 - t[k[0]]
            torch.testing.assert_close(after[k], v - 0.5 * FIRST * c * slope[k], rtol=0, atol=1e-12)


def test_one_state_is_trained_as_ever():
    settings = {"n_epochs": 4, "lr": 0.2, "momentum": 0.9, "weight_decay": 0.01}
    (state,) = starts(1)
    found = LearnedSubspace(**settings)([state], objective())
    module = perceptron()
    module.load_state_dict(state)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    rows = batches() * 4
    for i, batch in enumerate(rows):
        optimizer.param_groups[0]["lr"] = 0.2 * cosine(i / len(rows))
        optimizer.zero_grad()
        cross_entropy(module(batch.x), batch).backward()
        optimizer.step()
    for k, v in module.state_dict().items():
        torch.testing.assert_close(found.controls[0][k], v, rtol=0, atol=1e-10)


def test_the_rate_rises_and_falls():
    assert cosine(0.0) == pytest.approx(0.1)
    assert cosine(WARM_UP) == pytest.approx(0.5 * (1 + math.cos(math.pi * WARM_UP)))
    assert cosine(0.5) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0, abs=1e-12)


def test_gradient_of_the_squared_cosine():
    pair = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    by_hand = (pair[0] @ pair[1] / (pair[0].norm() * pair[1].norm())) ** 2
    (expected,) = torch.autograd.grad(by_hand, pair)
    square, matrix = squared_cosine(pair.detach())
    assert square == pytest.approx(float(by_hand.detach()))
    torch.testing.assert_close(matrix @ pair.detach(), expected)
    right = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert squared_cosine(right)[0] == 0
    assert not squared_cosine(right)[1].any()
    assert not squared_cosine(torch.tensor([[3.0, 0.0], [0.0, 0.0]]))[1].any()


def cosines(states):
    flat = [torch.cat([v.flatten() for v in s.values() if v.dim() > 1]) for s in states]
    return [float(torch.cosine_similarity(a, b, 0)) ** 2 for a, b in itertools.combinations(flat, 2)]


@pytest.mark.parametrize("n", [2, 3])
def test_the_penalty_makes_corners_orthogonal(n):
    def no_loss(out, batch):
        return 0 * out.sum()

    states = starts(3)[-n:]
    data = objective(criterion=no_loss)
    before = cosines(states)
    assert max(before) > 0.01
    found = LearnedSubspace(n_epochs=60, weight_decay=0.0)(states, data)
    assert max(cosines(found.controls)) < 0.1 * max(before)
    for control, state in zip(found.controls, states, strict=True):
        assert all(torch.equal(control[k], v) for k, v in state.items() if v.dim() == 1)  # biases have no part in it
    still = LearnedSubspace(n_epochs=5, weight_decay=0.0, beta=0.0)(states, data)
    assert all(torch.equal(still.controls[0][k], v) for k, v in states[0].items())


def test_kinds_of_subspaces():
    states, data = starts(3), objective()
    simplex = LearnedSubspace(n_epochs=1)(states, data)
    assert isinstance(simplex, SimplicialComplex)
    assert (simplex.networks, simplex.basis.simplexes) == ((), ((0, 1, 2),))
    assert simplex.at([0, 1, 0]) is simplex.controls[1]
    curve = LearnedSubspace(Bezier(), n_epochs=1)(states, data)
    assert isinstance(curve, Path)
    assert curve.networks == ()  # all are trained, so that no one has BatchNorm statistics of its own
    assert curve.weights(0.5).tolist() == [0.25, 0.5, 0.25]


def test_the_whole_simplex_is_learned():
    found = LearnedSubspace(n_epochs=60, lr=0.5)(starts(3), objective())
    for point in [*found.grid(3), found.basis.center(3)]:
        losses = [gradient(found.at(point), batch)[1] for batch in batches()]
        assert np.mean(losses) < 0.5  # of 0.69 by chance


@pytest.mark.parametrize(
    ("connect", "n", "message"),
    [
        (LearnedSubspace(Line()), 3, r"Line\(\) has two control states; got 3"),
        (LearnedSubspace(Bezier()), 1, r"Bezier\(\) has two or more control states; got 1"),
        (LearnedSubspace(beta=-1.0), 2, "beta must be finite and at least 0; got -1.0"),
        (LearnedSubspace(n_epochs=1.5), 2, "n_epochs must be a whole number"),
        (LearnedSubspace(lr=1e8, n_epochs=20), 2, r"diverged in epoch \d+: its loss is (inf|nan)"),
    ],
)
def test_bad_settings_are_named(connect, n, message):
    def squared(out, batch):
        return out.square().mean()

    with pytest.raises(ValueError, match=message):
        connect(starts(n), objective(criterion=squared))


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="basis must be that of a path"):
        LearnedSubspace("line").check()
    with pytest.raises(ValueError, match="LearnedSubspace trains on labelled rows: give it an objective"):
        LearnedSubspace()(starts(2))
    with pytest.raises(ValueError, match="the objective has none"):
        LearnedSubspace(n_epochs=2)(starts(2), objective([]))
    with pytest.raises(ValueError, match="the labels are missing"):
        LearnedSubspace(n_epochs=2)(starts(2), objective([Batch(batches()[0].x, None)]))
