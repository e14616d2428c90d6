"""Greedy soups."""

import itertools
import math

import numpy as np
import pytest
import torch
from reference.greedy_soup import greedy_soup as reference_soup
from reference.greedy_soup import plain_mean
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import nets
from skfusion.merge import Greedy
from skfusion.merge._greedy import greedy_soup
from skfusion.objective import Objective
from skfusion.rows import Rows


def some_states(n, seed, d=6):
    generator = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(d, generator=generator)} for _ in range(n)]


def bowl(state):
    """A score with its best place at the vector of ones."""
    return -float(((state["w"].double() - 1) ** 2).sum())


def bumpy(state):
    return bowl(state) + math.sin(3 * float(state["w"].double().sum()))


def steps(state):
    """A score of few values, with many ties."""
    return round(bowl(state) / 4) * 4


def objective(score):
    return Objective(nn.Identity(), lambda: [], lambda state: -score(state), score)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("score", [bowl, bumpy, steps])
@pytest.mark.parametrize("strict", [False, True])
def test_it_matches_the_soup_that_is_recomputed_every_time(score, seed, strict):
    states = some_states(8, seed)
    expected = reference_soup(states, score, strict)
    assert greedy_soup(states, objective(score).scores, strict) == expected
    found = Greedy(strict)(states, objective=objective(score))
    torch.testing.assert_close(found["w"].double(), plain_mean([states[k] for k in expected])["w"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("score", [bowl, bumpy, steps])
def test_it_is_never_worse_than_the_best_member(score):
    for seed in range(10):
        states = some_states(6, seed)
        soup = Greedy()(states, objective=objective(score))
        assert score(soup) >= max(map(score, states)) - 1e-6


def test_coefficients_are_alike_and_sum_to_one():
    states = some_states(8, 3)
    found = Greedy().coefficients(states, objective=objective(bowl))
    size = sum(c > 0 for c in found)
    assert 1 < size < 8
    assert {c for c in found if c} == {1 / size}


def test_equal_members_all_join_unless_strict():
    states = some_states(1, 0) * 4
    assert Greedy().coefficients(states, objective=objective(bowl)) == [0.25] * 4
    assert Greedy(strict=True).coefficients(states, objective=objective(bowl)) == [1, 0, 0, 0]
    assert torch.equal(Greedy()(states, objective=objective(bowl))["w"], states[0]["w"])


def test_strict_differs_on_ties_only():
    states = [{"w": torch.tensor([v])} for v in (0.0, 4.0)]
    level = objective(lambda state: 1.0)
    assert Greedy().coefficients(states, objective=level) == [0.5, 0.5]
    assert Greedy(strict=True).coefficients(states, objective=level) == [1.0, 0.0]
    distinct = some_states(6, 4)
    assert greedy_soup(distinct, objective(bowl).scores, True) == greedy_soup(distinct, objective(bowl).scores, False)


def test_order_has_no_influence_where_scores_are_distinct():
    states = some_states(4, 5)
    expected = Greedy()(states, objective=objective(bumpy))["w"]
    for order in itertools.permutations(range(4)):
        found = Greedy()([states[i] for i in order], objective=objective(bumpy))["w"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_members_of_equal_score_keep_their_order():
    states = [{"w": torch.tensor([v])} for v in (3.0, -3.0)]
    assert greedy_soup(states, objective(lambda s: abs(float(s["w"]))).scores) == [0]
    assert greedy_soup(states[::-1], objective(lambda s: abs(float(s["w"]))).scores) == [0]


def test_it_costs_2k_minus_1_evaluations():
    calls = []
    greedy_soup(some_states(7, 6), objective(lambda s: calls.append(1) or bowl(s)).scores)
    assert len(calls) == 13


def test_a_trial_that_is_not_a_number_does_not_join():
    states = [{"w": torch.tensor([v])} for v in (1.0, 3.0)]
    score = objective(lambda s: math.nan if float(s["w"]) == 2.0 else float(s["w"]))
    assert greedy_soup(states, score.scores) == [1]


def test_a_member_whose_score_is_not_a_number_is_refused():
    states = [{"w": torch.tensor([v])} for v in (1.0, 2.0, 3.0)]
    with pytest.raises(ValueError, match="score of member 1 is NaN"):
        greedy_soup(states, objective(lambda s: math.nan if float(s["w"]) == 2.0 else 0.0).scores)


def test_it_needs_an_objective():
    with pytest.raises(ValueError, match="held-out"):
        Greedy()(some_states(2, 0))


@pytest.mark.parametrize("n_rows", [50, 300])
def test_a_member_that_is_not_finite_is_named_whatever_the_number_of_rows(n_rows):
    x = np.random.RandomState(0).normal(size=(n_rows, 4)).astype(np.float32)
    rows = Rows(x, (x[:, 0] > 0).astype(np.int64))
    runner = nets.Runner(NeuralNetClassifier(nn.Linear(4, 2), criterion=nn.CrossEntropyLoss), "classification")
    states = [nn.Linear(4, 2).state_dict() for _ in range(3)]
    states[1] = {name: t * math.nan for name, t in states[1].items()}
    score = nets.objective(runner, rows, rows, lambda p, _: float(p.mean()))
    with pytest.raises(ValueError, match="score of member 1 is NaN"):
        greedy_soup(states, score.scores)
