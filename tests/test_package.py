"""The package itself: its names are there when they are asked for, and cost nothing before."""

import os
import shutil
import subprocess
import sys

import pytest

import skfusion

HEAVY = {"joblib", "optuna", "pandas", "scipy", "sklearn", "skorch"}


def test_every_name_is_there():
    assert all(getattr(skfusion, name).__name__ == name for name in skfusion.__all__)
    assert {*skfusion.__all__} <= {*dir(skfusion)}
    scope = {}
    exec("from skfusion import *", scope)
    assert {*skfusion.__all__} <= {*scope}


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'skfusion' has no attribute 'chowder'"):
        skfusion.chowder  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'chowder'"):
        exec("from skfusion import chowder")


def test_merging_starts_without_scikit_learn():
    code = "import sys, skfusion.cli._merge; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"torch", "skfusion.merge", "skfusion.checkpoints"} <= {*found}
    assert not HEAVY & {*found}


FIT = """
import sys
from sklearn.datasets import load_iris
from skfusion import *
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier
from skfusion.pool import MemoryStore

X, y = load_iris(return_X_y=True)
for fusion in (SoupClassifier, EnsembleClassifier):
    fusion(mlp_classifier(max_epochs=2), collect=Seeds(2), random_state=0).fit(X, y).predict(X)
KeepTrials(MemoryStore())
print(*sys.modules)
"""


def test_optuna_is_imported_only_where_something_is_tuned():
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", FIT], check=True, capture_output=True, text=True)
    assert "skfusion.tuning._keep_trials" in found.stdout.split()
    assert not {"optuna", "cmaes", "matplotlib"} & {*found.stdout.split()}


def without(package, code):
    """Run code where a package is not installed, and return the last line of what it says."""
    block = f"import sys; sys.modules[{package!r}] = None\n"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", block + code], capture_output=True, text=True)
    return result.stderr.strip().splitlines()[-1]


def test_what_lacks_optuna_or_cmaes_says_how_to_install_it():
    error = without("optuna", "from skfusion import *; import skfusion.tuning; skfusion.tuning.FusionSearch")
    assert error == "ModuleNotFoundError: skfusion.tuning.FusionSearch needs Optuna: pip install optuna"
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "cmaes" else find(name)
from skfusion import SoupClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier
from skfusion.tuning import SoupWeights
X, y = [[0.0], [1.0]] * 20, [0, 1] * 20
SoupClassifier(mlp_classifier(max_epochs=1), collect=Seeds(2), merge=SoupWeights(n_trials=2)).fit(X, y)
"""
    assert "pip install cmaes" in without("cmaes", code)


def test_names_of_the_room_for_tuning():
    import skfusion.tuning

    assert all(getattr(skfusion.tuning, name).__name__ == name for name in skfusion.tuning.__all__)
    assert {*skfusion.tuning.__all__} <= {*dir(skfusion.tuning)}
    with pytest.raises(AttributeError, match=r"module 'skfusion.tuning' has no attribute 'chowder'"):
        skfusion.tuning.chowder  # noqa: B018


@pytest.mark.parametrize("other", ["fusion", None])
def test_files_of_the_other_package_of_this_name_are_noticed(other, tmp_path):
    package = tmp_path / "skfusion"
    package.mkdir()
    shutil.copy(skfusion.__file__, package)
    if other:
        (package / other).mkdir()
    words = [sys.executable, "-c", "import skfusion; print(skfusion.__doc__)"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Deep model fusion")
    assert ("Files of the package scikit-fusion" in done.stderr) == bool(other)
