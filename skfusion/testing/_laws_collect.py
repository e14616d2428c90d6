"""Laws of collectors."""

from __future__ import annotations

import contextlib

import numpy as np
from sklearn.base import clone

from skfusion import nets
from skfusion.collect import Collector
from skfusion.pool import ModelPool
from skfusion.testing import _problems as problems


def collected(component: Collector, seed: int = 0, n_jobs: int | None = None) -> ModelPool:
    """Return the members of a small net on 24 rows."""
    rows = problems.rows()
    return clone(component)(problems.net(), rows.X, rows.y, np.random.RandomState(seed), n_jobs=n_jobs)


def check_collection_is_not_empty(component: Collector) -> None:
    """There is a pool with at least one member."""
    pool = collected(component)
    assert isinstance(pool, ModelPool), f"The result is a {type(pool).__name__}."
    assert len(pool) >= 1, "The pool is empty."


def check_member_names_are_unique(component: Collector) -> None:
    """Members have names of their own, which do not depend on the seed."""
    names = collected(component).names
    assert len({*names}) == len(names), f"Names occur more than once: {names}."
    assert collected(component, seed=1).names == names, "Names depend on the seed."


def check_other_seeds_give_other_members(component: Collector) -> None:
    """Another rng gives other states."""
    first, second = (collected(component, seed).states for seed in (0, 1))
    assert problems.snapshot(first) != problems.snapshot(second), "The rng has no influence."


def check_members_fit_the_net(component: Collector) -> None:
    """Every state fits the architecture of the net that its member carries, and is finite."""
    pool, rows = collected(component), problems.rows()
    for member in pool:
        try:
            nets.Runner(member.net, "classification", rows).place(member.state)
        except ValueError as error:
            raise AssertionError(f"Member {member.name!r} does not fit its net: {error}") from error
        for key, value in member.state.items():
            assert value.isfinite().all(), f"Tensor {key!r} of member {member.name!r} is not finite."


def check_net_is_not_fitted_in_place(component: Collector) -> None:
    """The net that is given is neither initialised nor changed, also when the training fails."""
    rows = problems.rows()
    for labels in (rows.y, rows.y[:-1]):
        net = problems.net()
        before = problems.snapshot(net)
        with contextlib.suppress(ValueError, IndexError):
            clone(component)(net, rows.X, labels, np.random.RandomState(0))
        assert not getattr(net, "initialized_", False), "The net is initialised in place."
        assert problems.snapshot(net) == before, "The net's parameters are changed."


def check_members_do_not_depend_on_n_jobs(component: Collector) -> None:
    """Two processes give the same members, bit for bit, as one."""
    one, two = (collected(component, n_jobs=n) for n in (1, 2))
    assert problems.snapshot(one) == problems.snapshot(two), "Members depend on n_jobs."


def check_training_rows_are_recorded(component: Collector) -> None:
    """Every member holds the hashes of the rows that it was trained on, each once."""
    keys = problems.rows().keys
    for member in collected(component):
        assert len(() if member.rows is None else member.rows), f"Member {member.name!r} records no training rows."
        assert np.isin(member.rows, keys).all(), f"Member {member.name!r} records rows that are not in the data."
        assert len(np.unique(member.rows)) == len(member.rows), f"Member {member.name!r} records rows twice."


LAWS = [
    check_collection_is_not_empty,
    check_member_names_are_unique,
    check_other_seeds_give_other_members,
    check_members_fit_the_net,
    check_net_is_not_fitted_in_place,
    check_members_do_not_depend_on_n_jobs,
    check_training_rows_are_recorded,
]
