"""The loss along a path and its barrier."""

import numpy as np
import pytest
import torch
from reference.barrier import barrier as reference_barrier
from torch import nn

from skfusion.landscape import Profile, excess, loss_along, segment
from skfusion.objective import Batch, ModuleObjective
from skfusion.repair import Recalibrate, Repairer
from skfusion.testing import _problems as problems


class Counting(Repairer):
    """Recalibrates and remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, state, members, objective):
        self.calls.append((state, members))
        return Recalibrate(1)(state, members, objective)


@pytest.mark.parametrize("seed", range(5))
def test_barrier_matches_loops(seed):
    t, loss = np.linspace(0, 1, 25), np.random.RandomState(seed).normal(size=25)
    assert excess(t, loss) == pytest.approx(reference_barrier(t, loss), abs=1e-12)
    assert excess(t, loss[::-1]) == pytest.approx(excess(t, loss), abs=1e-12)


def test_barrier_is_never_negative_and_zero_below_the_line():
    t = np.linspace(0, 1, 11)
    assert excess(t, (t - 0.5) ** 2) == 0.0
    assert excess(t, 2 + 3 * t) == pytest.approx(0.0, abs=1e-15)
    assert excess(np.array([0.0, 1.0]), np.array([5.0, 1.0])) == 0.0


def test_barrier_uses_the_weights_of_the_ends():
    assert excess(np.array([0, 0.25, 1]), np.array([0.0, 1.0, 2.0])) == 0.5


def test_barrier_of_unequal_spacing_and_nan():
    assert np.isnan(excess(np.array([0, 0.5, 1]), np.array([0.0, np.nan, 0.0])))
    assert excess([0, 0.5, 1], [0, np.inf, 0]) == np.inf


@pytest.mark.parametrize("t", [[0, 0.5, 0.9], [0.1, 0.5, 1], [0, 1], [[0, 0.5, 1]]])
def test_barrier_refuses_other_positions(t):
    with pytest.raises(ValueError, match="from 0 to 1"):
        excess(np.array(t), np.zeros(3))


def test_segment_goes_from_a_to_b():
    a, b = problems.states(2)
    path = segment(a, b)
    assert path(0.0) is a
    assert path(1.0) is b
    quarter = path(0.25)
    torch.testing.assert_close(quarter["0.weight"], 0.75 * a["0.weight"] + 0.25 * b["0.weight"], rtol=0, atol=1e-6)


def test_ends_are_the_two_networks_bit_for_bit():
    a, b = problems.states(2)
    data = problems.objective()
    found = loss_along(segment(a, b), data, 5)
    assert found.t.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (found.loss[0], found.loss[-1]) == (data.loss(a), data.loss(b))
    assert (found.score[0], found.score[-1]) == (data.score(a), data.score(b))


def test_equal_ends_have_no_barrier():
    a = problems.states(1)[0]
    found = loss_along(segment(a, a), problems.objective(), 7)
    assert found.barrier <= 1e-6
    assert np.ptp(found.loss) <= 1e-6


def test_barrier_is_symmetric():
    a, b = problems.states(2)
    b = problems.permuted(b, [4, 3, 2, 1, 0])
    there, back = (loss_along(segment(*ends), problems.objective(), 9) for ends in ((a, b), (b, a)))
    assert there.barrier > 1e-3
    assert there.barrier == pytest.approx(back.barrier, rel=1e-5)
    assert np.allclose(there.loss, back.loss[::-1], rtol=0, atol=1e-6)


def test_a_linear_model_with_a_convex_loss_has_no_barrier():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, y = torch.randn(50, 3), torch.randn(50, 1)
        a, b = (nn.Linear(3, 1).state_dict() for _ in range(2))
    module = nn.Linear(3, 1)

    def loss(state):
        return float(((data.forward(state, x) - y).double() ** 2).mean())

    data = ModuleObjective(module, lambda: [Batch(x, y)], loss, lambda state: -loss(state))
    found = loss_along(segment(a, b), data, 25)
    assert found.barrier == 0.0
    assert (np.diff(found.loss, 2) > 0).all()


def test_inner_points_are_repaired_and_ends_are_not():
    a, b = problems.states(2)
    repair = Counting()
    loss_along(segment(a, b), problems.objective(), 6, repair=repair)
    assert len(repair.calls) == 4
    assert all(members[0] is a and members[1] is b for _, members in repair.calls)


def test_default_repair_recalibrates_inner_points():
    a, b = problems.states(2)
    data = problems.objective()
    found = loss_along(segment(a, b), data, 3)
    middle = Recalibrate(1)(segment(a, b)(0.5), [a, b], data)
    assert found.loss[1] == data.loss(middle)
    assert found.loss[1] != data.loss(segment(a, b)(0.5))


def test_a_path_needs_its_ends():
    with pytest.raises(ValueError, match="n_points=1"):
        loss_along(segment(*problems.states(2)), problems.objective(), 1)


def test_profile_has_barriers_of_loss_and_score():
    found = Profile(np.array([0, 0.5, 1]), np.array([1.0, 4.0, 2.0]), np.array([0.9, 0.2, 0.7]))
    assert found.barrier == 2.5
    assert found.score_barrier == pytest.approx(0.6)
