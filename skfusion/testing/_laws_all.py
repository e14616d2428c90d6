"""Laws of all components, and what laws of several families ask: problems, refusals, results of one form."""

from __future__ import annotations

import inspect
import pickle
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone

from skfusion._component import Component
from skfusion.align import Aligner
from skfusion.average import Average
from skfusion.collect import Collector
from skfusion.combine import Combiner
from skfusion.connect import Connector
from skfusion.merge import Merger, ServerOptimizer
from skfusion.objective import Objective
from skfusion.repair import Repairer
from skfusion.reuse import MixtureMMD, Reuser, Search
from skfusion.select import Selector
from skfusion.state import State
from skfusion.testing import _problems as problems
from skfusion.testing import _reuse_problems as reuse_problems

FAMILIES = (
    *(Aligner, Average, Collector, Combiner, Connector, Merger, Repairer, Reuser, Search, Selector, ServerOptimizer),
)
TASKS = ("classification", "multilabel", "regression")


class _Holder(BaseEstimator):
    def __init__(self, part: Any = None):
        self.part = part


def problem_of(
    component: Component, change: Callable[[Sequence[State]], list[State]] = list, data: Objective | None = None
) -> tuple[list[Any], Callable[[], Any]]:
    """Return inputs for a component, whose states ``change`` has changed, and a function that calls it on them.

    ``data`` stands in the place of the usual objective of a connector or repairer.
    """
    component = clone(component)
    if isinstance(component, Merger):
        *states, base = change([*problems.states(), problems.base()])
        data = problems.objective()
        return [states, base, data], lambda: component(states, base, data)
    if isinstance(component, Aligner):
        states, symmetry, data = problems.networks(3)
        a, b, c = change(states)
        return [a, b, c, symmetry, data], lambda: [
            component(b, a, symmetry, data),
            component.align_all([a, b, c], symmetry, data),
        ]
    if isinstance(component, Average):
        trajectory = change(problems.states(12))
        return [trajectory], lambda: [
            problems.average_of(component, trajectory),
            problems.streamed(component, trajectory).result(),
        ]
    if isinstance(component, Connector):
        states, data = change(problems.ends()), data or problems.to_train()
        return [states, data], lambda: component(states, data)
    if isinstance(component, Repairer):
        state, *members = change([problems.base(), *problems.states()])
        data = data or problems.objective()
        return [state, members, data], lambda: component(state, members, data)
    if isinstance(component, Selector):
        pool, data = problems.pool(), problems.objective()
        pool = pool.replace([m.replace(state=s) for m, s in zip(pool, change(pool.states), strict=True)])
        return [pool, data], lambda: component(pool, data)
    if isinstance(component, ServerOptimizer):
        start, *rounds = change(problems.states())
        return [start, rounds], lambda: reduce(component.begin({*start}), rounds, start)
    if isinstance(component, Collector):
        net, rows = problems.sized_net(), problems.rows()
        return [net, rows], lambda: component(net, rows, np.random.RandomState(0))
    if isinstance(component, Combiner):
        data = [(*problems.predictions(task), task) for task in tasks_of(component)]
        return data, lambda: [clone(component).fit(P, y, task)(P) for P, y, task in data]
    if isinstance(component, Search):
        return reuse_problems.numbers(), lambda: vars(reuse_problems.found(component))
    if isinstance(component, Reuser):
        return reuse_problems.numbers(), lambda: reuse_problems.reused(component, reuse_problems.found(MixtureMMD()))
    names = ", ".join(family.__name__ for family in FAMILIES)
    raise TypeError(f"{type(component).__name__} belongs to no family: derive it from one of {names}.")


def tasks_of(combiner: Combiner) -> list[str]:
    """Return the tasks that a combiner does not refuse."""
    tasks = []
    for task in TASKS:
        with suppress(ValueError):
            combiner.check(task)
            tasks.append(task)
    return tasks


def assert_refused(call: Callable[[], Any], *parts: str, error: type[Exception] = ValueError) -> None:
    """Raise unless a call raises an error, whose message names some parts."""
    try:
        call()
    except error as refusal:
        missing = [part for part in parts if part not in str(refusal)]
        if missing:
            raise AssertionError(f"The message does not name {missing[0]!r}: {refusal}") from refusal
    else:
        raise AssertionError(f"What should raise {error.__name__} is taken without a word.")


def assert_looks_like(result: State, expected: State) -> None:
    """Raise where names, shapes, dtypes or devices of two states differ."""
    assert {*result} == {*expected}, f"The result has the tensors {[*result]}."
    for key, value in expected.items():
        for what in ("shape", "dtype", "device"):
            now, then = getattr(result[key], what), getattr(value, what)
            assert now == then, f"The {what} of tensor {key!r} was {then} and is {now}."


def global_random_state() -> dict[str, Any]:
    """Return the states of the global random generators of torch, numpy and Python."""
    return {
        "torch": problems.snapshot(torch.get_rng_state()),
        "numpy": problems.snapshot(np.random.get_state()),  # noqa: NPY002
        "random": random.getstate(),
    }


def assert_random_state_is_untouched_by(call: Callable[[], Any]) -> None:
    """Raise where a call changes the state of a global random generator."""
    before = global_random_state()
    call()
    after = global_random_state()
    moved = [name for name in before if before[name] != after[name]]
    assert not moved, f"The global random state of {' and '.join(moved)} has changed: use the rng that the call gets."


def params_of(thing: Any) -> str:
    """Return the parameters as text."""
    return repr(sorted(thing.get_params(deep=False).items()))


def check_init_only_stores(component: Component) -> None:
    """Every parameter is kept under its name, as the same object, and nothing else is set."""
    params = component.get_params(deep=False)
    fresh = type(component)(**params)
    for name, value in params.items():
        assert getattr(fresh, name) is value, f"__init__ changes its parameter {name!r}; validate it in the call."
    extra = vars(fresh).keys() - params.keys()
    assert not extra, f"__init__ sets {sorted(extra)}, which are no parameters."


def check_clone_keeps_the_parameters(component: Component) -> None:
    """sklearn's ``clone`` gives another object of the same type and parameters."""
    copy = clone(component)
    assert copy is not component, "clone returns the object itself."
    assert type(copy) is type(component), f"The clone is a {type(copy).__name__}."
    assert params_of(copy) == params_of(component), "The clone has other parameters."


def check_set_params_takes_what_get_params_gives(component: Component) -> None:
    """``set_params(**get_params())`` changes nothing and returns the object; another estimator can reach in."""
    copy = clone(component)
    assert copy.set_params(**copy.get_params()) is copy, "set_params does not return the object."
    assert params_of(copy) == params_of(component), "set_params with the present parameters changes them."
    holder = _Holder(copy)
    for name, value in component.get_params(deep=False).items():
        assert f"part__{name}" in holder.get_params(), f"Parameter {name!r} is hidden inside another estimator."
        marker = object()
        holder.set_params(**{f"part__{name}": marker})
        assert copy.get_params(deep=False)[name] is marker, f"set_params(part__{name}=...) does not arrive."
        holder.set_params(**{f"part__{name}": value})


def check_unknown_parameters_are_refused(component: Component) -> None:
    """``set_params`` of an unknown name raises ``ValueError``."""
    assert_refused(lambda: clone(component).set_params(no_such_parameter=1))


def check_repr_names_what_differs_from_the_defaults(component: Component) -> None:
    """The representation is the call that makes the component, without its defaults."""
    shown = repr(component)
    assert shown.startswith(f"{type(component).__name__}("), f"repr starts with {shown[:20]!r}."
    for name, parameter in inspect.signature(type(component)).parameters.items():
        changed = repr(getattr(component, name)) != repr(parameter.default)
        assert (f"{name}=" in shown) == changed, f"repr must show {name!r} where it differs from its default: {shown}."


def check_pickle_keeps_the_parameters(component: Component) -> None:
    """A pickled component comes back with its parameters."""
    copy = pickle.loads(pickle.dumps(component))
    assert params_of(copy) == params_of(component), "Pickling changes the parameters."


def check_defaults_are_immutable(component: Component) -> None:
    """No default value is an object that one call could change for the next."""
    for name, parameter in inspect.signature(type(component)).parameters.items():
        mutable = isinstance(parameter.default, (list, dict, set, bytearray, np.ndarray, torch.Tensor))
        assert not mutable, f"The default of {name!r} is mutable: use None or a tuple."


def check_docstring_names_a_source_and_runs_an_example(component: Component) -> None:
    """The docstring of the class, and not only of its base, has References and a doctest."""
    text = type(component).__dict__.get("__doc__") or ""
    assert "References\n" in text, "The docstring has no References."
    assert ">>> " in text, "The docstring has no doctest."


def check_inputs_are_not_written(component: Component) -> None:
    """A call leaves states, data, nets and modes as they were."""
    inputs, call = problem_of(component)
    before = problems.snapshot(inputs)
    call()
    assert problems.snapshot(inputs) == before, "The call writes to its inputs."


def check_parameters_are_not_changed_by_a_call(component: Component) -> None:
    """A call leaves the parameters as they were."""
    before = params_of(component)
    problem = problem_of(component)[1]
    called = next(cell.cell_contents for cell in problem.__closure__ if isinstance(cell.cell_contents, Component))
    problem()
    assert params_of(called) == before, "The call changes a parameter."


def check_same_inputs_give_the_same_result(component: Component) -> None:
    """Two calls with equal inputs and equal rng give the same result, bit for bit."""
    first, second = (problems.snapshot(problem_of(component)[1]()) for _ in range(2))
    assert first == second, "Two calls with the same inputs give different results."


def check_global_random_state_is_untouched(component: Component) -> None:
    """The global generators of torch, numpy and Python are as they were after a call."""
    assert_random_state_is_untouched_by(problem_of(component)[1])
