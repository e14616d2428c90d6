"""Exact plans of transport: Birkhoff vertices, the whole linear program, and units of a kind, as one or one by one."""

from itertools import permutations

import numpy as np
import pytest
from _coupling.problems import costs, masses, uniform
from scipy.optimize import linprog

from skfusion._coupling import exact
from skfusion._coupling._exact import _alike, _linear_program, _reduced


def least(c, a, b):
    """Return the least total of the whole linear program."""
    n, m = c.shape
    sums = [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    return linprog(c.ravel(), A_eq=np.concatenate(sums), b_eq=np.concatenate([a, b])).fun


def check(plan, a, b):
    """Check that a plan has the masses as sums, and is a vertex: of no more pairs than sums that are independent."""
    assert np.abs(plan.sum(1) - a).max() <= 1e-12
    assert np.abs(plan.sum(0) - b).max() <= 1e-12
    assert (plan >= 0).all()
    assert (plan > 1e-12).sum() <= len(a) + len(b) - 1


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_equal_masses_give_a_permutation_which_no_other_one_beats(n):
    for seed in range(5):
        c = costs(n, n, seed)
        plan = exact(c) * n
        assert ((plan == 0) | (plan == 1)).all()
        assert (plan.sum(0) == 1).all()
        assert (plan.sum(1) == 1).all()
        assert (exact(c, uniform(n), uniform(n)) * n == plan).all()
        assert (plan * c).sum() == pytest.approx(min(c[range(n), p].sum() for p in permutations(range(n))), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(2, 3), (5, 3), (4, 6), (7, 5), (1, 3), (6, 3), (7, 7), (20, 31)])
@pytest.mark.parametrize("equal", [True, False])
def test_other_masses_and_other_numbers_solve_the_whole_linear_program(n, m, equal):
    c, a, b = costs(n, m), *((uniform(n), uniform(m)) if equal else (masses(n, 1), masses(m, 2)))
    plan = exact(c, a, b)
    check(plan, a, b)
    assert (plan * c).sum() == pytest.approx(least(c, a, b), rel=1e-9)
    if equal:
        assert (exact(c) == plan).all()


def test_potentials_of_units_do_not_change_the_plan():
    for n, m in ((6, 6), (6, 4)):
        c = costs(n, m)
        shifted = c + np.arange(n)[:, None] + np.arange(m)[::-1] ** 2
        np.testing.assert_allclose(exact(c), exact(shifted), atol=1e-12)


def test_units_in_equal_parts_are_split_where_there_are_twice_as_many():
    c = costs(4, 4)
    plan = exact(np.repeat(c, 2, 0), uniform(8), uniform(4))
    best = exact(c, uniform(4), uniform(4))
    assert np.allclose(plan, np.repeat(best, 2, 0) / 2)


def test_ties_stay_where_they_are():
    assert (exact(np.zeros((3, 3)), uniform(3), uniform(3)) * 3 == np.eye(3)).all()
    a = masses(5, 1)
    assert np.allclose(exact(costs(5, 5)[:, [0] * 5], a, a).sum(0), a)
    assert np.allclose(exact(np.zeros((5, 5)), a, a), np.diag(a))  # units of a kind are served one after the other


@pytest.mark.parametrize(("n", "m", "kinds"), [(12, 12, 3), (12, 9, 4), (10, 14, 1), (30, 20, 25)])
@pytest.mark.parametrize("equal", [True, False])
def test_units_of_a_kind_are_as_cheap_as_the_whole_linear_program(n, m, kinds, equal):
    rng = np.random.default_rng(n)
    c = costs(kinds, kinds)[np.ix_(rng.integers(kinds, size=n), rng.integers(kinds, size=m))]
    a, b = (uniform(n), uniform(m)) if equal else (masses(n, 1), masses(m, 2))
    plan = exact(c, a, b)
    check(plan, a, b)
    assert (plan * c).sum() == pytest.approx(least(c, a, b), rel=1e-9)


def test_kinds_are_told_apart_where_it_matters_for_the_total():
    c = costs(6, 4)
    assert len(_alike(c, 0)[0]) == 6
    twins = np.concatenate([c, c[[2]], c[[2]] + 1e-14])
    first, kind = _alike(twins, 0)
    assert len(first) == 6
    assert kind[2] == kind[6] == kind[7]
    assert len({*kind}) == 6


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0, 1e12])
def test_the_total_is_the_least_whatever_the_size_and_the_offset_of_costs(size):
    a, b = masses(20, 1), masses(16, 2)
    for offset in (0.0, 100.0):
        c = costs(20, 16)
        plan = exact(size * (c + offset), a, b)
        assert (plan * c).sum() == pytest.approx(least(c, a, b), rel=1e-9)


def test_pairs_that_are_not_cheap_are_added_where_the_plan_needs_them():
    """All units want the same few: most of the plan is of pairs with which the program does not begin."""
    n = 60
    c = np.arange(n)[None] * (1 + np.arange(n)[:, None] / n) + 0.0
    a, b = masses(n, 1), masses(n, 2)
    reduced, scale = _reduced(c, a, b)
    plan = _linear_program(reduced / scale, a, b)
    assert (plan * c).sum() == pytest.approx(least(c, a, b), rel=1e-9)
