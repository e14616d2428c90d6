"""Members that a trial chooses."""

import pytest
from optuna.trial import FixedTrial

from skfusion.pool import Member, ModelPool
from skfusion.select import Pick
from skfusion.tuning import suggest_members

POOL = ModelPool([Member(name, {}) for name in "abcd"])


def chosen(taken, names="abcd", **options):
    trial = FixedTrial({f"member-{name}": name in taken for name in names})
    return suggest_members(trial, list(names), **options)


@pytest.mark.parametrize("taken", ["a", "bd", "abcd"])
def test_members_that_are_taken_are_picked(taken):
    found = chosen(taken)
    assert isinstance(found, Pick)
    assert found(POOL).names == [*taken]


@pytest.mark.parametrize(("taken", "n", "names"), [("", 1, "a"), ("", 3, "abc"), ("d", 2, "ad"), ("bd", 2, "bd")])
def test_the_first_ones_join_where_too_few_are_taken(taken, n, names):
    assert chosen(taken, min_members=n)(POOL).names == [*names]


def test_positions_are_names_too():
    trial = FixedTrial({"member-0": False, "member-1": True, "member-3": True})
    assert suggest_members(trial, [0, 1, 3])(POOL).names == ["b", "d"]


@pytest.mark.parametrize("n", [0, 5])
def test_the_number_of_members_is_checked(n):
    with pytest.raises(ValueError, match=f"min_members must be from 1 to the number of members, 4; got {n}"):
        chosen("a", min_members=n)
