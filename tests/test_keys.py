"""Sets of hashes give what NumPy's give, and never by its hash table, whose time grows faster than their number."""

import warnings

import numpy as np
import pytest

from skfusion import ModelPool
from skfusion._keys import distinct, is_among
from skfusion._rows import Rows
from skfusion.pool import Member

SETS = [
    np.empty(0, np.uint64),
    np.array([7], np.uint64),
    np.array([5, 1, 5, 2**64 - 1, 0, 1, 1], np.uint64),
    np.random.RandomState(0).randint(50, size=200).astype(np.uint64),
    np.random.RandomState(1).randint(2**62, size=200).astype(np.uint64),
    np.array([3, 1, 3, -4]),  # as users may give them
]


@pytest.mark.parametrize("keys", SETS)
def test_each_hash_stands_once_in_ascending_order(keys):
    before = keys.copy()
    found = distinct(keys)
    assert found.dtype == keys.dtype
    assert np.array_equal(found, np.unique(keys))
    assert np.array_equal(keys, before)


@pytest.mark.parametrize("others", SETS)
@pytest.mark.parametrize("keys", SETS)
def test_hashes_are_found_among_others(keys, others):
    found = is_among(keys, others)
    assert found.dtype == bool
    assert np.array_equal(found, np.isin(keys, others))


def test_rows_of_members_are_looked_for_without_a_hash_table(monkeypatch):
    rng = np.random.RandomState(0)
    rows = Rows(rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2)
    marks = [np.unique(rows.marks[rng.randint(40, size=20)]) for _ in range(3)]
    pool = ModelPool([Member(f"m{k}", {}, rows=of_member) for k, of_member in enumerate(marks)], classes=[0, 1])
    expected = np.isin(rows.marks, np.concatenate(marks))
    for name in ("unique", "isin", "setdiff1d"):
        monkeypatch.setattr(np, name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pool.warn_of_leakage(rows, "to test") == expected.sum()
        pool.warn_of_cross_validation(rows)
    assert rows.seen(marks[0]).sum() == len(marks[0])
    assert pool.unseen(rows.X, rows.y).tolist() == np.flatnonzero(~expected).tolist()
