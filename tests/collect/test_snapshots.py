"""Snapshots of one run with a cyclic learning rate."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from recording import ROWS, Recorder, collect

from skfusion.collect import Snapshots
from skfusion.collect._snapshots import CosineCycles
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


def test_rates_of_parameter_groups_are_scaled_alike():
    class Groups(Recorder):
        def on_batch_end(self, net, training=False, **_):
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])

    net = problems.net(callbacks=[("record", Groups())], max_epochs=2, lr=0.1)
    net.set_params(optimizer__param_groups=[("*.bias", {"lr": 0.01})])
    Snapshots(1)(net, ROWS.X, ROWS.y, np.random.RandomState(0))
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
