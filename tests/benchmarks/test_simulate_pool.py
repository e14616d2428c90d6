"""The simulation of a pool that many workers write: where it can be computed by hand, and what must grow with what."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "simulate_pool.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("simulate_pool", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # which dataclasses look for
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def free(simulation):
    return simulation.Costs(put=0.0, put_byte=0.0, read_entry=0.0, rewrite_entry=0.0, entry_bytes=0.0)


@pytest.fixture
def small(simulation):
    return simulation.Setting(members=200, workers=20, train=10.0, spread=0.3, bytes=0.0)


def test_puts_that_cost_nothing_leave_the_time_of_the_trainings(simulation, free, small):
    found = simulation.simulate(small, free)
    assert found.makespan == pytest.approx(found.ideal)
    assert found.max_wait == 0
    rng = np.random.RandomState(0)
    free_at = np.zeros(20)  # the same by hand: each training goes to whoever is free first
    sigma = np.sqrt(np.log1p(0.3**2))
    for seconds in rng.lognormal(np.log(10) - sigma**2 / 2, sigma, size=200):
        free_at[free_at.argmin()] += seconds
    assert found.makespan == pytest.approx(free_at.max())
    assert found.busy == pytest.approx(free_at.sum() / (20 * free_at.max()))


def test_one_worker_waits_for_nobody(simulation, free, small):
    costs = replace(free, put=0.5, rewrite_entry=0.0)
    found = simulation.simulate(replace(small, workers=1, members=30, spread=0.0), costs)
    assert found.makespan == pytest.approx(30 * 10.5)
    assert found.locked == pytest.approx(0.5 / 10.5)
    assert found.max_wait == 0


def test_a_lock_that_is_always_held_sets_the_time(simulation, free, small):
    found = simulation.simulate(replace(small, train=1.0), replace(free, put=1.0))
    assert 200 <= found.makespan < 200 * 1.1  # the puts one after another, and the pauses between two asks
    assert found.locked > 0.98
    assert found.mean_wait == pytest.approx(18, rel=0.1)  # behind most of the twenty


def test_folders_of_their_own_share_the_load(simulation, free, small):
    setting, costs = replace(small, train=1.0), replace(free, put=1.0)
    one, four = (simulation.simulate(replace(setting, folders=n), costs) for n in (1, 4))
    assert four.makespan < 0.35 * one.makespan


def test_traffic_is_what_is_written_and_read(simulation, free, small):
    found = simulation.simulate(replace(small, bytes=1e6, workers=1, members=8), replace(free, entry_bytes=1000.0))
    rewritten = sum(1000 * n for n in (0, 2, 6))  # when the journal is as long as the index
    assert found.written == pytest.approx(8 * 1e6 + 8 * 1000 + rewritten)
    assert found.read == pytest.approx(7 * 1000)  # each line once, as its worker knows those before


def test_a_limit_is_where_puts_begin_to_cost(simulation, free, small):
    costs = replace(free, put=0.5)
    n = simulation.limit(small, costs)
    assert 10 <= n <= 25  # a worker needs the lock for a twentieth of its time
    below = simulation.simulate(replace(small, workers=n // 2), costs)
    assert below.makespan < 1.1 * below.ideal


def test_costs_are_measured(simulation):
    costs = simulation.measure(n=40, epochs=3)
    assert 0 < costs.put < 5
    assert 0 <= costs.put_byte < 1e-6
    assert 0 < costs.read_entry < 0.01
    assert 200 < costs.entry_bytes < 5000


def test_data_are_written_before_the_lock(simulation, free, small):
    setting, costs = replace(small, bytes=1e6), replace(free, put_byte=1e-5)  # ten seconds, as a training takes
    found = simulation.simulate(setting, costs)
    assert found.locked < 0.05
    assert found.makespan < 2.3 * found.ideal
