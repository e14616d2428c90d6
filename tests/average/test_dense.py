"""The mean of every step of a valley of the validation loss."""

import math

import numpy as np
import pytest
import torch
from reference import swad

from skfusion.average import Dense, Mean
from skfusion.average._dense import valley_of


def run(n_steps, d=3, seed=0):
    return np.cumsum(np.random.RandomState(seed).normal(size=(n_steps + 1, d)), axis=0)


def states_of(trajectory):
    return [{"w": torch.from_numpy(w)} for w in trajectory]


def streamed(average, trajectory, losses):
    """What has seen a run, whose state is overwritten by each step."""
    running, live = average.begin(len(trajectory) - 1), torch.empty(trajectory.shape[1], dtype=torch.float64)
    per_epoch = (len(trajectory) - 1) // len(losses)
    most = 0
    for step, state in enumerate(trajectory):
        live.copy_(torch.from_numpy(state))
        running.update(step, {"w": live})
        if step and step % per_epoch == 0:
            running.validated(losses[step // per_epoch - 1], {"w": live})
        most = max(most, copies(running))
    return running, most


def copies(running):
    segments = [*running.waiting, running.open, *([running.total] if running.total else [])]
    return sum(bool(s.kept.names) + bool(s.end) for s in segments)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("params", [(3, 6, 0.3), (1, 1, 0.1), (4, 2, 0.05), (2, 3, 0.0), (5, 5, 1.0)], ids=str)
def test_it_is_the_published_algorithm(params, seed):
    rng = np.random.RandomState(seed)
    n_epochs, per_epoch = rng.randint(1, 25), rng.randint(1, 4)
    valley = 1 + 0.1 * np.abs(np.arange(n_epochs) - n_epochs / 3)
    losses = [*(valley + rng.uniform(0, 0.4, n_epochs))]
    trajectory = run(n_epochs * per_epoch, seed=seed)
    expected = swad.average(trajectory, losses, *params)
    average = Dense(*params)
    stored = average.of(states_of(trajectory), losses)["w"].numpy()
    running, most = streamed(average, trajectory, losses)
    np.testing.assert_allclose(stored, expected, rtol=1e-9)
    np.testing.assert_allclose(running.result()["w"].numpy(), expected, rtol=1e-9)
    assert running.n == len(swad.iterations(losses, per_epoch, *params))
    assert most <= max(2 * params[0], params[1]) + 2


def test_a_loss_that_falls_to_the_end_has_no_start_and_the_last_epoch_is_averaged():
    trajectory, losses = run(20), [5.0, 4.0, 3.0, 2.0, 1.0]
    running, _ = streamed(Dense(), trajectory, losses)
    np.testing.assert_allclose(running.result()["w"].numpy(), trajectory[17:].mean(0))
    assert "found no start in 5 epochs" in running.shortfall()
    assert "the 4 states of the last epoch are averaged" in running.shortfall()
    converged, _ = streamed(Dense(), trajectory, [5.0, 1.0, 1.1, 1.2, 1.0])
    assert converged.shortfall() is None


def test_it_begins_at_convergence_and_ends_with_the_run():
    trajectory, losses = run(16), [9, 8, 7, 6, 6.5, 6.2, 6.4, 6.1]
    np.testing.assert_allclose(Dense().of(states_of(trajectory), losses)["w"].numpy(), trajectory[8:].mean(0))


def test_any_start_and_no_end_average_all_from_the_first_validation_on():
    trajectory = run(15)
    losses = [*np.random.RandomState(1).uniform(1, 9, 5)]
    found = Dense(1, 1, math.inf).of(states_of(trajectory), losses)["w"]
    np.testing.assert_allclose(found, trajectory[3:].mean(0))
    torch.testing.assert_close(found, Mean(4).of(states_of(trajectory))["w"])  # from just before step 4 on


def test_what_comes_after_the_valley_is_not_kept():
    losses = [3.0, 1.0, 1.1, 1.2, *[9.0] * 30]
    running, _ = streamed(Dense(n_end=3), run(34), losses)
    assert (running.dead, copies(running), running.n) == (True, 1, 3)  # steps 2, 3 and 4


def test_a_rise_that_is_shorter_is_overlooked():
    losses = [3.0, 1.0, 1.1, 1.2, 9.0, 9.0, 1.0, 9.0, 9.0]
    running, _ = streamed(Dense(n_end=3), run(9), losses)
    assert running.n == 8  # all from step 2 to the end


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([-1.0, -3.0, -2.9, -2.8, -2.7], (2, 5)),  # the threshold is above losses below 0
        ([-1.0, -3.0, -2.9, -2.8, *[-1.0] * 6], (2, 4)),
        ([math.nan, math.nan, math.nan, 2.0, 2.0, 2.0], (4, 6)),  # NaN has not converged
        ([2.0, 2.1, 2.2, *[math.nan] * 6], (1, 3)),  # and is above every threshold
        ([math.inf] * 5, None),
        ([1.0, 1.0, 1.0], (1, 3)),  # ties: the oldest of equal ones is the lowest
        ([1.0, 2.0], None),
        ([], None),
    ],
    ids=str,
)
def test_where_the_valley_is(losses, expected):
    assert valley_of(losses, Dense()) == expected


@pytest.mark.parametrize(
    ("n", "losses", "got"), [(13, None, "got 0 of them for 12 steps"), (13, [1.0] * 5, "got 5 of them for 12 steps")]
)
def test_losses_must_belong_to_the_states(n, losses, got):
    with pytest.raises(ValueError, match=f"give losses=.*{got}"):
        Dense().of(states_of(run(n - 1)), losses)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_start": 0}, "n_start is a number of validation losses in a row, at least 1; got 0"),
        ({"n_end": 2.5}, "n_end is a number of validation losses in a row, at least 1; got 2.5"),
        ({"tolerance": -0.1}, "tolerance is a share of the loss, at least 0; got -0.1"),
        ({"tolerance": math.nan}, "tolerance is a share of the loss, at least 0; got nan"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        Dense(**params).begin(4)
