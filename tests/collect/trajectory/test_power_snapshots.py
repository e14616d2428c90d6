"""Snapshots of running averages along one run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recording import ROWS
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skfusion import nets
from skfusion.average import PowerEMA
from skfusion.collect import Averages, PowerSnapshots
from skfusion.collect.trajectory._power_snapshots import _Tracked
from skfusion.merge import PostHocEMA
from skfusion.testing import _problems as problems

STATISTICS = ("running_mean", "running_var")


class EveryStep(Callback):
    """Writes down the state at the start and after each step."""

    states: list = []  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.states[:] = [nets.state_of(net)]

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.states.append(nets.state_of(net))


class Stop(Callback):
    """Ends the training in an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **_):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def collect(collector, *callbacks, seed=0, **params):
    found = [(f"own-{i}", c) for i, c in enumerate((EveryStep(), *callbacks))]
    net = problems.net(**{"callbacks": found, "max_epochs": 4, "lr": 0.05, **params})
    return collector.collect(net, ROWS.X, ROWS.y, random_state=seed)


def assert_average(member, sigma, states):
    """The member is the power average of the states, but for statistics of BatchNorm."""
    expected = PowerEMA(sigma).of(states)
    for key, value in member.state.items():
        if not key.endswith(STATISTICS):
            torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("n", "times"), [(1, [12]), (3, [4, 8, 12]), (5, [3, 5, 8, 10, 12])]
)  # of four epochs of three steps
def test_members_are_averages_of_the_states_so_far(n, times):
    pool = collect(PowerSnapshots((0.05, 0.2), n))
    assert pool.names == [f"ema-{sigma}-{i + 1}" for i in range(n) for sigma in (0.05, 0.2)]
    assert [m.meta["time"] for m in pool] == [t for t in times for _ in range(2)]
    for member in pool:
        time = member.meta["time"]
        assert member.meta["sigma"] in (0.05, 0.2)
        assert member.meta["n_steps"] == 12
        assert member.meta["epoch"] == len(member.meta["history"]) == time // 3
        assert_average(member, member.meta["sigma"], EveryStep.states[: time + 1])
        assert int(member.state["layers.1.num_batches_tracked"]) == time


def test_statistics_are_averaged_but_for_the_last_ones_which_are_estimated():
    pool = collect(PowerSnapshots((0.2,), 2))
    expected = PowerEMA(0.2).of(EveryStep.states[:7])
    for key in (k for k in expected if k.endswith(STATISTICS)):
        torch.testing.assert_close(pool[0].state[key], expected[key])
    (alone,) = collect(Averages(1, average=PowerEMA(0.2)))  # which is the same run
    for key, value in alone.state.items():
        torch.testing.assert_close(pool[1].state[key], value)


def test_it_is_the_run_that_the_net_takes_anyway():
    plain, tracked = collect(Averages(1, 1.0)), collect(PowerSnapshots((0.2,), 12))
    assert len(tracked) == 12
    (last,) = plain
    for key, value in EveryStep.states[12].items():
        assert torch.equal(last.state[key], value)


def test_the_state_of_a_snapshot_is_not_the_live_one():
    pool = collect(PowerSnapshots((0.2,), 12), module__norm=None)
    first = EveryStep.states[1]  # of which the first average is made alone
    assert all(torch.equal(pool[0].state[k], v) for k, v in first.items())
    assert not torch.equal(pool[0].state["layers.0.weight"], pool[11].state["layers.0.weight"])


def test_any_length_is_made_of_them():
    pool = collect(PowerSnapshots(n=8), max_epochs=16)
    for sigma in (0.075, 0.15):
        merge = PostHocEMA(sigma).for_members([m.meta for m in pool])
        found, tracked = merge(pool.states), PowerEMA(sigma).of(EveryStep.states)
        away = (tracked["layers.0.weight"] - EveryStep.states[-1]["layers.0.weight"]).norm()
        assert (found["layers.0.weight"] - tracked["layers.0.weight"]).norm() < 0.1 * away


def test_a_run_that_ends_early_leaves_its_end():
    with pytest.warns(UserWarning, match=r"'ema' ended after 9 of 12 steps: there are 4 snapshots.*EarlyStopping"):
        pool = collect(PowerSnapshots((0.2,), 5), Stop(3))
    assert [m.meta["time"] for m in pool] == [3, 5, 8, 9]
    assert [m.meta["epoch"] for m in pool] == [1, 1, 2, 3]
    assert_average(pool[3], 0.2, EveryStep.states)


def test_the_best_state_that_is_loaded_is_not_looked_at():
    first = EarlyStopping(monitor="train_loss", lower_is_better=False, patience=9, load_best=True)
    plain, loaded = collect(PowerSnapshots((0.2,), 2)), collect(PowerSnapshots((0.2,), 2), first)
    for a, b in zip(plain, loaded, strict=True):
        for key in (k for k in a.state if a.state[k].is_floating_point()):
            assert torch.equal(a.state[key], b.state[key])


def test_more_snapshots_than_steps_are_one_a_step_and_said():
    with pytest.warns(UserWarning, match="takes 12 steps, so that there is a snapshot of each average after each of"):
        pool = collect(PowerSnapshots((0.1,), 20))
    assert [m.meta["time"] for m in pool] == [*range(1, 13)]


def test_half_precision_is_kept_in_single():
    module, trajectory = nn.Linear(2, 1, bias=False).bfloat16(), []
    recorder = _Tracked({0.2: PowerEMA(0.2)}, 4, lambda module, state, last: state)
    with torch.no_grad():
        for step in range(101):
            module.weight.copy_(torch.tensor([[1.0, 64.0]]) + step % 2)
            trajectory.append({"weight": module.weight.double().clone()})
            recorder.after_step(step, 100, module.state_dict())
    members = recorder.members("a", SimpleNamespace(module_=module, history=[]))
    assert [m.state["weight"].dtype for m in members] == [torch.float32] * 4
    expected = PowerEMA(0.2).of(trajectory)["weight"]
    torch.testing.assert_close(members[-1].state["weight"].double(), expected, rtol=1e-6, atol=0)


def test_of_an_interrupted_run_there_is_what_was_kept():
    module = nn.Linear(2, 1)
    recorder = _Tracked({0.1: PowerEMA(0.1), 0.2: PowerEMA(0.2)}, 4, lambda module, state, last: state)
    assert recorder.members("a") == []
    for step in range(60):
        recorder.after_step(step, 100, module.state_dict())
    assert [m.name for m in recorder.members("a")] == ["a-0.1-1", "a-0.2-1", "a-0.1-2", "a-0.2-2"]


def test_it_is_written_to_files_and_read(tmp_path):
    pool = collect(PowerSnapshots(n=2))
    pool.save(tmp_path / "pool")
    read = type(pool).load(tmp_path / "pool")
    expected, found = (PostHocEMA(0.07).for_members([m.meta for m in p]).coefficients(p.states) for p in (pool, read))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n": 0}, "n is a whole number of snapshots"),
        ({"n": 2.5}, "n is a whole number of snapshots"),
        ({"sigmas": ()}, "sigmas is a sequence of different lengths, at least one"),
        ({"sigmas": 0.1}, "sigmas is a sequence of different lengths, at least one; got 0.1"),
        ({"sigmas": (0.1, 0.1)}, "sigmas is a sequence of different lengths"),
        ({"sigmas": "0.1"}, "sigmas is a sequence of different lengths, at least one; got '0.1'"),
        ({"sigmas": (0.1, "x")}, "at most 0.2887.*got 'x'"),
        ({"sigmas": (0.1, 0.3)}, "at most 0.2887.*got 0.3"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_trained(params, message):
    EveryStep.states[:] = []
    with pytest.raises(ValueError, match=message):
        collect(PowerSnapshots(**params))
    assert not EveryStep.states
