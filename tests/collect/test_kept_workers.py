"""Workers write the members that are kept, and neither these nor the data travel between processes."""

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from joblib import parallel_config
from members_of import assert_same, collected
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold, cross_validate

from skfusion import EnsembleClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import (
    Averages,
    Bootstrap,
    FineTunes,
    Hyper,
    Kept,
    Seeds,
)
from skfusion.collect._by_path import Carrier, RowsByPath, StateByPath
from skfusion.nets import mlp_classifier
from skfusion.pool import DirectoryStore


def test_workers_give_the_same_members_and_leave_no_data(tmp_path):
    for collector in (Seeds(3, vectorize=False), Bootstrap(4), FineTunes(n_members=2, init=1, vectorize=False)):
        one = collected(Kept(collector, tmp_path / "one"))
        two = collected(Kept(collector, tmp_path / "two"), n_jobs=2)
        assert_same(two, one, atol=1e-6)
        assert not [*(tmp_path / "two" / ".runs").glob("data-*")]


def test_what_travels_to_workers_is_small_and_comes_back_as_names(tmp_path, monkeypatch):
    rng = np.random.RandomState(0)
    rows = Rows(rng.rand(25_000, 200).astype(np.float32), rng.randint(3, size=25_000), task="classification")
    vars(rows).update({name: rng.randint(2**60, size=25_000).astype(np.uint64) for name in ("keys", "input_keys")})
    net = nets.sized(mlp_classifier(max_epochs=1, batch_size=5000, module__hidden=(2,)), rows, 3)
    sizes, back = [], []

    def in_order(jobs, n_jobs):
        for job in jobs:
            task = cloudpickle.dumps(job)
            function, args, options = pickle.loads(task)
            result = function(*args, **options)
            sizes.append(len(task))
            back.append(len(cloudpickle.dumps(result)))
            yield result

    monkeypatch.setattr(nets, "in_order", in_order)
    for collector in (Seeds(2, vectorize=False), Averages(2)):  # whose recorder holds the rows too
        pool = collected(Kept(collector, tmp_path / "pool"), net=net, rows=rows, n_jobs=2)
        assert len(pool) == 2
    assert rows.X.nbytes == 20_000_000
    assert len(sizes) == 4
    assert max(sizes) < 100_000
    assert max(back) < 1000


def test_rows_by_path_are_the_rows(tmp_path):
    X = {"a": np.arange(20_000.0).reshape(5000, 4), "b": np.arange(5000)}
    groups = np.array([f"g{i % 7}" for i in range(5000)], dtype=object)
    rows = Rows(X, np.arange(5000) % 3, np.linspace(1, 2, 5000), groups, task="classification")
    by_path = RowsByPath.of(rows, Carrier(tmp_path / "data"))
    assert not (tmp_path / "data").exists()  # until they travel
    again = pickle.loads(pickle.dumps(by_path))
    assert type(again) is Rows
    assert len(pickle.dumps(by_path)) < 2 * len(pickle.dumps(groups))
    for name in ("a", "b"):
        np.testing.assert_array_equal(again.X[name], X[name])
    for name in ("y", "weight", "groups", "keys", "marks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(rows, name))
    part = by_path.take(np.arange(7))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).X["a"], X["a"][:7])
    assert nets.fingerprint(again) == nets.fingerprint(rows) == nets.fingerprint(by_path)
    by_path.stay()
    assert len(pickle.dumps(by_path)) > 150_000


def test_a_start_travels_once_and_as_a_path(tmp_path):
    carrier = Carrier(tmp_path / "data")
    large, small = {"w": torch.arange(10_000.0), "n": torch.tensor(3)}, {"w": torch.ones(3)}
    assert carrier.state(small) is small
    assert carrier.state(None) is None
    assert carrier.state(large) is carrier.state(large)
    pickled = pickle.dumps(carrier.state(large))
    assert isinstance(carrier.state(large), StateByPath)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert torch.equal(again["w"], large["w"])
    assert again["n"] == 3


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    pickled = pickle.dumps(RowsByPath.of(Rows(np.ones((9000, 2)), np.zeros(9000)), Carrier(tmp_path / "data")))
    os.rename(tmp_path / "data", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=f"{socket.gethostname()} does not see .*file system that all workers"):
        pickle.loads(pickled)


def test_data_of_dead_processes_are_removed_and_of_others_are_not(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    runs = tmp_path / "pool" / ".runs"
    left, live, elsewhere = (
        runs / name
        for name in (
            f"data-{socket.gethostname()}-{dead.stdout.strip()}-00",
            f"data-{socket.gethostname()}-{os.getpid()}-00",
            "data-another-host-1-00",
        )
    )
    for folder in (left, live, elsewhere):
        folder.mkdir(parents=True)
    collected(Kept(Seeds(2), tmp_path / "pool"), n_jobs=2)
    assert not left.exists()
    assert live.exists()
    assert elsewhere.exists()


def test_an_error_in_a_worker_names_the_member(tmp_path):
    hyper = Hyper({"lr": [0.01, -1.0]}, n_members=2, vectorize=False)
    for collector in (hyper, Kept(hyper, tmp_path / "pool")):
        with (
            parallel_config(backend="threading", n_jobs=2),
            pytest.raises(ValueError, match="Invalid learning rate") as error,
        ):
            collected(collector)
        assert "in a worker, in the training of 'hyper-" in error.value.__notes__[0]
    assert "of 2 runs are kept in" in error.value.__notes__[1]


def test_a_task_that_is_started_again_trains_nothing(tmp_path, monkeypatch):
    """As where a scheduler has lost the worker after it had kept its members."""
    tasks = []

    def in_order(jobs, n_jobs):
        tasks.extend(jobs)
        for function, args, options in tasks:
            yield function(*args, **options)

    monkeypatch.setattr(nets, "in_order", in_order)
    collected(Kept(Seeds(2, vectorize=False), tmp_path / "pool"), n_jobs=2)
    calls = []
    function, args, options = tasks[0]
    spied = replace(args[0], train_chunk=lambda *given: calls.append(given))
    names, reason = function(spied, *args[1:], **options)
    assert not calls
    assert [*names] == ["seed-0"]
    assert reason is None


def test_a_relative_path_is_that_of_the_process(tmp_path, monkeypatch):
    def in_order(jobs, n_jobs):
        for job in jobs:
            function, args, options = pickle.loads(cloudpickle.dumps(job))
            monkeypatch.chdir("/")  # where a worker may be
            yield function(*args, **options)

    monkeypatch.setattr(nets, "in_order", in_order)
    monkeypatch.chdir(tmp_path)
    collected(Kept(Seeds(2, vectorize=False), Path("pool")), n_jobs=2)
    assert len(DirectoryStore(tmp_path / "pool").names()) == 2


def test_folds_share_a_folder(tmp_path, monkeypatch):
    X, y = load_iris(return_X_y=True)
    folds = KFold(3, shuffle=True, random_state=0)

    def scores(collect, n_jobs=None):
        net = mlp_classifier(max_epochs=3, module__hidden=(4,))
        ensemble = EnsembleClassifier(net, collect=collect, random_state=0)
        return cross_validate(ensemble, X, y, cv=folds, n_jobs=n_jobs)["test_score"].tolist()

    expected = scores(Seeds(2))
    assert scores(Kept(Seeds(2), tmp_path / "pool"), n_jobs=2) == expected
    assert len(DirectoryStore(tmp_path / "pool").names()) == 6
    monkeypatch.setattr("skfusion.collect._train_runs._train_chunk", None)  # nothing is trained any more
    assert scores(Kept(Seeds(2), tmp_path / "pool")) == expected
