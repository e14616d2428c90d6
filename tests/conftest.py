"""Settings that must hold before anything is imported, and fixtures that all tests share."""

import gc
import os
import sys

os.environ["SCIPY_ARRAY_API"] = "1"  # read once, when SciPy is imported; scikit-learn's array checks need it
os.environ.setdefault("SKFUSION_TEST_THREADS", "1")  # on the threads of a busy machine small networks are far slower
os.environ["OMP_NUM_THREADS"] = os.environ["SKFUSION_TEST_THREADS"]  # worker processes inherit these
os.environ["MKL_NUM_THREADS"] = os.environ["SKFUSION_TEST_THREADS"]
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["SKFUSION_TEST_THREADS"]
os.environ["MPLBACKEND"] = "Agg"

import random

import numpy as np
import pytest
import torch

gc.disable()  # until all tests are collected: see `pytest_collection_finish`
torch.set_num_threads(int(os.environ["SKFUSION_TEST_THREADS"]))


def pytest_collection_finish():
    """Leave all that is imported by now out of garbage collections: they took a fifth of the time of the tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def untouched_rng():
    """Fail the test if it moves one of the global random number generators of torch, NumPy or Python."""
    before = _global_rng()
    yield
    after = _global_rng()
    moved = [name for name in before if before[name] != after[name]]
    assert not moved, f"the global random state of {' and '.join(moved)} has changed"


def _global_rng():
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes() + bytes(str(np.random.get_state()[2:]), "ascii"),  # noqa: NPY002
        "random": random.getstate(),
    }


@pytest.fixture(autouse=True)
def _same_start():
    """Start every test from the same global state: a module made in a test has the same weights in every run."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(autouse=True)
def _closed_figures():
    """Close the figures of a test: Matplotlib warns of those that tests before it have left open, too."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
