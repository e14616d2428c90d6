"""Members that are named."""

import numpy as np
import pytest

from skfusion.pool import Member, ModelPool
from skfusion.select import Pick

POOL = ModelPool([Member(name, {}) for name in "abcd"])


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["b"], "b"),
        (["d", "a"], "ad"),
        ((2, 0), "ac"),
        ([-1, "a"], "ad"),
        (np.array([1, 3]), "bd"),
        ([*"abcd"], "abcd"),
    ],
)
def test_members_come_in_the_pools_order(members, names):
    assert Pick(members)(POOL).names == [*names]


@pytest.mark.parametrize("members", [[], "a", 2, ()])
def test_members_must_be_a_list(members):
    with pytest.raises(ValueError, match="list of at least one name or position"):
        Pick(members)(POOL)


@pytest.mark.parametrize("members", [["a", "a"], ["a", 0], [3, -1]])
def test_a_member_cannot_be_named_twice(members):
    with pytest.raises(ValueError, match="more than once"):
        Pick(members)(POOL)


def test_unknown_members_are_named():
    with pytest.raises(ValueError, match=r"names 'e', and the pool has the members \['a', 'b', 'c', 'd'\]"):
        Pick(["a", "e"])(POOL)
    for place in (4, -5):
        with pytest.raises(ValueError, match=f"position {place} of a pool of 4"):
            Pick([place])(POOL)


def test_the_names_of_a_pool_are_listed_once_however_many_are_picked(monkeypatch):
    listed, names = [], ModelPool.names
    monkeypatch.setattr(ModelPool, "names", property(lambda pool: listed.append(1) or names.fget(pool)))
    pool = ModelPool([Member(f"m{k}", {}) for k in range(50)])
    for n in (5, 50):
        listed.clear()
        assert len(Pick([f"m{k}" for k in range(n)])(pool)) == n
        assert len(listed) <= 1
