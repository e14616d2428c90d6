"""Laws of collectors."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from skfusion import nets
from skfusion.collect import Collector
from skfusion.pool import ModelPool
from skfusion.testing import _problems as problems
from skfusion.testing._laws_states import assert_alike


def collected(component: Collector, seed: int = 0, n_jobs: int | None = None, **params: Any) -> ModelPool:
    """Return the members of a small net of some parameters on 24 rows."""
    rows = problems.rows()
    return clone(component)(problems.sized_net(**params), rows, np.random.RandomState(seed), n_jobs=n_jobs)


def check_collection_is_not_empty(component: Collector) -> None:
    """There is a pool with at least one member."""
    pool = collected(component)
    assert isinstance(pool, ModelPool), f"The result is a {type(pool).__name__}."
    assert len(pool) >= 1, "The pool is empty."


def check_member_names_are_unique(component: Collector) -> None:
    """Members have unique names, which do not depend on the seed."""
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
        net = problems.sized_net()
        before = problems.snapshot(net)
        with contextlib.suppress(ValueError, IndexError):
            clone(component)(net, replace(rows, y=labels), np.random.RandomState(0))
        assert not getattr(net, "initialized_", False), "The net is initialised in place."
        assert problems.snapshot(net) == before, "The net's parameters are changed."


def check_members_do_not_depend_on_n_jobs(component: Collector) -> None:
    """Two processes give the same members, bit for bit, as one."""
    one, two = (collected(component, n_jobs=n) for n in (1, 2))
    assert problems.snapshot(one) == problems.snapshot(two), "Members depend on n_jobs."


def check_training_rows_are_recorded(component: Collector) -> None:
    """Every member holds the marks of the rows that it was trained on, each once."""
    keys = problems.rows().marks
    for member in collected(component):
        assert len(() if member.rows is None else member.rows), f"Member {member.name!r} records no training rows."
        assert np.isin(member.rows, keys).all(), f"Member {member.name!r} records rows that are not in the data."
        assert len(np.unique(member.rows)) == len(member.rows), f"Member {member.name!r} records rows twice."


def check_vectorized_members_are_looped_members(component: Collector) -> None:
    """Members that are trained together are, to float tolerance, those that are trained one after another.

    The net has no BatchNorm: a bias ahead of it has no gradient but rounding errors, which Adam scales up.
    """
    if "vectorize" not in component.get_params(deep=False):
        return
    pools = [collected(clone(component).set_params(vectorize=choice), module__norm=None) for choice in (False, True)]
    looped, vectorized = ({m.name: (_numbers(dict(m.meta)), m.state) for m in pool} for pool in pools)
    assert [*looped] == [*vectorized], "Vectorized members have other names."
    assert_alike(vectorized, looped, "Vectorized members", rtol=0, atol=1e-5)


def _numbers(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what a member records, without times, as one flat dict."""
    rows = enumerate(meta.pop("history", []))
    return meta | {f"{name} of row {i}": value for i, row in rows for name, value in row.items() if name != "dur"}
