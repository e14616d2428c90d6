"""Networks at the lowest learning rates of short cycles."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from recording import Recorder, collect
from sklearn.datasets import load_digits

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import FastGeometric, Seeds
from skfusion.collect.trajectory._fast_geometric import Triangles
from skfusion.landscape import barrier
from skfusion.nets import mlp_classifier
from skfusion.state import distance


def published(step, per_epoch, cycle, a1, a2):
    """The rate of a step after the start, from 0, as the code of Garipov et al. computes it."""
    epoch, iteration = step // per_epoch, (step % per_epoch) / per_epoch
    t = ((epoch % cycle) + iteration) / cycle
    if t < 0.5:
        return (1 - 2 * t) * a1 + 2 * t * a2
    return (2 * t - 1) * a1 + (2 - 2 * t) * a2


def formula(i, c, a1, a2):
    """The rate of a step after the start, from 1, by the docstring."""
    t = ((i - 1) % c + 1) / c
    return (1 - 2 * t) * a1 + 2 * t * a2 if t < 0.5 else (2 * t - 1) * a1 + (2 - 2 * t) * a2


@pytest.mark.parametrize(("cycle", "per_epoch"), [(2, 1), (2, 7), (4, 5), (6, 3)])
def test_rates_follow_the_formula(cycle, per_epoch):
    rate, length = Triangles(3, cycle, 0.9, 0.05), cycle * per_epoch
    found = [rate(3 * per_epoch + i, per_epoch) for i in range(3 * length)]
    assert found == pytest.approx([formula(i, length, 0.9, 0.05) for i in range(1, 3 * length + 1)], abs=1e-12)
    ends = found[length // 2 - 1 :: length // 2]  # the last steps before the middles and ends of cycles
    assert ends == pytest.approx([0.05, 0.9] * 3, abs=1e-15)
    assert found[:length] == found[length : 2 * length] == found[2 * length :]  # its period is the cycle
    step = 2 * (0.9 - 0.05) / length
    assert all(abs(a - b) == pytest.approx(step) for a, b in pairwise([0.9, *found]))  # no jumps


@pytest.mark.parametrize("per_epoch", [1, 10, 1000])
def test_with_many_steps_an_epoch_rates_are_those_of_the_published_code(per_epoch):
    rate = Triangles(0, 4, 0.9, 0.05)
    found = np.array([rate(i, per_epoch) for i in range(8 * per_epoch)])
    theirs = np.array([published(i, per_epoch, 4, 0.9, 0.05) for i in range(8 * per_epoch)])
    assert np.abs(found - theirs).max() == pytest.approx(2 * (0.9 - 0.05) / (4 * per_epoch))  # they are a step behind
    np.testing.assert_allclose(found[:-1], theirs[1:], atol=1e-12)


@pytest.mark.parametrize("batch_size", [256, 16, 5])
def test_a_state_is_kept_after_a_step_at_the_lowest_rate(batch_size):
    pool = collect(FastGeometric(n_members=2, burn_in=0.5), max_epochs=4, lr=0.1, batch_size=batch_size)
    per_epoch = len(Recorder.rates) // 5
    assert [m.meta["epoch"] for m in pool] == [3, 5]
    assert [Recorder.rates[3 * per_epoch - 1], Recorder.rates[5 * per_epoch - 1]] == pytest.approx([0.001, 0.001])
    assert max(Recorder.rates[3 * per_epoch : 5 * per_epoch]) == pytest.approx(0.1)


def test_equal_rates_are_constant():
    rate = Triangles(2, 4, 0.3, 0.3)
    assert [rate(step, 5) for step in range(10, 60)] == pytest.approx([0.3] * 50, abs=1e-15)


def test_the_optimiser_sees_the_rates():
    collect(FastGeometric(burn_in=0.5, cycle=2, lr_max=0.05, lr_min=0.001), max_epochs=8, lr=0.1)
    assert Recorder.rates[:6] == pytest.approx([0.1] * 6)
    assert Recorder.rates[11] == pytest.approx(0.05)
    assert Recorder.rates[12:] == pytest.approx([formula(i, 6, 0.05, 0.001) for i in range(1, 13)], abs=1e-12)


def test_rates_that_are_omitted_are_the_nets_own_and_a_hundredth():
    collect(FastGeometric(burn_in=0.5, n_members=1), max_epochs=4, lr=0.1)
    assert Recorder.rates[:6] == pytest.approx([0.1] * 6)
    assert min(Recorder.rates) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("params", "epochs", "expected"),
    [
        ({}, 30, [25, 27, 29]),
        ({"cycle": 4}, 30, [26, 30]),
        ({"burn_in": 0.5}, 8, [5, 7]),
        ({"burn_in": 0.0, "cycle": 4}, 8, [2, 6]),
        ({"n_members": 5}, 10, [9, 11, 13, 15, 17]),
        ({"n_members": 1, "burn_in": 0.0}, 10, [1]),
        ({"n_members": 1}, 1, [1]),
    ],
)
def test_members_are_the_net_in_the_middle_of_each_cycle(params, epochs, expected):
    pool = collect(FastGeometric(**params), max_epochs=epochs)
    assert [m.meta["epoch"] for m in pool] == expected
    for member in pool:
        state = Recorder.states[member.meta["epoch"]]
        assert all(torch.equal(v, state[k]) for k, v in member.state.items())
        assert len(member.meta["history"]) == member.meta["epoch"]
    if "n_members" in params:
        assert max(Recorder.states) == expected[-1]  # nothing is trained that is not kept


def test_epochs_over_cycle_members_from_the_start():
    assert len(collect(FastGeometric(burn_in=0.0, cycle=2), max_epochs=12)) == 6
    assert len(collect(FastGeometric(burn_in=0.0, cycle=4), max_epochs=12)) == 3


def test_statistics_of_batch_norm_ride_along():
    pool = collect(FastGeometric(burn_in=0.5), max_epochs=8)
    counts = [int(m.state["layers.1.num_batches_tracked"]) for m in pool]
    assert counts == [15, 21]


@pytest.fixture(scope="module")
def digits():
    """Members of one run and of independent ones, and an objective on rows that none was trained on."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    net = mlp_classifier(max_epochs=20, module__hidden=(32,), optimizer__weight_decay=0.0, lr=0.01)
    near = FastGeometric(4, burn_in=0.8, cycle=2).collect(net, X[:1200], y[:1200], random_state=0)
    apart = Seeds(3, vectorize=False).collect(net, X[:1200], y[:1200], random_state=0)
    runner = nets.Runner(near[0].net, "classification")
    return near, apart, nets.Judge(runner, Rows(X[:1200], y[:1200]), Rows(X[1200:], y[1200:]))


def test_members_are_close_together(digits):
    near, apart, _ = digits
    steps = [distance(a, b) for a, b in pairwise(near.states)]
    between = [distance(a, b) for a, b in pairwise(apart.states)]
    assert min(steps) > 0
    assert max(steps) < min(between) / 5


def test_there_is_no_barrier_between_consecutive_members(digits):
    near, apart, objective = digits
    along = [barrier(a, b, objective, 11).sup for a, b in pairwise(near.states)]
    between = [barrier(a, b, objective, 11).sup for a, b in pairwise(apart.states)]
    assert max(along) < 0.01
    assert min(between) > 10 * max(along)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"burn_in": 1.0}, "burn_in"),
        ({"burn_in": -0.1}, "burn_in"),
        ({"cycle": 3}, "even"),
        ({"cycle": 0}, "even"),
        ({"cycle": 2.0}, "even"),
        ({"cycle": 8}, "No cycle of 8 epochs"),
        ({"n_members": 0}, "n_members"),
        ({"lr_min": 1.0}, "lr_min"),
        ({"lr_max": float("inf")}, "finite"),
    ],
    ids=lambda p: str(p),
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        collect(FastGeometric(**params), max_epochs=4)


def test_one_member_that_was_not_asked_for_is_told():
    with pytest.warns(UserWarning, match="One cycle of 2 epochs .* 10 epochs of the net.* n_members"):
        pool = collect(FastGeometric(), max_epochs=10)
    assert len(pool) == 1
    assert len(collect(FastGeometric(n_members=1), max_epochs=10)) == 1


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="FastGeometric sets the learning rate by a factor.*which is 0: give the net"):
        collect(FastGeometric(burn_in=0.5), max_epochs=4, lr=0.0)
