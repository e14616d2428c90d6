"""Training, comparing and searching on the workers of ray, in a process of its own, as ray changes joblib globally."""

import importlib.util
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
import ray
from joblib import parallel_config
from ray.util.joblib import register_ray
from sklearn.base import clone
from sklearn.datasets import load_iris
from skfusion import EnsembleClassifier
from skfusion.collect import Kept, Seeds
from skfusion.compare import compare_fusions
from skfusion.nets import mlp_classifier
from skfusion.pool import DirectoryStore
from skfusion.testing import _problems as problems
from skfusion.tuning import FusionSearch

def collected(collector, n_jobs):
    return collector(problems.sized_net(), problems.rows(), np.random.RandomState(0), n_jobs=n_jobs)

def space(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.1, 0.4)}

X, y = load_iris(return_X_y=True)
seeds, kept = Seeds(3, vectorize=False), Kept(Seeds(2), sys.argv[1] + "/folds")
fusion = EnsembleClassifier(mlp_classifier(max_epochs=2, module__hidden=(4,)), collect=kept)
search = FusionSearch(fusion, space, n_trials=2, cv=2, random_state=0)

def results(n_jobs):
    pool = collected(seeds, n_jobs)
    table = compare_fusions({"ensemble": fusion}, X, y, cv=2, random_state=0, n_jobs=n_jobs)
    found = clone(search).set_params(n_jobs=n_jobs).fit(X, y)
    return [m.state for m in pool], table["accuracy_mean"].item(), found.best_params_, found.best_score_

states, *expected = results(1)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
register_ray()
with parallel_config(backend="ray", n_jobs=2):
    on_ray, *found = results(2)
    through_files = collected(Kept(seeds, sys.argv[1] + "/pool"), 2).states
ray.shutdown()
for member in zip(states, on_ray, through_files):
    for key, tensor in member[0].items():
        np.testing.assert_allclose(member[1][key], tensor, rtol=0, atol=1e-6)
        np.testing.assert_allclose(member[2][key], tensor, rtol=0, atol=1e-6)
assert found == expected, (found, expected)
assert len(DirectoryStore(sys.argv[1] + "/pool").names()) == 3
print("as in one process")
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_results_are_those_of_one_process(tmp_path):
    ended = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1:] == ["as in one process"], ended.stderr
