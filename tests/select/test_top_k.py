"""The K best members."""

import pytest
import torch
from torch import nn

from skfusion.objective import ModuleObjective
from skfusion.pool import Member, ModelPool
from skfusion.select import TopK

VALUES = {"a": 0.3, "b": 0.9, "c": 0.1, "d": 0.9, "e": 0.5}


def pool(scored=False):
    return ModelPool(
        [Member(n, {"w": torch.tensor([v])}, score=v if scored else float("nan")) for n, v in VALUES.items()]
    )


def objective(calls=None):
    def score(state):
        if calls is not None:
            calls.append(1)
        return float(state["w"])

    return ModuleObjective(nn.Identity(), lambda: [], lambda state: 0.0, score)


@pytest.mark.parametrize(("k", "names"), [(1, "b"), (2, "bd"), (3, "bde"), (4, "abde"), (5, "abcde"), (9, "abcde")])
def test_the_best_come_in_pool_order(k, names):
    found = TopK(k)(pool(), objective())
    assert found.names == [*names]
    assert [m.score for m in found] == pytest.approx([VALUES[n] for n in names])


def test_ties_keep_the_pools_order():
    assert TopK(1)(pool(scored=True)).names == ["b"]
    assert TopK(1)(pool(scored=True)[::-1]).names == ["d"]


def test_scores_of_the_members_are_used_without_an_objective():
    assert TopK(2)(pool(scored=True)).names == ["b", "d"]


def test_an_objective_wins_over_the_members_own_scores():
    lying = ModelPool([m.replace(score=1 - VALUES[m.name]) for m in pool()])
    assert TopK(2)(lying, objective()).names == ["b", "d"]


def test_one_evaluation_a_member():
    calls = []
    TopK(1)(pool(), objective(calls))
    assert len(calls) == 5


def test_unknown_scores_are_named():
    mixed = ModelPool([m if m.name == "b" else m.replace(score=1.0) for m in pool()])
    with pytest.warns(UserWarning, match=r"score of the members \['b'\] is NaN, so that TopK ranks them last"):
        assert "b" not in TopK(4)(mixed).names
    unknown = ModelPool([m.replace(score=float("nan")) for m in pool()])
    with pytest.raises(ValueError, match=r"members \['a', .*\] have none"):
        TopK()(unknown)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k):
    with pytest.raises(ValueError, match=f"k={k}"):
        TopK(k)(pool(), objective())


def test_the_pool_is_not_changed():
    given = pool()
    TopK(2)(given, objective())
    assert given.names == [*"abcde"]
    assert all(m.score != m.score for m in given)
