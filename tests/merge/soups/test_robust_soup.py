"""Affine combinations on a grid."""

import itertools
import math
import weakref

import pytest
import torch
from torch import nn

from skfusion.merge import RobustSoup
from skfusion.merge.soups._robust_soup import n_tuples, tuples
from skfusion.objective import ModuleObjective


def vectors(n, seed=0, d=5):
    generator = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(d, generator=generator, dtype=torch.float64)} for _ in range(n)]


def objective(score, report=None):
    return ModuleObjective(
        nn.Identity(), lambda: [], lambda s: -score(s), score, report=report or (lambda name, value: None)
    )


def bumpy(state):
    w = state["w"]
    return float(-((w - 0.7) ** 2).sum() + (5 * w).sin().sum())


def nearest_to(target):
    return objective(lambda s: -float(((s["w"] - target) ** 2).sum()))


def grid(low, high, step, n):
    """All weights of n members that sum to one, by brute force; in steps, to avoid rounding."""
    parts = round(1 / step)
    each = range(round(low * parts), round(high * parts) + 1)
    return [a for a in itertools.product(each, repeat=n) if sum(a) == parts]


@pytest.mark.parametrize(("low", "high", "step"), [(-0.4, 1.4, 0.2), (0.0, 1.0, 0.25), (-1.0, 2.0, 0.5)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_is_the_best_of_all_weights_on_the_grid(n, low, high, step):
    parts = round(1 / step)
    for seed in range(4):
        states, report = vectors(n, seed), {}
        found = RobustSoup(low, high, step).coefficients(states, None, objective(bumpy, report.__setitem__))
        tried = {
            a: bumpy({"w": sum(i / parts * s["w"] for i, s in zip(a, states, strict=True))})
            for a in grid(low, high, step, n)
        }
        best = max(tried, key=tried.get)
        assert found == pytest.approx([i / parts for i in best], abs=1e-15)
        assert report == {"score": pytest.approx(tried[best], abs=1e-12), "n_evaluations": len(tried)}


@pytest.mark.parametrize("params", [{}, {"low": 0.0, "high": 1.0, "step": 0.5}, {"low": 0.2, "high": 0.8}])
def test_it_is_never_worse_than_the_best_member(params):
    for seed in range(10):
        states = vectors(3, seed)
        soup = RobustSoup(**params)(states, objective=objective(bumpy))
        assert bumpy(soup) >= max(map(bumpy, states))


def test_single_members_are_candidates_and_come_back_to_the_bit():
    states = vectors(3)
    for k in range(3):
        merge = RobustSoup(low=0.2, high=0.6)  # single members are beyond the grid
        assert torch.equal(merge(states, objective=nearest_to(states[k]["w"]))["w"], states[k]["w"])


def test_it_may_leave_the_simplex_and_stays_where_it_must():
    states = [{"w": torch.tensor([0.0]).double()}, {"w": torch.tensor([1.0]).double()}]
    for target, merge, expected in (
        (1.21, RobustSoup(), 1.2),
        (-0.35, RobustSoup(), -0.4),
        (9.0, RobustSoup(), 1.4),
        (1.21, RobustSoup(low=0, high=1), 1.0),
        (-0.35, RobustSoup(low=0, high=1), 0.0),
        (0.46, RobustSoup(step=0.1), 0.5),
    ):
        assert merge(states, objective=nearest_to(target))["w"].item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (2, 10), (3, 69), (4, 480)])
def test_the_number_of_candidates_is_what_the_documentation_says(n, expected):
    calls = []
    merge = RobustSoup()
    merge.coefficients(vectors(n), None, objective(lambda s: calls.append(1) or bumpy(s)))
    assert len(calls) == expected == len(grid(-0.4, 1.4, 0.2, n))


@pytest.mark.parametrize(("k", "total"), [*itertools.product([1, 2, 3, 4], [1, 2, 5])])
@pytest.mark.parametrize(("least", "most"), [(0, 1), (-2, 7), (0, 5), (1, 3), (-3, -1), (2, 1)])
def test_tuples_are_those_of_brute_force_and_counted_without_being_made(k, total, least, most):
    expected = [a for a in itertools.product(range(least, most + 1), repeat=k) if sum(a) == total]
    assert [*tuples(k, total, least, most)] == expected
    assert n_tuples(k, total, least, most) == len(expected)


def test_of_equal_scores_the_most_even_weights_win_and_then_the_smaller_network():
    states = vectors(2)
    flat = objective(lambda s: 1.0)
    assert RobustSoup(step=0.25).coefficients(states, None, flat) == [0.5, 0.5]
    small, large = ({"w": v * torch.ones(2).double()} for v in (1.0, 3.0))
    thirds = RobustSoup(step=1 / 3)
    assert thirds.coefficients([small, large], None, flat) == pytest.approx([2 / 3, 1 / 3])
    assert thirds.coefficients([large, small], None, flat) == pytest.approx([1 / 3, 2 / 3])


def test_a_score_that_is_not_a_number_never_wins():
    states = [{"w": torch.tensor([v]).double()} for v in (0.0, 1.0)]
    score = objective(lambda s: math.nan if s["w"].item() > 1.1 else s["w"].item())
    assert RobustSoup().coefficients(states, None, score) == [0.0, 1.0]
    assert RobustSoup().coefficients(states[::-1], None, score) == [1.0, 0.0]
    score = objective(lambda s: math.nan if s["w"].item() < 0.1 else -s["w"].item())
    assert RobustSoup().coefficients(states, None, score) == [0.8, 0.2]
    with pytest.raises(ValueError, match="No candidate of RobustSoup has a score: all are NaN. Drop diverged members"):
        RobustSoup().coefficients(states, None, objective(lambda s: math.nan))


def test_states_are_made_one_at_a_time():
    made = []

    def score(state):
        assert not any(before() is not None for before in made)
        made.append(weakref.ref(state["w"]))
        return bumpy(state)

    RobustSoup()(vectors(3), objective=objective(score))
    assert len(made) == 69


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"low": 1.0, "high": 0.0}, "needs low <= high and a positive step; got low=1.0, high=0.0"),
        ({"low": math.nan}, "needs low <= high"),
        ({"high": math.inf}, "needs low <= high"),
        ({"step": 0.0}, "a positive step"),
        ({"step": 0.3}, "step must divide 1.*got 0.3"),
        ({"step": 2.0}, "step must divide 1"),
        ({"max_candidates": 68}, r"has 69 candidates for 3 members, more than max_candidates=68.*select=TopK\(3\)"),
        ({"step": 0.001}, "larger step or a smaller range, or fewer members"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        RobustSoup(**params)(vectors(3), objective=objective(bumpy))


def test_it_needs_an_objective():
    with pytest.raises(ValueError, match="give it an objective with held-out rows"):
        RobustSoup()(vectors(2))
