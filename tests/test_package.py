"""The package itself: its names are there when they are asked for, and cost nothing before."""

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
