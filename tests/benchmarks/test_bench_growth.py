"""The benchmark of growth: what it fits, and that its operations run at small sizes."""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def growth():
    sys.path.insert(0, str(FOLDER))  # where it finds its operations
    spec = importlib.util.spec_from_file_location("bench_growth", FOLDER / "bench_growth.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules["_growth_operations"]


def run(growth, capsys, monkeypatch, only):
    n_threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["bench_growth.py", "--quick", "--only", only])
    try:
        growth.main()
    finally:
        torch.set_num_threads(n_threads)
    return capsys.readouterr().out.splitlines()[3:]


def test_slopes_are_exponents(growth):
    sizes = np.array([10, 20, 40, 80])
    assert growth.slopes(sizes, 3e-4 * sizes**2.0) == pytest.approx((2, 2))
    assert growth.slopes(sizes, np.ones(4)) == pytest.approx((0, 0))
    slope, local = growth.slopes(sizes, np.array([1.0, 1.0, 1.0, 2.0]))  # what a call costs at any size hides
    assert local == pytest.approx(1)
    assert slope == pytest.approx(0.3)


def test_an_operation_that_grows_too_fast_is_named(growth, capsys, monkeypatch):
    times = iter(k**2 * 1e-3 for turn in range(3) for k in (2, 4, 8, 16))
    monkeypatch.setattr(growth, "seconds", lambda act, n: next(times))
    *_, line, last = run(growth, capsys, monkeypatch, "pool: repr and HTML")
    assert "2.00   2.00  above what is asked" in line
    assert last == "1 above what is asked: repr and HTML in members"


def test_sizes_double_and_each_operation_is_there_once(growth):
    operations = growth._growth_operations.OPERATIONS
    for operation in operations:
        for sizes in (operation.sizes, operation.quick):
            assert [b // a for a, b in pairwise(sizes)] == [2, 2, 2]
        assert operation.quick[0] <= operation.sizes[0]
    assert len({(o.room, o.name, o.axis) for o in operations}) == len(operations)


@pytest.mark.parametrize("only", ["store: puts", "pool: ModelPool", "select: Pick", "rows: hashes"])
def test_operations_run(growth, capsys, monkeypatch, only):
    *lines, last = run(growth, capsys, monkeypatch, only)
    assert lines
    assert "above what is asked" in last


@pytest.mark.slow
def test_all_operations_run(growth, capsys, monkeypatch):
    assert len(run(growth, capsys, monkeypatch, "")) == len(growth._growth_operations.OPERATIONS) + 1
