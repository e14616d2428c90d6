"""Laws of functions of several states: tensors are matched by name, and ties of one state do not tie another."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from skfusion import align, connect, landscape, merge, state, tangent
from skfusion.geometry import differences, geometry, inner
from skfusion.state import State, is_statistic
from skfusion.testing import _problems as problems
from skfusion.testing._discover import modules

_ABOVE = ("checkpoints", "evaluate", "nets", "plots", "pool")
"""Packages of files, nets, pools and displays, whose functions call those of lower ones."""


def turned(states: Sequence[State]) -> list[State]:
    """Return the states, all but the first with their names in reversed order, as files may have them."""
    first, *others = states
    return [first, *(dict(reversed(other.items())) for other in others)]


def tied(states: Sequence[State]) -> list[State]:
    """Return the states, of which the first has one tensor under two names where the others have two tensors."""
    one, other = _twins(states[0])
    return [{**states[0], other: states[0][one]}, *states[1:]]


def untied(states: Sequence[State]) -> list[State]:
    """Return the states of :func:`tied`, with two tensors of equal numbers instead of the tied one."""
    one, other = _twins(states[0])
    return [{**states[0], other: states[0][one].clone()}, *states[1:]]


def _twins(first: State) -> tuple[str, str]:
    """Return two names of floating-point tensors of one shape."""
    names = [k for k, t in first.items() if t.is_floating_point() and not is_statistic(k)]
    return next((a, b) for i, a in enumerate(names) for b in names[i + 1 :] if first[a].shape == first[b].shape)


def assert_alike(result: Any, expected: Any, what: str) -> None:
    """Raise where two results differ by more than rounding, whatever the order of their names."""
    if isinstance(expected, Tensor | np.ndarray | float):
        a, b = (np.asarray(x.detach().double() if isinstance(x, Tensor) else x) for x in (result, expected))
        assert a.shape == b.shape, f"{what}: a shape is {a.shape} instead of {b.shape}."
        numeric = b.dtype.kind in "biufc"
        same = np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) if numeric else (a == b).all()
        assert same, f"{what}: {a} instead of {b}."
    elif isinstance(expected, Mapping):
        assert set(result) == set(expected), f"{what}: the names are {sorted(result)}."
        for key, value in expected.items():
            assert_alike(result[key], value, what)
    elif isinstance(expected, list | tuple):
        assert len(result) == len(expected), f"{what}: {len(result)} results instead of {len(expected)}."
        for one, other in zip(result, expected, strict=True):
            assert_alike(one, other, what)
    elif hasattr(expected, "members"):
        assert_alike([vars(m) for m in result], [vars(m) for m in expected], what)
    elif hasattr(expected, "__dict__"):
        assert_alike(vars(result), vars(expected), what)
    else:
        assert repr(result) == repr(expected), f"{what}: {result!r} instead of {expected!r}."


Function = Callable[[list[State]], Any]
"""A call with four states, the last of which is the base."""

FUNCTIONS: dict[str, Function] = {
    "barrier": lambda s: landscape.barrier(s[0], s[1], problems.to_train(), 5),
    "check_compatible": lambda s: state.check_compatible(s),
    "check_ends": lambda s: connect.check_ends(connect.Line(), s[:2]),
    "difference": lambda s: state.difference(s[0], s[1]),
    "differences": lambda s: sum(rows @ rows.T for rows in differences(s)),
    "distance": lambda s: state.distance(s[0], s[1]),
    "flatten": lambda s: [state.flatten(one, s) for one in s],
    "geometry": lambda s: geometry(s[:3], s[3]),
    "inner": lambda s: inner(s),
    "linearised": lambda s: tangent.linearised(s[0], s[1]),
    "loss_along": lambda s: landscape.loss_along(connect.Path(s[:3], connect.PolyChain()), problems.to_train(), 5),
    "map_tensors": lambda s: state.map_tensors(lambda a, b: a * b, s[0], s[1]),
    "merge_shared": lambda s: merge.merge_shared(merge.TIES(), s[:3], s[3]),
    "numbers_of": lambda s: dict(state.numbers_of(s)),
    "owners": lambda s: state.owners(s),
    "rebasin": lambda s: align.rebasin(s[0], s[1], problems.module(), problems.inputs()),
    "segment": lambda s: landscape.segment(s[0], s[1]).at(0.3),
    "shared_names": lambda s: sorted(merge.shared_names(s)),
    "stack": lambda s: state.stack(s),
    "weighted_sum": lambda s: state.weighted_sum(s, [0.1, 0.2, 0.3, 0.4]),
    # methods
    "Plane.coordinates": lambda s: landscape.Plane.through(*s[:3]).coordinates(s),
    "RunningSum.plus": lambda s: state.RunningSum(s[0]).plus(s[1]).mean(),
    "Path.length": lambda s: connect.Path(s[:3], connect.PolyChain()).length(),
}
"""How each public function of several states is called."""


def functions_of_states() -> Iterator[str]:
    """Yield the names of the public functions of the package that take several states, known by their annotations."""
    for module in modules():
        parts = module.__name__.split(".")[1:]
        if not any(part.startswith("_") or part in _ABOVE for part in parts):
            for name in getattr(module, "__all__", vars(module)):
                thing = vars(module)[name]
                if inspect.isfunction(thing) and not name.startswith("_") and _takes_states(thing):
                    yield name


def _takes_states(function: Callable[..., Any]) -> bool:
    if not function.__module__.startswith("skfusion."):
        return False
    parameters = inspect.signature(function).parameters.values()
    texts = [f"Sequence[{p.annotation}]" if p.kind is p.VAR_POSITIONAL else str(p.annotation) for p in parameters]
    many = [t for t in texts if re.search(r"\b(Sequence\[State\]|Subspace|Path)", t)]
    return bool(many) or sum(bool(re.match(r"State\b", t)) for t in texts) > 1


def check_function_does_not_depend_on_the_order_of_names(function: Function) -> None:
    """A network is the same whatever the order of its tensors: files are in alphabetical order, modules are not."""
    states = problems.states(4)
    assert_alike(function(turned(states)), function(states), "With names in another order")


def check_function_does_not_depend_on_ties_of_one_state(function: Function) -> None:
    """Names that are tied in one state, and not in all, count as they do where they are tied in none."""
    states = problems.states(4)
    assert_alike(function(tied(states)), function(untied(states)), "Where one state ties two names")
