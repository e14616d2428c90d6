"""Laws of selectors."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.dummy import DummyClassifier

from skfusion.pool import Member, ModelPool
from skfusion.select import Selector
from skfusion.testing import _problems as problems


def selected(component: Selector, pool: ModelPool) -> ModelPool:
    """Return the chosen members."""
    return clone(component)(pool, problems.objective())


def check_selection_is_a_part_of_the_pool_in_its_order(component: Selector) -> None:
    """The chosen members are members of the pool, in the pool's order, with their states; base and classes stay."""
    pool = problems.pool().replace(classes=["no", "yes"])
    for offered in (pool, pool[::-1]):
        chosen = selected(component, offered)
        assert isinstance(chosen, ModelPool), f"The result is a {type(chosen).__name__}."
        assert set(chosen.names) <= set(offered.names), f"{chosen.names} are not all members of {offered.names}."
        kept = [name for name in offered.names if name in chosen.names]
        assert chosen.names == kept, f"The members {chosen.names} are not in the pool's order {kept}."
        for member in chosen:
            assert member.state is offered[member.name].state, f"The state of member {member.name!r} is another one."
        assert chosen.base is offered.base, "The pool's base is lost."
        assert list(chosen.classes) == ["no", "yes"], "The pool's classes are lost."


def check_selection_is_never_empty(component: Selector) -> None:
    """Of a pool of one member, that member is chosen."""
    pool = problems.pool()[:1]
    try:
        names = selected(component, pool).names
    except ValueError as error:
        raise AssertionError(f"A pool of one member is refused: {error}") from error
    assert names == pool.names, "The only member is not chosen."


def check_reported_score_is_the_score_used(component: Selector) -> None:
    """Members carry their score on the objective, whatever score they came with."""
    pool, data = problems.pool(), problems.objective()
    pool = pool.replace([m.replace(score=99.0 - i) for i, m in enumerate(pool)])
    for member in selected(component, pool):
        expected = data.score(member.state)
        assert member.score == expected, f"Member {member.name!r} reports {member.score} and scores {expected}."


def mixed_pool() -> ModelPool:
    """Return a pool of two networks and two estimators, which have scores."""
    estimators = [Member(name, estimator=_says(k)) for k, name in enumerate("ef")]
    members = [estimators[0], *problems.pool()[:2], estimators[1]]
    return ModelPool([m.replace(score=0.5 + 0.1 * k) for k, m in enumerate(members)])


def _says(label: int) -> Any:
    """Return a fitted classifier that predicts one label."""
    return DummyClassifier(strategy="constant", constant=label).fit([[0.0], [0.0]], [0, 1])


def check_estimators_are_chosen_by_their_scores(component: Selector) -> None:
    """Members that have scores and no weights are chosen as they are, in the pool's order."""
    pool = mixed_pool()
    chosen = clone(component)(pool)
    kept = [name for name in pool.names if name in chosen.names]
    assert kept, f"No member of {pool.names} is chosen."
    assert chosen.names == kept, f"The members {chosen.names} are not in the pool's order {kept}."
    for member in chosen:
        same = member.is_network == pool[member.name].is_network
        assert same, f"The member {member.name!r} is another one."
        if not member.is_network:
            assert member.estimator is pool[member.name].estimator, f"The estimator {member.name!r} is another one."
