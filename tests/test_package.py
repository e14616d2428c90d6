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
