"""A member is a value: a network's state or a fitted estimator, read when it is first asked for."""

import pickle

import pytest
import torch
from sklearn.linear_model import Ridge

from skfusion.pool import Deferred, Member, ModelPool


def test_what_is_deferred_is_read_once_and_when_it_is_asked_for():
    calls = []
    member = Member("a", Deferred(lambda: calls.append(1) or {"w": torch.ones(2)}), score=0.5)
    other = member.replace(score=0.7)
    assert not calls
    assert member.is_network
    assert "a" in repr(member)
    assert not calls
    assert member.state is member.state
    assert len(calls) == 1
    assert (other.score, other.state["w"].tolist()) == (0.7, [1.0, 1.0])


def test_an_estimator_is_a_member_that_has_no_weights():
    ridge = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
    pool = ModelPool([Member("ridge", estimator=ridge, score=0.5)])
    assert not pool[0].is_network
    assert pool[0].estimator is ridge
    with pytest.raises(TypeError, match="'ridge' is a fitted Ridge, which has no weights"):
        _ = pool.states
    again = pickle.loads(pickle.dumps(pool))[0]
    assert again.estimator.predict([[1.0]]) == ridge.predict([[1.0]])
    assert "Ridge" in repr(pool[0])


@pytest.mark.parametrize("given", [{}, {"state": {}, "estimator": Ridge()}], ids=["neither", "both"])
def test_a_member_is_one_thing(given):
    with pytest.raises(ValueError, match="'a' needs the state of a network, or a fitted estimator"):
        Member("a", **given)


def test_a_member_is_immutable():
    member = Member("a", {"w": torch.ones(2)})
    with pytest.raises(AttributeError, match=r"replace\(score=...\)"):
        member.score = 1.0
    with pytest.raises(AttributeError, match="'state' cannot be deleted"):
        del member.state
