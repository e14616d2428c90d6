"""Greedy soups."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from reference.greedy_soup import greedy_soup as reference_soup
from reference.greedy_soup import plain_mean
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.merge import Greedy, OneMemberWarning
from skfusion.merge.soups._greedy import greedy_soup
from skfusion.objective import ModuleObjective


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


def objective(score, told=None):
    report = (lambda name, value: None) if told is None else told.__setitem__
    return ModuleObjective(nn.Identity(), lambda: [], lambda state: -score(state), score, report=report)


def points(*values):
    return [{"w": torch.tensor([float(v)])} for v in values]


def near(place):
    """A score with its best place at a number."""
    return lambda state: 0.0 - abs(float(state["w"]) - place)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("score", [bowl, bumpy, steps])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("order", "passes"), [("score", 1), ("given", 1), ("score", 4), ("given", 4)])
def test_it_matches_the_soup_that_is_recomputed_every_time(score, seed, strict, order, passes):
    states = some_states(8, seed)
    expected = reference_soup(states, score, strict, order, passes)
    assert greedy_soup(states, objective(score).scores, strict, order, passes) == expected
    found = Greedy(strict, order, passes)(states, objective=objective(score))
    torch.testing.assert_close(found["w"].double(), plain_mean([states[k] for k in expected])["w"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("score", [bowl, bumpy, steps])
@pytest.mark.parametrize("params", [{}, {"order": "given"}, {"n_passes": 5}, {"strict": True, "n_passes": 2}])
def test_it_is_never_worse_than_the_best_member(score, params):
    for seed in range(10):
        states = some_states(6, seed)
        soup = Greedy(**params)(states, objective=objective(score))
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


def test_the_given_order_begins_with_the_best_member_too():
    states, score = points(0, 5, 0.5), near(3)
    assert greedy_soup(states, objective(score).scores) == [1, 2]
    assert greedy_soup(states, objective(score).scores, order="given") == [1, 0]


def test_members_that_join_again_have_larger_shares():
    states, score = points(0, 3, 9), near(2)
    assert Greedy().coefficients(states, objective=objective(score)) == [0.5, 0.5, 0]
    found = Greedy(n_passes=9).coefficients(states, objective=objective(score))
    assert found == [1 / 3, 2 / 3, 0]
    assert Greedy(n_passes=9)(states, objective=objective(score))["w"].item() == 2


def test_joining_again_must_bring_a_gain():
    states = points(1, 1, 1)
    for passes in (1, 2, 7):
        assert Greedy(n_passes=passes).coefficients(states, objective=objective(near(1))) == [1 / 3] * 3


@pytest.mark.parametrize("params", [{}, {"order": "given"}, {"n_passes": 3}, {"strict": True}])
def test_what_it_found_is_reported(params):
    states, told, calls = some_states(7, 2), {}, []
    score = objective(lambda s: calls.append(1) or bumpy(s), told)
    shares = Greedy(**params).coefficients(states, objective=score)
    chosen = reference_soup(states, bumpy, **params)
    assert told["members"] == chosen
    assert shares == [chosen.count(k) / len(chosen) for k in range(7)]
    assert told["score"] == pytest.approx(bumpy(plain_mean([states[k] for k in chosen])), abs=1e-6)
    assert told["best_member_score"] == max(map(bumpy, states))
    assert told["n_evaluations"] == len(calls)
    assert ("explanation" in told) == (len({*chosen}) == 1)


# ---- soups of one member -----------------------------------------------------------------------------------------


def explained(states, score, **params):
    told = {}
    with pytest.warns(OneMemberWarning) as caught:
        shares = Greedy(**params).coefficients(states, objective=objective(score, told))
    assert sorted(shares) == [0.0] * (len(states) - 1) + [1.0]
    assert [str(w.message) for w in caught] == [told["explanation"]]
    return told["explanation"]


@pytest.mark.parametrize("params", [{}, {"order": "given"}, {"n_passes": 3}, {"strict": True}])
def test_barriers_between_members_are_told(params):
    def valleys(state):
        return max(near(-2)(state), near(2.5)(state) - 0.25, near(6)(state) - 0.5)

    text = explained(points(6, -2, 2.5), valleys, **params)
    assert "Greedy kept 1 of 3 members: the best one scores 0 on the held-out rows" in text
    assert "no mean of it with another one scores better; with member 0 (-0.5) it scores -0.75" in text
    assert "barriers lie between them" in text
    assert "FineTunes" in text
    assert "one basin" not in text


def test_members_that_are_too_weak_are_told():
    text = explained(points(1, 5, 9), near(0))
    assert "the best one scores -1 on the held-out rows" in text
    assert "with member 1 (-5) it scores -3" in text
    assert "no worse than the weaker of their two members, as in one basin: the others may be too weak" in text
    assert "neg_log_loss" in text
    assert "barriers" not in text


def test_a_mean_as_good_as_the_best_member_is_not_called_worse():
    text = explained(points(1, 3), lambda s: min(0.0, near(2)(s) + 1), strict=True)
    assert "no mean of it with another one scores better; with member 1 (0) it scores 0" in text
    assert "too like the best one" in text


def test_means_without_a_score_are_barriers():
    text = explained(points(1, 3, 7), lambda s: float(s["w"]) if float(s["w"]) in (1, 3, 7) else math.nan)
    assert "it scores nan" in text
    assert "barriers lie between them" in text
    text = explained(points(1, 3, 7), lambda s: math.nan if float(s["w"]) == 4 else float(s["w"]))
    assert "with member 1 (3) it scores 5" in text


def test_nothing_is_told_of_one_member_or_of_a_true_soup():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Greedy().coefficients(points(1), objective=objective(near(0)))
        Greedy().coefficients(points(-1, 1), objective=objective(near(0)))


def test_wrong_parameters_are_refused():
    with pytest.raises(ValueError, match="order must be 'score' or 'given'; got 'random'"):
        Greedy(order="random")(points(1, 2), objective=objective(near(0)))
    with pytest.raises(ValueError, match="n_passes must be at least 1; got 0"):
        Greedy(n_passes=0)(points(1, 2), objective=objective(near(0)))


def test_a_trial_that_is_not_a_number_does_not_join():
    states = [{"w": torch.tensor([v])} for v in (1.0, 3.0)]
    score = objective(lambda s: math.nan if float(s["w"]) == 2.0 else float(s["w"]))
    assert greedy_soup(states, score.scores) == [1]


def test_a_member_whose_score_is_not_a_number_ranks_last():
    states = [{"w": torch.tensor([v])} for v in (2.0, 1.0, 3.0)]
    score = objective(lambda s: math.nan if float(s["w"]) == 2.0 else -float(s["w"]))
    with pytest.warns(UserWarning, match=r"score of the members \[0\] of 3 is NaN, so they rank last"):
        assert greedy_soup(states, score.scores) == [1]


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
    score = nets.Judge(runner, rows, rows, lambda p, _: float(p.mean()))
    with pytest.warns(UserWarning, match=r"score of the members \[1\] of 3 is NaN"):
        assert 1 not in greedy_soup(states, score.scores)
