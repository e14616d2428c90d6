"""Training on machines of one core and of many, with little memory, odd settings of threads, and several devices."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from joblib import delayed, effective_n_jobs
from looped import CLASSES, X, classifier, collect, same_bits
from torch import nn

from skfusion import nets
from skfusion._vectorized import NotVectorizableError
from skfusion.collect import Seeds
from skfusion.nets import Run, Watch, in_order
from skfusion.nets.vectorized._plan import member_cost
from skfusion.pool import Member

R = nn.ReLU


# ---- cores -------------------------------------------------------------------------------------------------------


def machine(monkeypatch, n_cores):
    """Let the machine have so many cores, of which this process may use all."""
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: n_cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(n_cores)), raising=False)
    monkeypatch.setattr("joblib.externals.loky.backend.context._cpu_count_cgroup", lambda cores: cores)


@pytest.fixture
def asked(monkeypatch):
    """What joblib is asked for, where no process is started: the numbers of processes, in order."""
    numbers = []

    def parallel(n_jobs, return_as):
        numbers.append(n_jobs)
        return lambda jobs: [function(*args, **kwargs) for function, args, kwargs in jobs]

    monkeypatch.setattr("skfusion.nets._parallel.Parallel", parallel)
    return numbers


@pytest.mark.parametrize(("n_cores", "processes"), [(1, []), (2, [-1]), (64, [2])])
def test_cores_decide_how_many_processes_there_are_and_nothing_else(n_cores, processes, asked, monkeypatch):
    expected = collect(Seeds(8), classifier(R))
    machine(monkeypatch, n_cores)
    assert effective_n_jobs(-1) == n_cores
    found = collect(Seeds(8), classifier(R), n_jobs=-1)
    assert asked == processes  # two tasks of four members, and not 64 processes for them
    assert all(same_bits(a.state, b.state) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("vectorize", ["auto", True, False])
def test_more_processes_than_members_are_not_asked_for(vectorize, asked, monkeypatch):
    machine(monkeypatch, 64)
    assert len(collect(Seeds(5, vectorize=vectorize), classifier(R), n_jobs=-1)) == 5
    assert all(n <= 5 for n in asked)


def test_a_share_of_the_cores_is_what_joblib_says(monkeypatch):
    machine(monkeypatch, 64)
    monkeypatch.setattr("joblib.externals.loky.backend.context._cpu_count_cgroup", lambda cores: 3)  # a quota
    assert nets.plan(classifier(R), CLASSES, [Run("run", 0)] * 64, True, None, effective_n_jobs(-1)).sizes == [
        22,
        21,
        21,
    ]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert effective_n_jobs(-1) == 1


def test_jobs_are_all_done_where_there_are_more_processes():
    assert [*in_order([delayed(abs)(-1)], 1)] == [1]
    assert [*in_order([], 64)] == []


# ---- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorize", ["auto", True])
def test_memory_below_two_members_trains_one_by_one_and_says_so(vectorize, monkeypatch):
    net = classifier(R)
    expected = collect(Seeds(4, vectorize=False), net)
    monkeypatch.setattr("skfusion.nets.vectorized._plan.free_bytes", lambda device: 1000)
    with pytest.warns(UserWarning, match=r"two members need [\d,]+ bytes, and half of the memory .* is 1,000"):
        found = collect(Seeds(4, vectorize=vectorize), net)
    assert all(same_bits(a.state, b.state) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("left", [0, 10])
def test_a_container_that_is_full_trains_one_by_one(left, monkeypatch):
    monkeypatch.setattr("skfusion.nets.vectorized._plan._left", lambda *files: left)
    with pytest.warns(UserWarning, match="half of the memory that is free is"):
        assert len(collect(Seeds(4), classifier(R))) == 4


def test_a_container_with_room_for_three_members_trains_three_at_a_time(monkeypatch):
    net = classifier(R)
    room = 3 * member_cost(net, CLASSES, Run("run", 0)).bytes
    monkeypatch.setattr("skfusion.nets.vectorized._plan._left", lambda *files: 2 * room)
    assert nets.plan(net, CLASSES, [Run("run", 0)] * 7).sizes == [3, 2, 2]


# ---- threads -----------------------------------------------------------------------------------------------------

SCRIPT = """
import numpy as np, torch
before = torch.get_num_threads()
from skorch import NeuralNetClassifier
from torch import nn
from skfusion import nets
from skfusion._rows import Rows
X = np.random.RandomState(0).normal(size=(20, 3)).astype(np.float32)
net = NeuralNetClassifier(nn.Linear, module__in_features=3, module__out_features=2, criterion=nn.CrossEntropyLoss,
                          max_epochs=1, verbose=0, train_split=None)
runs = [nets.Run(str(k), k) for k in range(2)]
rows = Rows(X, (X[:, 0] > 0).astype(np.int64))
one = nets.fit_many(net, rows, runs, [nets.Watch() for _ in runs])[1]
other = nets.fit(net, rows, 1)
same = torch.allclose(one.module_.weight, other.module_.weight, atol=1e-5)
print(same, before >= 1, torch.get_num_threads() == before)
"""


def started(n_threads):
    """Start a training in a process where ``OMP_NUM_THREADS`` has a value; it has none for None."""
    of_process = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    given = {} if n_threads is None else {"OMP_NUM_THREADS": n_threads}
    command = [sys.executable, "-c", SCRIPT]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=of_process | given, text=True, **pipes)


def test_odd_numbers_of_threads_are_left_to_torch():
    running = {value: started(value) for value in (None, "0", "-3", "abc", "100000")}
    for value, process in running.items():
        printed, errors = process.communicate(timeout=600)
        assert process.returncode == 0, (value, errors)
        assert printed.split() == ["True"] * 3, value


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            collect(Seeds(4), classifier(R))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)


# ---- devices -----------------------------------------------------------------------------------------------------


def test_members_on_two_devices_are_not_vectorized():
    runs = [Run("a", 0, params={"device": "cpu"}), Run("b", 1, params={"device": "meta"})]
    with pytest.raises(NotVectorizableError, match="its members differ in the parameter 'device'"):
        nets.fit_many(classifier(R), CLASSES, runs, [Watch(), Watch()])


class Spread(nn.Module):
    """A network whose parameters are on two devices."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 3)
        self.elsewhere = nn.Parameter(torch.ones(2, device="meta"))

    def forward(self, X):
        return self.body(X)


def test_a_network_on_two_devices_is_not_vectorized():
    net = classifier(module=Spread, device=None, optimizer__fused=False)
    with pytest.raises(NotVectorizableError, match="several dtypes or devices"):
        nets.fit_many(net, CLASSES, [Run("a", 0), Run("b", 1)], [Watch(), Watch()])


def test_a_member_without_numbers_does_not_predict_and_is_named():
    net = classifier(R)
    state = nets.fit(net, CLASSES, 0).module_.state_dict()
    empty = {key: t.to("meta") for key, t in state.items()}
    members = [Member("here", state, net=net), Member("there", empty, net=net)]
    with pytest.raises(ValueError, match=r"member 'there' is on the device 'meta'.*Load its weights first"):
        [*nets.predict_members(members, X, "classification", 3)]
    assert np.isfinite([*nets.predict_members(members[:1], X, "classification", 3)]).all()
