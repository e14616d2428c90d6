"""Star domains: what the centre of a quadratic bowl is, what stays as it was, and digits."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.connect import Spokes, Star, StarDomain
from skfusion.landscape import loss_along
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems

NETWORKS = [[1.0, 0.0], [2.0, 2.0], [3.0, 4.0], [-2.0, 2.0]]


class Point(nn.Module):
    """Gives its two weights for any input."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.w


def states(values=NETWORKS):
    return [{"w": torch.tensor(v, dtype=torch.float64)} for v in values]


def bowl(n_batches=20):
    """L(w) = |w|^2 / 2."""
    rows = [Batch(torch.zeros(1), torch.zeros(1))] * n_batches
    return ModuleObjective(Point(), lambda: rows, criterion=lambda out, batch: out.square().sum() / 2)


def same(a, b):
    return problems.snapshot(a) == problems.snapshot(b)


# ---- where the centre goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("concentration", "factor"), [(1.0, -1 / 2), (2.0, -2 / 3), (math.inf, -1.0)])
def test_the_centre_of_a_bowl_goes_beyond_its_minimum(concentration, factor):
    """It is -E[t (1 - t)] / E[(1 - t)^2] of the mean of the networks."""
    star = Star(concentration, n_epochs=200, lr=0.02, momentum=0.0)(states(), bowl())
    expected = factor * np.mean(NETWORKS, axis=0)
    np.testing.assert_allclose(star.centre["w"], expected, rtol=0, atol=0.1)
    assert abs(float(star.centre["w"][1] / expected[1]) - 1) < 0.05


def test_the_penalty_is_on_the_points_that_are_trained():
    """A penalty of 1 is the bowl itself."""
    flat = ModuleObjective(Point(), bowl().batches, criterion=lambda out, batch: 0 * out.sum())
    by_penalty = Star(n_epochs=20, lr=0.02, weight_decay=1.0)(states(), flat)
    by_loss = Star(n_epochs=20, lr=0.02)(states(), bowl())
    torch.testing.assert_close(by_penalty.centre["w"], by_loss.centre["w"], rtol=0, atol=1e-12)


def test_steps_are_those_by_hand():
    star = Star(2.0, n_epochs=1, lr=0.1, momentum=0.5, random_state=3)(states(), bowl(n_batches=4))
    rng, centre, speed, losses = np.random.RandomState(3), np.mean(NETWORKS, axis=0), 0.0, []
    for step in range(4):
        k, t = rng.randint(4), rng.beta(2.0, 2.0)
        point = (1 - t) * centre + t * np.array(NETWORKS[k])
        losses.append(point @ point / 2)
        speed = 0.5 * speed + (1 - t) * point
        centre = centre - 0.1 * (1.0 if step < 2 else 1.0 - (step / 4 - 0.5) / 0.4 * 0.99) * speed
    np.testing.assert_allclose(star.centre["w"], centre, rtol=0, atol=1e-12)
    assert star.history == pytest.approx([np.mean(losses)], abs=1e-12)


def test_networks_in_the_minimum_hold_the_centre_there():
    star = Star(n_epochs=5)(states([[0.0, 0.0]] * 3), bowl())
    assert star.centre["w"].tolist() == [0.0, 0.0]
    assert star.history == ()


def test_the_networks_are_the_very_states_that_were_given():
    given = [*problems.ends(), weighted_sum(problems.ends(), [0.4, 0.6])]
    before = problems.snapshot(given)
    star = Star(n_epochs=3)(given, problems.to_train())
    assert all(star.at((k, 1.0)) is state for k, state in enumerate(given))
    assert problems.snapshot(given) == before
    assert not same(star.centre, weighted_sum(given, [1 / 3] * 3))
    assert star.networks == (1, 2, 3)


def test_any_number_of_networks_can_be_joined_and_their_order_is_that_of_the_segments():
    for n in (2, 5, 9):
        values = np.random.RandomState(n).normal(size=(n, 2)).tolist()
        star = Star(n_epochs=1)(states(values), bowl())
        assert [star.at((k, 1))["w"].tolist() for k in range(n)] == values


# ---- points ----------------------------------------------------------------------------------------------------------


def domain():
    return StarDomain(states([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]]), Spokes(2))


def test_points_lie_on_the_segments():
    star = domain()
    assert star.at((0, 0.25))["w"].tolist() == [1.0, 0.0]
    assert star.at((1, 0.5))["w"].tolist() == [0.0, 4.0]
    assert star.at((0, 0.0)) is star.at((1, 0)) is star.centre is star.controls[0]
    assert star.segment(1).at(0.75)["w"].tolist() == [0.0, 6.0]
    assert star.grid(3) == [(0, 0.0), (0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0)]


@pytest.mark.parametrize(
    "point", [(2, 0.5), (-1, 0.5), (0.5, 0.5), (0, 1.01), (0, -0.1), (0, math.nan), 0.5, (0, 0, 1)]
)
def test_points_off_the_star_are_refused(point):
    with pytest.raises(ValueError, match="A point of this star is a pair"):
        domain().at(point)


def test_random_points_are_uniform_on_the_segments():
    star, rng = domain(), np.random.RandomState(0)
    points = [star.basis.sample(rng, 3) for _ in range(2000)]
    numbers, positions = np.array(points).T
    assert np.bincount(numbers.astype(int)) / 2000 == pytest.approx([0.5, 0.5], abs=0.05)
    assert np.histogram(positions, 4, (0, 1))[0] / 2000 == pytest.approx([0.25] * 4, abs=0.05)


@pytest.mark.parametrize(("concentration", "variance"), [(0.5, 1 / 8), (1.0, 1 / 12), (2.0, 1 / 20), (math.inf, 0.0)])
def test_the_concentration_is_that_of_a_beta_distribution(concentration, variance):
    spokes, rng = Spokes(3, concentration), np.random.RandomState(0)
    positions = [spokes.sample(rng, 4)[1] for _ in range(4000)]
    assert np.mean(positions) == pytest.approx(0.5, abs=0.02)
    assert np.var(positions) == pytest.approx(variance, abs=0.005)


def test_the_nearest_point_is_no_further_than_any_other():
    rng, spokes = np.random.RandomState(0), Spokes(4)
    for _ in range(20):
        controls = rng.normal(size=(5, 6)) + 0.5
        found = spokes.within(spokes.nearest(controls @ controls.T))
        distance = np.linalg.norm(spokes.weights(found, 5) @ controls)
        every = [np.linalg.norm(spokes.weights(p, 5) @ controls) for p in spokes.grid(50, 5)]
        assert distance <= min(every) + 1e-12
        assert distance == pytest.approx(min(every), rel=1e-2)


# ---- what cannot be joined -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1.0, math.nan])
def test_a_concentration_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="concentration must be above 0"):
        Star(value)(states(), bowl())


def test_a_concentration_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="concentration must be a number"):
        Star("beta").check()


def test_a_star_needs_labels():
    with pytest.raises(ValueError, match="Star trains on labelled rows"):
        Star()(states())


def test_a_network_that_does_not_fit_is_named():
    third = {"w": torch.tensor([1.0, math.nan], dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"'w' of member third"):
        Star()([*states()[:2], third], bowl())


def test_a_training_that_diverges_says_so():
    with pytest.raises(ValueError, match="diverged"):
        Star(lr=1e6, n_epochs=60)(states(), bowl())


# ---- networks --------------------------------------------------------------------------------------------------------


def test_the_centre_is_connected_to_networks_with_barriers_between_them():
    ends, data = problems.ends(), problems.to_train()
    star = Star(n_epochs=40)(ends, data)
    middle = data.loss(weighted_sum(ends, [0.5, 0.5]))
    for k in range(2):
        assert loss_along(star.segment(k), data, 11).loss.max() < middle
