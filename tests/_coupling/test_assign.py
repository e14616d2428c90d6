"""Assignments are those that trying all of them finds."""

from itertools import permutations, product

import numpy as np
import pytest

from skfusion._coupling import Prices, assigned, assigned_nested

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", range(1, 7))
def test_best_of_all_permutations(n):
    for _ in range(5):
        worth = RNG.normal(size=(n, n))
        found = assigned(worth)
        best = max(sum(worth[i, p[i]] for i in range(n)) for p in permutations(range(n)))
        assert worth[np.arange(n), found].sum() == pytest.approx(best)


def test_offsets_of_units_change_nothing():
    worth = RNG.normal(size=(8, 8))
    moved = worth + RNG.normal(size=(8, 1)) + RNG.normal(size=(1, 8))
    assert (assigned(worth) == assigned(moved)).all()


def test_planted():
    p = RNG.permutation(50)
    worth = np.eye(50)[p] + 0.1 * RNG.uniform(size=(50, 50))
    assert (assigned(worth) == p).all()


def test_units_that_are_alike_stay_in_their_places():
    assert (assigned(np.ones((4, 4))) == np.arange(4)).all()
    assert (assigned(np.zeros((4, 4))) == np.arange(4)).all()
    twins = np.eye(4)
    twins[2] = twins[1]
    twins[:, 2] = twins[:, 1]
    assert (assigned(twins) == np.arange(4)).all()
    assert (assigned(np.eye(3) + 1e-12 * np.eye(3)[[1, 2, 0]]) == np.arange(3)).all()


def test_units_that_are_worth_nothing_stay_in_their_places():
    for order in permutations(range(4)):
        worth = -np.ones((4, 4))
        worth[range(4), order] = worth[range(4), range(4)] = 0
        assert (assigned(worth) == np.arange(4)).all()


@pytest.mark.parametrize(("n", "sizes"), [(2, [2]), (3, [2]), (2, [3, 2]), (3, [1, 2]), (2, [])])
@pytest.mark.parametrize("with_alone", [True, False])
def test_nested_is_the_best_of_the_whole_group(n, sizes, with_alone):
    if not sizes and not with_alone:
        return
    for _ in range(5):
        pairs = {f"g{k}": RNG.normal(size=(n, m, n, m)) for k, m in enumerate(sizes)}
        alone = RNG.normal(size=(n, n)) if with_alone else None

        def value(outer, inner, pairs=pairs, alone=alone):
            total = 0.0 if alone is None else sum(alone[i, outer[i]] for i in range(len(outer)))
            for name, q in inner.items():
                total += sum(pairs[name][i, k, outer[i], q[i][k]] for i in range(len(outer)) for k in range(len(q[i])))
            return total

        each = [[*product([*permutations(range(m))], repeat=n)] for m in sizes]
        best = max(
            value(outer, dict(zip(pairs, inner, strict=True)))
            for outer in permutations(range(n))
            for inner in product(*each)
        )
        found = assigned_nested(pairs, alone, "outer")
        assert value(found["outer"], {g: found[g] for g in pairs}) == pytest.approx(best)


def of_networks(n, seed=0):
    """Return the similarities of units that are no copies, which few rows decide by themselves."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 40)) @ rng.normal(size=(40, n)), rng


@pytest.mark.parametrize("n", [5, 150])
def test_prices_change_no_solution(n):
    worth, rng = of_networks(n)
    prices, order = Prices(), np.arange(n)
    for _ in range(6):  # as in sweeps: the units move, and the values change a little
        now = worth[:, order]
        found = assigned(now, prices=prices)
        assert (found == assigned(now)).all()
        order = order[found]
        worth = worth + 0.3 * rng.normal(size=(n, n))


def test_prices_of_the_last_solution_content_every_place():
    worth, _ = of_networks(150)
    for moved in (True, False):
        prices = Prices()
        best = assigned(worth)
        for _ in range(20):
            prices.learn(worth, best, moved)
            if moved:
                worth, best = worth[:, best], np.arange(150)
        lowered = prices.lowered(worth)
        chosen = lowered[np.arange(150), best]
        np.testing.assert_allclose(chosen, lowered.max(axis=1))


def test_prices_follow_units_that_need_no_solver():
    worth, _ = of_networks(150)
    prices = Prices()
    best = assigned(worth, prices=prices)
    before = prices.lowered(np.zeros((150, 150)))[0]
    p = np.roll(np.arange(150), 3)
    assert (assigned(np.eye(150)[:, np.argsort(p)], prices=prices) == p).all()
    assert (prices.lowered(np.zeros((150, 150)))[0] == before[p]).all()
    assert (best != np.arange(150)).any()
