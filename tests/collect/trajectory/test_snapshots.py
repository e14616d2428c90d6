"""Snapshots of one run with a cyclic learning rate."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from recording import ROWS, Recorder, collect
from skorch.callbacks import Callback, EarlyStopping

from skfusion.collect import FastGeometric, Snapshots, Tail
from skfusion.collect.trajectory._snapshots import CosineCycles
from skfusion.testing import _problems as problems


def formula(t, a0, total, cycles):
    """The learning rate of step t, from 1, as Huang et al. write it."""
    length = math.ceil(total / cycles)
    return a0 / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1)


@pytest.mark.parametrize(("epochs", "cycles"), [(12, 1), (12, 2), (12, 3), (12, 12)])
def test_rates_follow_the_formula(epochs, cycles):
    schedule = CosineCycles(tuple((i + 1) * epochs // cycles for i in range(cycles)))
    found = [schedule(step, 5) for step in range(5 * epochs)]
    assert found == pytest.approx([formula(t, 1.0, 5 * epochs, cycles) for t in range(1, 5 * epochs + 1)], abs=1e-12)
    assert found[0] == 1.0
    length = 5 * epochs // cycles
    assert all(found[k * length] == 1.0 for k in range(cycles))
    assert all(found[k * length : (k + 1) * length] == found[:length] for k in range(cycles))


def test_one_cycle_is_plain_cosine_annealing():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    schedule, expected = CosineCycles((4,)), []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [0.3 * schedule(step, 5) for step in range(20)] == pytest.approx(expected, abs=1e-12)


def test_cycles_of_unlike_length_restart_at_whole_epochs():
    schedule = CosineCycles((2, 4, 7))
    found = [schedule(step, 3) for step in range(21)]
    assert [step for step, value in enumerate(found) if value == 1.0] == [0, 6, 12]
    assert found[12:] == pytest.approx([formula(t, 1.0, 9, 1) for t in range(1, 10)], abs=1e-12)
    assert all(a > b for a, b in pairwise(found[12:]))


@pytest.mark.parametrize(("epochs", "cycles"), [(6, 3), (4, 1)])
def test_the_optimiser_sees_the_formula_at_every_step(epochs, cycles):
    collect(Snapshots(cycles), max_epochs=epochs, lr=0.04)
    expected = [formula(t, 0.04, 3 * epochs, cycles) for t in range(1, 3 * epochs + 1)]
    assert Recorder.rates == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "collector",
    [
        Snapshots(1),
        FastGeometric(n_members=1, burn_in=0.5, lr_max=0.05, lr_min=0.001),
        Tail(0.5, lr=0.02, lr_end=0.002),
    ],
    ids=lambda c: type(c).__name__,
)
def test_rates_of_parameter_groups_are_scaled_alike(collector):
    class Groups(Recorder):
        def on_batch_end(self, net, training=False, **_):
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])

    net = problems.net(callbacks=[("record", Groups())], max_epochs=2, lr=0.1)
    net.set_params(optimizer__param_groups=[("*.bias", {"lr": 0.01})])
    collector.collect(net, ROWS.X, ROWS.y, random_state=0)
    first = np.array(Groups.rates)
    assert first[0].tolist() == [0.01, 0.1]
    assert np.allclose(first[:, 1], 10 * first[:, 0], rtol=1e-12)


def test_states_are_those_of_the_net_at_the_end_of_each_cycle():
    pool = collect(Snapshots(3), max_epochs=8)
    assert pool.names == ["snapshot-epoch-2", "snapshot-epoch-5", "snapshot-epoch-8"]
    for member in pool:
        expected = Recorder.states[member.meta["epoch"]]
        assert all(torch.equal(v, expected[k]) for k, v in member.state.items())
        assert len(member.meta["history"]) == member.meta["epoch"]
    assert not torch.equal(pool[0].state["layers.0.weight"], pool[1].state["layers.0.weight"])


@pytest.mark.parametrize("cycles", [1, 2, 3, 5])
def test_there_are_as_many_snapshots_as_cycles(cycles):
    assert len(collect(Snapshots(cycles), max_epochs=5)) == cycles


def test_only_the_last_ones_are_kept_if_asked():
    whole, last = collect(Snapshots(4), max_epochs=8), collect(Snapshots(4, last=2), max_epochs=8)
    assert last.names == whole.names[-2:]
    assert all(torch.equal(v, last[1].state[k]) for k, v in whole[-1].state.items())
    final = collect(Snapshots(4, last=1), max_epochs=8)
    assert final.names == ["snapshot-epoch-8"]


@pytest.mark.parametrize(
    "params", [{"n_cycles": 0}, {"n_cycles": 5}, {"n_cycles": 2, "last": 3}, {"n_cycles": 2, "last": 0}]
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValueError, match="must be between 1 and"):
        collect(Snapshots(**params), max_epochs=4)


class StopAfter(Callback):
    """Ends the training as skorch's own early stopping does, in a given epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **_):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("collector", "epoch", "names", "message"),
    [
        (
            Snapshots(4),
            3,
            ["snapshot-epoch-2"],
            "state of epoch 4.*4 states were to be kept.*epoch 8: there is 1 member",
        ),
        (Snapshots(4), 7, ["snapshot-epoch-2", "snapshot-epoch-4", "snapshot-epoch-6"], "epoch 8.*there are 3 members"),
        (Snapshots(4), 1, ["snapshot"], "epoch 2.*its last state is the only member.*such as EarlyStopping"),
        (FastGeometric(burn_in=0.25), 2, ["fge"], "'fge' ended before the state of epoch 3.*3 states.*the only member"),
        (Tail(0.5), 6, ["tail-epoch-5"], "epoch 6.*4 states.*there is 1 member"),
    ],
    ids=["first", "last", "none", "fge", "tail"],
)
def test_a_run_that_ends_early_warns_of_the_members_that_are_missing(collector, epoch, names, message):
    net = problems.net(callbacks=[("stop", StopAfter(epoch))], max_epochs=8)
    with pytest.warns(UserWarning, match=message):
        pool = collector.collect(net, ROWS.X, ROWS.y, random_state=0)
    assert pool.names == names


def test_early_stopping_that_does_not_stop_says_nothing():
    net = problems.net(callbacks=[("stop", EarlyStopping(monitor="train_loss", patience=99))], max_epochs=4)
    assert len(Snapshots(2).collect(net, ROWS.X, ROWS.y, random_state=0)) == 2
