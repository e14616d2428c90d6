"""Attacks: balls, ranges, the best changes for a linear loss, and what cannot be attacked."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.connect import Attack, losses_of_rows
from skfusion.connect.robust._balls import STEPS, projected
from skfusion.objective import Batch, Likelihood, ModuleObjective

BALLS = {"l_inf": math.inf, "l2": 2.0, "l1": 1.0}
balls = pytest.mark.parametrize("name", [*BALLS])


def cross_entropy(out, batch):
    return nn.functional.cross_entropy(out, batch.y)


def network():
    """A perceptron of 8 inputs and 3 classes in double precision, and 30 rows from 0 to 1, many at these bounds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        x, y = (2 * torch.rand(30, 8).double() - 0.5).clamp(0, 1), torch.randint(3, (30,))
    likelihood = Likelihood("categorical", lambda out: out)
    batch = Batch(x, y)
    data = ModuleObjective(net.eval(), lambda: [batch], criterion=cross_entropy, likelihood=likelihood)
    return data, {k: v.detach() for k, v in net.state_dict().items()}, batch


def losses(data, state, batch):
    with torch.no_grad():
        return losses_of_rows(data, data.forward(state, batch.x), batch)


def sizes(change, p):
    return torch.linalg.vector_norm(change.flatten(1), p, dim=1)


# ---- balls -----------------------------------------------------------------------------------------------------------


@balls
@pytest.mark.parametrize("radius", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("n_restarts", [0, 2])
def test_rows_stay_in_the_ball_and_in_the_range(name, radius, n_restarts):
    data, state, batch = network()
    found = Attack(**{name: radius}, n_restarts=n_restarts, bounds=(0, 1)).on(data, state, batch)
    assert sizes(found.x - batch.x, BALLS[name]).max() <= radius * (1 + 1e-12)
    assert 0 <= found.x.min() <= found.x.max() <= 1
    assert found.y is batch.y
    assert not torch.equal(found.x, batch.x)


def test_with_several_balls_each_row_stays_in_one_of_them():
    data, state, batch = network()
    radii = {"l_inf": 0.1, "l2": 0.25, "l1": 0.6}
    change = Attack(**radii, n_restarts=2).on(data, state, batch).x - batch.x
    inside = torch.stack([sizes(change, BALLS[k]) <= r * (1 + 1e-12) for k, r in radii.items()])
    assert inside.any(0).all()
    assert (inside.sum(0) == 1).any()  # each ball has points that the others lack


@balls
def test_projections_are_the_nearest_points(name):
    """No other point of the ball is nearer: the rest of a change makes a right or wider angle with all ways inwards."""
    p, radius, wide = BALLS[name], 0.7, (torch.tensor(-9.0), torch.tensor(9.0))
    generator = torch.Generator().manual_seed(1)
    change = torch.randn(50, 5, generator=generator, dtype=torch.float64) * torch.linspace(0.05, 2, 50)[:, None]
    found = projected(change, p, radius, wide)
    assert sizes(found, p).max() <= radius * (1 + 1e-12)
    inside = sizes(change, p) <= radius
    assert torch.equal(found[inside], change[inside])
    assert inside.any()
    for _ in range(20):
        other = projected(torch.randn(50, 5, generator=generator, dtype=torch.float64), p, radius, wide)
        assert ((change - found) * (other - found)).sum(1).max() <= 1e-12


@balls
def test_a_step_of_length_one_is_the_steepest(name):
    """The slope along it is the dual norm of the slopes; in the l1 ball, of the numbers that the step goes along."""
    p, dual = BALLS[name], {math.inf: 1.0, 2.0: 2.0, 1.0: math.inf}[BALLS[name]]
    slope = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    still = torch.zeros_like(slope)
    step = STEPS[p](slope, still, (still - 1, still + 1))
    torch.testing.assert_close(sizes(step, p), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close((step * slope).sum(1), sizes(slope, dual))


def test_a_step_in_the_l1_ball_leaves_numbers_that_cannot_go_on():
    slope, still = torch.tensor([[3.0, -2.0, 1.0]]), torch.zeros(1, 3)
    step = STEPS[1.0](slope, still, (still - 1, torch.tensor([[0.0, 1.0, 1.0]])))
    assert step.tolist() == [[0.0, -1.0, 0.0]]
    assert STEPS[1.0](torch.zeros(1, 3), still, (still - 1, still + 1)).tolist() == [[0.0, 0.0, 0.0]]


@balls
def test_a_row_without_a_slope_takes_no_step(name):
    still = torch.zeros(2, 3)
    assert STEPS[BALLS[name]](torch.zeros(2, 3), still, (still - 1, still + 1)).tolist() == still.tolist()


# ---- how strong ------------------------------------------------------------------------------------------------------


@balls
def test_the_best_change_for_a_linear_loss_is_found(name):
    """The loss rises by the radius times the dual norm of the weights."""
    weights, radius = torch.tensor([[0.5, -2.0, 1.0, 0.0]], dtype=torch.float64), 0.3
    net, rows = nn.Linear(4, 1, bias=False).double(), Batch(torch.zeros(3, 4).double(), torch.zeros(3, 1))
    data = ModuleObjective(net, lambda: [rows], criterion=lambda out, batch: out.mean())
    found = Attack(**{name: radius}, bounds=(-1, 1)).on(data, {"weight": weights}, rows)
    dual = {"l_inf": 1.0, "l2": 2.0, "l1": math.inf}[name]
    expected = radius * torch.linalg.vector_norm(weights, dual)
    torch.testing.assert_close((found.x @ weights.T)[:, 0], expected.expand(3))


def test_every_row_has_at_least_its_own_loss_and_more_is_stronger():
    data, state, batch = network()
    before = losses(data, state, batch)
    weak, strong = (Attack(l_inf=0.1, n_steps=n).on(data, state, batch) for n in (1, 10))
    restarted = Attack(l_inf=0.1, n_restarts=3).on(data, state, batch)
    all_three = Attack(l_inf=0.1, l2=0.5, l1=1.0).on(data, state, batch)
    by_weak, by_strong, by_restarted, by_all = (
        losses(data, state, found) for found in (weak, strong, restarted, all_three)
    )
    for after in (by_weak, by_strong, by_restarted, by_all):
        assert (after >= before).all()
        assert (after > before).any()
    assert by_strong.mean() > by_weak.mean()
    assert (by_restarted >= by_strong - 1e-12).all()
    assert by_all.mean() > by_strong.mean()


def test_an_attack_without_a_radius_changes_nothing_and_draws_nothing():
    data, state, batch = network()
    assert Attack().on(data, state, batch) is batch
    assert Attack(n_restarts=3).radii == {}


def test_an_attack_is_reproducible_and_leaves_the_batch_and_the_generators():
    data, state, batch = network()
    x, generator = batch.x.clone(), torch.get_rng_state()
    first, second = (Attack(l2=0.5, n_restarts=2).on(data, state, batch) for _ in range(2))
    assert torch.equal(first.x, second.x)
    assert torch.equal(batch.x, x)
    assert torch.equal(torch.get_rng_state(), generator)
    assert not first.x.requires_grad


def test_the_range_is_that_of_the_rows_where_it_is_not_given():
    data, state, batch = network()
    assert torch.equal(
        Attack(l_inf=3.0).on(data, state, batch).x, Attack(l_inf=3.0, bounds=(0, 1)).on(data, state, batch).x
    )


def test_images_are_attacked_row_by_row():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).double()
        batch = Batch(torch.rand(5, 1, 4, 4).double(), torch.tensor([0, 1, 2, 0, 1]))
    data = ModuleObjective(
        net, lambda: [batch], criterion=cross_entropy, likelihood=Likelihood("categorical", lambda out: out)
    )
    state = {k: v.detach() for k, v in net.state_dict().items()}
    attack = Attack(l_inf=0.1, l2=0.3, l1=0.5, bounds=(0, 1))
    together = attack.on(data, state, batch).x
    alone = torch.cat([attack.on(data, state, Batch(batch.x[[k]], batch.y[[k]])).x for k in range(5)])
    torch.testing.assert_close(together, alone)


def test_the_loss_of_a_row_is_that_of_the_likelihood_or_of_the_criterion_alone():
    data, state, batch = network()
    by_criterion = ModuleObjective(data.module, lambda: [batch], criterion=cross_entropy)
    torch.testing.assert_close(losses(data, state, batch), losses(by_criterion, state, batch))
    found = [Attack(l2=0.2, l1=0.3).on(each, state, batch).x for each in (data, by_criterion)]
    torch.testing.assert_close(*found)


# ---- what cannot be attacked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool)])
def test_integer_inputs_are_refused(x):
    data, state, _ = network()
    tokens = ModuleObjective(data.module, lambda: [Batch(x, torch.zeros(2))], criterion=cross_entropy)
    with pytest.raises(ValueError, match=r"these are integers .*an embedding"):
        Attack(l_inf=0.1).on(tokens, state, Batch(x, torch.zeros(2)))
    with pytest.raises(ValueError, match="these are integers"):
        Attack(l_inf=0.1, bounds=(0, 1)).on(tokens, state, Batch(x, torch.zeros(2)))


def test_inputs_by_name_are_refused():
    data, state, batch = network()
    with pytest.raises(ValueError, match=r"come by name: \['x'\]"):
        Attack(l2=1.0, bounds=(0, 1)).on(data, state, Batch({"x": batch.x}, batch.y))


def test_rows_without_labels_are_refused():
    data, state, batch = network()
    with pytest.raises(ValueError, match="the labels are missing"):
        Attack(l2=1.0, bounds=(0, 1)).on(data, state, Batch(batch.x, None))


def test_inputs_beyond_the_bounds_are_refused():
    data, state, batch = network()
    with pytest.raises(ValueError, match=r"Inputs go from 0 to 2, beyond bounds=\(0, 1\)"):
        Attack(l2=1.0, bounds=(0, 1)).on(data, state, batch._replace(x=2 * batch.x))


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({"l_inf": -0.1}, ValueError, "l_inf is a radius"),
        ({"l1": math.nan}, ValueError, "l1 is a radius"),
        ({"l2": "1"}, TypeError, "l2 must be a number"),
        ({"n_steps": 0}, ValueError, "n_steps must be a whole number of at least 1"),
        ({"n_restarts": 1.5}, ValueError, "n_restarts must be a whole number of at least 0"),
        ({"bounds": (1, 0)}, ValueError, "least and the largest"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, error, says):
    data, state, batch = network()
    with pytest.raises(error, match=says):
        Attack(**params).on(data, state, batch)


def test_radii_are_those_that_are_not_zero():
    assert Attack(l2=1, l1=np.float32(2.0)).radii == {2.0: 1.0, 1.0: 2.0}
