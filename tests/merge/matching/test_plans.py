"""Exact transport of equal masses."""

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linprog

from skfusion.merge.matching import _plans
from skfusion.merge.matching._plans import plan


def cost(n, m, seed=0):
    rng = np.random.RandomState(seed)
    return ((rng.normal(size=(n, 1, 3)) - rng.normal(size=(m, 3))) ** 2).sum(-1)


def sums_to_masses(coupling):
    n, m = coupling.shape
    np.testing.assert_allclose(coupling.sum(1), 1 / n, atol=1e-12)
    np.testing.assert_allclose(coupling.sum(0), 1 / m, atol=1e-12)
    assert (coupling >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_equal_numbers_give_the_best_permutation(seed):
    c = cost(5, 5, seed)
    coupling = plan(c)
    sums_to_masses(coupling)
    assert {*np.unique(coupling)} == {0, 1 / 5}  # a corner of Birkhoff's polytope
    best = min(c[range(5), p].sum() / 5 for p in map(list, permutations(range(5))))
    assert (coupling * c).sum() == pytest.approx(best)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (7, 5), (1, 3), (6, 3)])
@pytest.mark.parametrize("most", [2048, 0])
def test_other_numbers_give_the_cheapest_coupling(n, m, most, monkeypatch):
    monkeypatch.setattr(_plans, "_MOST_COPIES", most)
    c = cost(n, m)
    rows = np.kron(np.eye(n), np.ones(m)), np.full(n, 1 / n)
    columns = np.kron(np.ones(n), np.eye(m)), np.full(m, 1 / m)
    best = linprog(c.ravel(), A_eq=np.concatenate([rows[0], columns[0]]), b_eq=np.concatenate([rows[1], columns[1]]))
    sums_to_masses(plan(c))
    assert (plan(c) * c).sum() == pytest.approx(best.fun)


def test_potentials_of_units_do_not_change_the_plan():
    c = cost(6, 6)
    shifted = c + np.arange(6)[:, None] + np.arange(6)[::-1] ** 2
    np.testing.assert_array_equal(plan(c), plan(shifted))
