"""Training, comparing and searching on the workers of Dask: the same results, also where a worker dies."""

import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from members_of import assert_same, collected
from sklearn.base import clone
from sklearn.datasets import load_iris

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

from skfusion import EnsembleClassifier, SoupClassifier  # noqa: E402
from skfusion.collect import Bootstrap, Hyper, Kept, Seeds  # noqa: E402
from skfusion.collect._train_runs import Progress  # noqa: E402
from skfusion.compare import compare_fusions  # noqa: E402
from skfusion.nets import mlp_classifier  # noqa: E402
from skfusion.pool import DirectoryStore  # noqa: E402
from skfusion.testing import _problems as problems  # noqa: E402
from skfusion.tuning import FusionSearch  # noqa: E402

X, y = load_iris(return_X_y=True)
NET = mlp_classifier(max_epochs=2, module__hidden=(4,))
SLOW = problems.sized_net(max_epochs=40)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processes, which are gone afterwards; its HTTP server takes a free port."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, silence_logs=50) as cluster, distributed.Client(cluster):
        yield cluster
        pids = pids_of(cluster)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


@pytest.fixture
def on_dask(cluster):
    with parallel_config(backend="dask", wait_for_workers_timeout=500):
        yield cluster


def pids_of(cluster):
    return [worker.pid for worker in cluster.workers.values()]


@pytest.mark.parametrize("collector", [Seeds(3, vectorize=False), Bootstrap(8)], ids=repr)
def test_members_are_those_of_one_process(collector, on_dask, tmp_path):
    with parallel_config(backend="sequential"):
        local = collected(collector)
    assert_same(collected(collector), local, atol=1e-6)
    assert_same(collected(Kept(collector, tmp_path / "pool")), local, atol=1e-6)
    assert len(DirectoryStore(tmp_path / "pool").names()) == len(local)
    assert not [*(tmp_path / "pool" / ".runs").glob("data-*")]


class Killing(Progress):
    """Kills a worker when the first run is done."""

    def __init__(self, cluster):
        self.cluster, self.killed = cluster, None

    def end(self, name, members):
        if self.killed is None:
            self.killed = pids_of(self.cluster)[0]
            os.kill(self.killed, signal.SIGKILL)
        return False


@pytest.mark.parametrize("kept", [False, True])
def test_a_worker_that_dies_is_replaced(kept, on_dask, tmp_path):
    seeds = Seeds(6, vectorize=False)
    with parallel_config(backend="sequential"):
        local = collected(seeds, net=SLOW)
    killing = Killing(on_dask)
    pool = collected(Kept(seeds, tmp_path / "pool") if kept else seeds, progress=killing, net=SLOW)
    assert_same(pool, local, atol=1e-6)
    deadline = time.monotonic() + 500
    while killing.killed in pids_of(on_dask):  # until the cluster has noticed, and there is another one
        assert time.monotonic() < deadline
        time.sleep(0.05)
    distributed.get_client().wait_for_workers(2, timeout=500)


def test_an_error_on_a_worker_names_the_member(on_dask):
    with pytest.raises(ValueError, match="Invalid learning rate") as error:
        collected(Hyper({"lr": [0.01, -1.0]}, n_members=2, vectorize=False))
    assert "in a worker, in the training of 'hyper-" in error.value.__notes__[0]


def test_a_comparison_is_that_of_one_process(on_dask, tmp_path):
    fusions = {
        "soup": SoupClassifier(NET, collect=Seeds(2)),
        "ensemble": EnsembleClassifier(NET, collect=Kept(Seeds(2), tmp_path / "pool")),
    }
    table = compare_fusions(fusions, X, y, cv=3, random_state=0, n_jobs=2)
    with parallel_config(backend="sequential"):
        local = compare_fusions(fusions, X, y, cv=3, random_state=0)
    scores = [column for column in local if "seconds" not in column and "us_per" not in column]
    pd.testing.assert_frame_equal(table[scores], local[scores], rtol=1e-6)
    assert len(DirectoryStore(tmp_path / "pool").names()) == 6


def space(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.1, 0.4)}


def test_a_search_is_that_of_one_process(on_dask):
    search = FusionSearch(SoupClassifier(NET, collect=Seeds(2)), space, n_trials=3, cv=2, random_state=0, n_jobs=2)
    with parallel_config(backend="sequential"):
        local = clone(search).fit(X, y)
    found = search.fit(X, y)
    assert found.best_params_ == local.best_params_
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], local.cv_results_["mean_test_score"])
