"""Simplicial complexes and simplexes of each mode, beside steps that are written by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.connect import Complex, Line, Path, PolyChain, SimplexPerMode, Simplicial
from skfusion.connect._simplicial import Growth, log_volume, shares
from skfusion.objective import Batch, ModuleObjective


def perceptron(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def modes(n=2):
    return [{k: v.detach() for k, v in perceptron(seed + 1).state_dict().items()} for seed in range(n)]


def batches(n=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n * 10, 3, dtype=torch.float64, generator=generator)
    return [Batch(part, (part[:, 0] > part[:, 1]).long()) for part in x.split(10)]


def cross_entropy(out, batch):
    return nn.functional.cross_entropy(out, batch.y)


def objective(rows=None, criterion=cross_entropy, module=None):
    rows = batches() if rows is None else rows
    return ModuleObjective(module or perceptron(), lambda: rows, criterion=criterion)


def no_loss(out, batch):
    return 0 * out.sum()


def vector(state):
    return torch.cat([v.flatten() for v in state.values()])


def slope_at(vector_, batch, like):
    parts = torch.split(vector_, [v.numel() for v in like.values()])
    state = {k: p.view(v.shape) for p, (k, v) in zip(parts, like.items(), strict=True)}
    leaves = {k: v.clone().requires_grad_() for k, v in state.items()}
    loss = cross_entropy(functional_call(perceptron(), leaves, (batch.x,)), batch)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*leaves.values()])]), float(loss.detach())


def cayley_menger(points):
    """The volume of a simplex, with gradients: points of shape (n + 1, d)."""
    n = len(points) - 1
    bordered = torch.ones(n + 2, n + 2, dtype=points.dtype)
    bordered[0, 0] = 0
    bordered[1:, 1:] = (points[:, None] - points).square().sum(-1)
    return (torch.linalg.det(bordered).abs() / 2**n).sqrt() / math.factorial(n)


# ---- what it is without, and with a single connector -----------------------------------------------------------------


def test_without_connectors_two_modes_have_the_line():
    a, b = modes()
    subspace, line = Simplicial(n_connectors=0)([a, b]), Line()([a, b])
    for t in (0.0, 0.3, 1.0):
        expected = line.at(t)
        assert all(torch.equal(v, expected[k]) for k, v in subspace.at([1 - t, t]).items())
    assert subspace.networks == (0, 1)


def test_one_connector_between_two_modes_is_a_chain():
    subspace = Simplicial(n_connectors=1, n_epochs=2)(modes(), objective())
    assert subspace.basis.simplexes == ((0, 2), (1, 2))
    a, b, bend = subspace.controls
    chain = Path([a, bend, b], PolyChain())
    for t in np.linspace(0, 1, 7):
        c = chain.weights(t)
        expected = chain.at(t)
        for k, v in subspace.at([c[0], c[2], c[1]]).items():
            torch.testing.assert_close(v, expected[k], rtol=0, atol=1e-12)


def test_all_modes_share_the_connectors():
    subspace = Simplicial(n_connectors=2, n_epochs=1)(modes(3), objective())
    assert subspace.basis.simplexes == ((0, 3, 4), (1, 3, 4), (2, 3, 4))
    assert len(subspace.history) == 2
    volumes = subspace.volumes
    np.testing.assert_allclose(subspace.basis.shares, volumes / volumes.sum())
    by_hand = [cayley_menger(torch.stack([vector(subspace.controls[k]) for k in s])) for s in subspace.basis.simplexes]
    np.testing.assert_allclose(volumes, by_hand, rtol=1e-6)


def test_simplexes_of_each_mode_have_nothing_in_common():
    states = modes(3)
    subspace = SimplexPerMode(n_connectors=2, n_epochs=1)(states, objective())
    assert subspace.basis.simplexes == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert subspace.networks == (0, 3, 6)
    assert subspace.basis.shares.tolist() == pytest.approx([1 / 3] * 3)
    assert len(subspace.history) == 2
    alone = Simplicial(n_connectors=2, n_epochs=1)(states[:1], objective())
    for grown, control in zip(subspace.controls, alone.controls, strict=False):
        assert all(torch.equal(grown[k], v) for k, v in control.items())


@pytest.mark.parametrize("connect", [Simplicial(n_epochs=2), SimplexPerMode(n_epochs=2)], ids=repr)
def test_modes_stay_bit_for_bit(connect):
    states = modes()
    before = [{k: v.clone() for k, v in s.items()} for s in states]
    subspace = connect(states, objective())
    for k, state, then in zip(subspace.networks, states, before, strict=True):
        assert subspace.controls[k] is state
        assert all(torch.equal(state[name], v) for name, v in then.items())


def test_earlier_connectors_are_frozen():
    one, two = (Simplicial(n_connectors=k, n_epochs=2)(modes(), objective()) for k in (1, 2))
    assert all(torch.equal(two.controls[2][k], v) for k, v in one.controls[2].items())
    assert not torch.equal(vector(two.controls[3]), vector(two.controls[2]))


# ---- steps by hand ---------------------------------------------------------------------------------------------------


def test_a_step_follows_the_mean_of_the_samples():
    states, (batch, *_) = modes(), batches()
    settings = {"n_epochs": 1, "momentum": 0.0, "weight_decay": 0.0, "lr": 0.5, "random_state": 2}
    subspace = Simplicial(n_connectors=1, n_samples=3, **settings)(states, objective([batch]))
    flat = torch.stack([*map(vector, states), sum(map(vector, states)) / 2])
    # names are sorted so that matrices come first, which changes no number here
    c = Growth([[0, 2], [1, 2]], 3, 0.0).draw(np.random.RandomState(2), flat)
    slopes, losses = zip(*(slope_at(torch.tensor(row) @ flat, batch, states[0]) for row in c), strict=True)
    mean = sum(w * slope for w, slope in zip(c[:, 2], slopes, strict=True)) / 3
    torch.testing.assert_close(vector(subspace.controls[2]), flat[2] - 0.5 * 0.1 * mean, rtol=0, atol=1e-10)
    assert subspace.history == pytest.approx((np.mean(losses),))


@pytest.mark.parametrize("n_corners", [2, 3, 5])
def test_growth_of_the_volume_is_its_gradient(n_corners):
    points = torch.randn(n_corners, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    last = points[-1].clone().requires_grad_()
    volume = cayley_menger(torch.cat([points[:-1], last[None]]))
    (expected,) = torch.autograd.grad(volume.log(), last)
    away = points[:-1] - points[-1]
    log, coefficients = log_volume((away @ away.T).numpy())
    torch.testing.assert_close(-torch.as_tensor(coefficients) @ away, expected)
    assert log - math.log(math.factorial(n_corners - 1)) == pytest.approx(float(volume.detach().log()))


def test_all_simplexes_of_the_complex_enter():
    points = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    last = points[-1].clone().requires_grad_()
    every = torch.cat([points[:-1], last[None]])
    total = cayley_menger(every[[0, 2, 3]]) + cayley_menger(every[[1, 2, 3]])
    (expected,) = torch.autograd.grad(-0.7 * total.log(), last)
    growth = Growth([[0, 2, 3], [1, 2, 3]], 4, 0.7)
    growth.draw(np.random.RandomState(0), points)
    slope = torch.ones(1, 9, dtype=torch.float64)
    growth.pull(None, points, slope)
    torch.testing.assert_close(slope[0], 1 + expected)


def test_points_are_drawn_by_the_volumes():
    points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    growth = Growth([[0, 2], [1, 2]], 4000, 0.0)  # lines of the lengths 1 and 3
    c = growth.draw(np.random.RandomState(0), points)
    assert np.mean(c[:, 1] > 0) == pytest.approx(0.75, abs=0.03)
    inside = c[c[:, 1] > 0]
    assert np.allclose(inside.mean(0), [0, 1 / 2, 1 / 2], atol=0.03)


def test_flat_simplexes_have_no_growth_and_equal_shares():
    assert log_volume(np.zeros((2, 2)))[0] == -np.inf
    assert log_volume(np.ones((2, 2)))[0] == -np.inf
    flat = torch.zeros(3, 4)
    growth = Growth([[0, 2], [1, 2]], 2000, 0.5)
    c = growth.draw(np.random.RandomState(0), flat)
    slope = torch.zeros(1, 4)
    growth.pull(None, flat, slope)
    assert not slope.any()
    assert np.mean(c[:, 1] > 0) == pytest.approx(0.5, abs=0.05)
    assert shares(np.array([-np.inf, 3.0])).tolist() == [0.0, 1.0]


def test_the_volume_counts_from_the_second_connector_on():
    settings = {"n_epochs": 20, "weight_decay": 0.0}
    data = objective(criterion=no_loss)
    first = Simplicial(n_connectors=1, volume=1.0, **settings)(modes(), data)
    middle = sum(map(vector, modes())) / 2
    torch.testing.assert_close(vector(first.controls[2]), middle)
    three = [Simplicial(2, volume=v, lr=0.1, **settings)(modes(3), objective()).volume for v in (0.0, 0.1, 1.0)]
    assert three[0] < three[1] < three[2]


def test_a_connector_that_starts_on_its_mode_leaves_it():
    subspace = Simplicial(n_connectors=3, n_epochs=10, lr=0.2)(modes(1), objective())
    assert subspace.volume > 0
    assert all(v > 0 for v in SimplexPerMode(2, n_epochs=10, lr=0.2)(modes(2), objective()).volumes)


def test_losses_fall_everywhere_on_the_complex():
    data = objective()
    states = [dict(LearnedOnce(seed).state) for seed in range(2)]
    subspace = Simplicial(n_connectors=1, n_epochs=60, lr=0.2)(states, data)
    line = Simplicial(n_connectors=0)(states)

    def worst(s):
        flat = [vector(s.at(p)) for p in s.grid(9)]
        return max(np.mean([slope_at(f, b, states[0])[1] for b in batches()]) for f in flat)

    assert worst(subspace) <= worst(line)


class LearnedOnce:
    """A mode that is trained for a moment."""

    def __init__(self, seed):
        module = perceptron(seed + 1)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        for batch in batches() * 30:
            optimizer.zero_grad()
            cross_entropy(module(batch.x), batch).backward()
            optimizer.step()
        self.state = {k: v.detach() for k, v in module.state_dict().items()}


# ---- what is not trained, and bad input ------------------------------------------------------------------------------


def test_what_is_equal_in_all_modes_stays_and_what_is_frozen_follows():
    a, b = modes()
    b = b | {"0.weight": a["0.weight"].clone()}
    subspace = Simplicial(n_connectors=1, n_epochs=3)([a, b], objective())
    assert torch.equal(subspace.controls[2]["0.weight"], a["0.weight"])
    assert not torch.allclose(subspace.controls[2]["2.weight"], (a["2.weight"] + b["2.weight"]) / 2)
    module = perceptron()
    module[0].weight.requires_grad_(False)
    a, b = modes()
    frozen = Simplicial(n_connectors=1, n_epochs=3)([a, b], objective(module=module)).controls[2]
    torch.testing.assert_close(frozen["0.weight"], (a["0.weight"] + b["0.weight"]) / 2)


@pytest.mark.parametrize("connect", [Simplicial, SimplexPerMode])
def test_bad_settings_are_named(connect):
    for params, message in (
        ({"n_samples": 0}, "n_samples must be a whole number of at least 1"),
        ({"n_connectors": -1}, "n_connectors must be a whole number of at least 0; got -1"),
        ({"volume": float("nan")}, "volume must be finite"),
        ({"momentum": 1.0}, "momentum must be below 1"),
    ):
        with pytest.raises(ValueError, match=message):
            connect(**params).check()
    with pytest.raises(ValueError, match=f"{connect.__name__} trains on labelled rows"):
        connect()(modes())
    with pytest.raises(ValueError, match="No states"):
        connect()([], objective())
    with pytest.raises(ValueError, match=r"diverged in epoch \d+"):
        connect(lr=1e9, n_epochs=20)(modes(), objective(criterion=lambda out, batch: out.square().mean()))


def test_equal_networks_have_nothing_between_them():
    a, _ = modes()
    with pytest.raises(ValueError, match="The 2 networks are equal, so no simplex can be grown between them"):
        Simplicial(n_epochs=1)([a, dict(a)], objective())
    assert Complex([(0, 1)]).simplexes == Simplicial(n_connectors=0)([a, dict(a)]).basis.simplexes
    assert Simplicial(n_connectors=0)([a, dict(a)]).volume == 0
