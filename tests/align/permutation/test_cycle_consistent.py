"""Cycle-consistent matching: brute force, an exact line search, values that never fall, and cycles that close."""

from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
import torch
from align.networks import PROBLEMS, objective, perceptron

from skfusion.align import CycleConsistent
from skfusion.align.permutation._cycle_consistent import _along, best_step, frank_wolfe
from skfusion.align.permutation._soft import corners, mapped
from skfusion.state import distance
from skfusion.symmetry import Symmetry


def members(name, n=3):
    """Return random states of a network, and its symmetry."""
    return [PROBLEMS[name](seed)[0] for seed in range(n)], PROBLEMS[name]()[1]


def pairs(symmetry, states):
    return sum(objective(symmetry, a, b) for a, b in combinations(states, 2))


def test_best_of_all_permutations():
    for seed in range(3):
        states = [perceptron(2, 3, 2, seed=10 * seed + k)[0] for k in range(3)]
        symmetry = perceptron(2, 3, 2)[1]
        every = [np.array(p) for p in permutations(range(3))]
        best = max(
            pairs(symmetry, [states[0], *(symmetry.permute({"h1": p}, s) for p, s in zip(ps, states[1:], strict=True))])
            for ps in product(every, repeat=2)
        )
        found = CycleConsistent(n_restarts=5).align_all(states, symmetry)
        assert found[0].history[-1] == pytest.approx(best)


@pytest.mark.parametrize("name", PROBLEMS)
def test_value_is_that_of_all_pairs_and_rises(name):
    states, symmetry = members(name)
    found = CycleConsistent().align_all(states, symmetry)
    moved = [a.apply(s) for a, s in zip(found, states, strict=True)]
    assert found[0].history[0] == pytest.approx(pairs(symmetry, states))
    assert found[0].history[-1] == pytest.approx(pairs(symmetry, moved))
    assert found[0].history[-1] > found[0].history[0]


@pytest.mark.parametrize("name", PROBLEMS)
def test_value_never_falls_from_step_to_step(name):
    states, symmetry = members(name)
    _, values = frank_wolfe(states, symmetry, 50)
    assert len(values) > 2
    assert all(y >= x - 1e-9 * abs(x) for x, y in pairwise(values))
    assert values[0] == 0


def test_value_along_a_step_is_a_polynomial_that_is_known_exactly():
    states, symmetry = members("three layers")
    like = states[0]["0.weight"]
    start, end = ([corners(symmetry, symmetry.sample(10 * k + j), like) for j in range(3)] for k in range(2))
    names = symmetry.parameters
    tensors = [{n: s[n] for n in names} for s in states]
    values = _along(tensors, symmetry, names, start, end)
    assert len(values) == 5  # of degree 4: two axes of each of two networks

    def direct(t):
        maps = [{g: torch.lerp(p[g], q[g], t) for g in p} for p, q in zip(start, end, strict=True)]
        now = [{n: mapped(s[n], symmetry, n, m) for n in names} for s, m in zip(tensors, maps, strict=True)]
        return pairs(symmetry, now)

    np.testing.assert_allclose(values, [direct(t) for t in np.linspace(0, 1, 5)])
    best, (first, reached) = best_step(values)
    assert first == values[0]
    assert reached == pytest.approx(direct(best))
    assert all(direct(t) <= reached * (1 + 1e-9) for t in np.linspace(0, 1, 101))


def test_best_step_of_random_polynomials():
    rng, at = np.random.default_rng(0), np.linspace(0, 1, 20_001)
    for degree in (2, 4, 6):
        for _ in range(50):
            polynomial = np.polynomial.Polynomial(rng.normal(size=degree + 1))
            step, (_, value) = best_step(polynomial(np.linspace(0, 1, degree + 1)))
            assert 0 <= step <= 1
            assert value == pytest.approx(polynomial(at).max(), abs=1e-6)
    assert best_step(np.ones(5)) == (0.0, (1.0, 1.0))
    assert best_step(np.arange(5.0)) == (1.0, (0.0, 4.0))
    assert best_step(-np.arange(5.0)) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("name", PROBLEMS)
def test_copies_become_one(name):
    for seed in range(3):
        state, symmetry = PROBLEMS[name](seed)
        copies = [symmetry.permute(symmetry.sample(10 * seed + k), state) for k in range(4)]
        alignments = CycleConsistent().align_all(copies, symmetry)
        for alignment, copy in zip(alignments, copies, strict=True):
            assert distance(alignment.apply(copy), copies[0]) == 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_cycles_close(name):
    states, symmetry = members(name, 4)
    found = CycleConsistent(max_steps=5).align_all(states, symmetry)
    to = {(j, k): symmetry.compose(found[j], symmetry.invert(found[k])) for j in range(4) for k in range(4)}
    for cycle in permutations(range(4), 3):
        first, second, third = (to[j, k] for j, k in pairwise([*cycle, cycle[0]]))
        around = symmetry.compose(symmetry.compose(first, second), third)
        assert all((around[g] == p).all() for g, p in symmetry.identity().items())
    assert all((found[0][g] == p).all() for g, p in symmetry.identity().items())


def test_order_of_the_networks_changes_nothing_but_the_common_order():
    states, symmetry = members("three layers", 4)
    one = CycleConsistent().align_all(states, symmetry)
    order = [2, 0, 3, 1]
    other = CycleConsistent().align_all([states[k] for k in order], symmetry)
    assert other[0].history == pytest.approx(one[0].history)
    for alignment, k in zip(other, order, strict=True):
        expected = symmetry.compose(one[k], symmetry.invert(one[order[0]]))
        assert all((alignment[g] == p).all() for g, p in expected.items())


def test_a_pair_is_matched_with_the_reference_in_its_place():
    (a, symmetry), (b, _) = perceptron(3, 9, 7, 2, seed=0), perceptron(3, 9, 7, 2, seed=1)
    found = CycleConsistent()(b, a, symmetry)
    assert found.history[-1] == pytest.approx(objective(symmetry, a, found.apply(b)))
    assert found == CycleConsistent().align_all([a, b], symmetry)[1]


def test_restarts_never_lose():
    states, symmetry = members("three layers")
    one, more = (CycleConsistent(n).align_all(states, symmetry)[0].history[-1] for n in (0, 3))
    assert more >= one


def test_one_network_and_networks_without_units():
    state, symmetry = perceptron(3, 4, 2)
    (found,) = CycleConsistent().align_all([state], symmetry)
    assert found.apply(state)["0.weight"] is state["0.weight"]
    linear, nothing = perceptron(3, 2)
    assert [len(a) for a in CycleConsistent().align_all([linear] * 3, nothing)] == [0, 0, 0]


def test_networks_of_several_dtypes():
    state, symmetry = perceptron(3, 20, 2, dtype=torch.float32)
    state = {**state, "1.weight": state["1.weight"].bfloat16()}
    copies = [symmetry.permute(symmetry.sample(k), state) for k in range(3)]
    moved = [a.apply(s) for a, s in zip(CycleConsistent().align_all(copies, symmetry), copies, strict=True)]
    assert all(distance(m, state) == distance(moved[0], state) for m in moved)
    assert moved[0]["1.weight"].dtype is torch.bfloat16
    whole = {k: v.to(torch.complex64) for k, v in state.items()}
    assert len(CycleConsistent().align_all([whole] * 3, Symmetry.of_axes({"0.bias": ("h",)}, whole))) == 3


@pytest.mark.parametrize("params", [{"n_restarts": -1}, {"max_steps": 0}])
def test_bad_parameters(params):
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="n_restarts is at least 0 and max_steps at least 1"):
        CycleConsistent(**params)(state, state, symmetry)


def test_bad_input():
    state, symmetry = perceptron(3, 4, 2)
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        CycleConsistent().align_all([state, state])
    with pytest.raises(ValueError, match="'0.weight' of member 1 holds NaN"):
        CycleConsistent().align_all([state, {**state, "0.weight": state["0.weight"] * torch.nan}], symmetry)
    with pytest.raises(ValueError, match="No states to merge"):
        CycleConsistent().align_all([], symmetry)
