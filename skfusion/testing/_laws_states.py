"""Laws of components that are given states: what becomes of their names and ties, and of what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._component import Component
from skfusion.align import Aligner
from skfusion.connect import Connector
from skfusion.merge import Merger
from skfusion.objective import Batch
from skfusion.repair import Repairer
from skfusion.select import Selector
from skfusion.state import State, is_statistic
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_refused, problem_of

OF_STATES = (Aligner, Connector, Merger, Repairer, Selector)


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


def assert_alike(result: Any, expected: Any, what: str, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Raise where two results differ by more than rounding, whatever the order of their names."""
    if isinstance(expected, Tensor | np.ndarray | float):
        a, b = (np.asarray(x.detach().double() if isinstance(x, Tensor) else x) for x in (result, expected))
        assert a.shape == b.shape, f"{what}: a shape is {a.shape} instead of {b.shape}."
        numeric = b.dtype.kind in "biufc"
        same = np.allclose(a, b, rtol, atol, equal_nan=True) if numeric else (a == b).all()
        assert same, f"{what}: {a} instead of {b}."
    elif isinstance(expected, Mapping):
        assert set(result) == set(expected), f"{what}: the names are {sorted(result)}."
        for key, value in expected.items():
            assert_alike(result[key], value, f"{what}, {key}", rtol, atol)
    elif isinstance(expected, list | tuple):
        assert len(result) == len(expected), f"{what}: {len(result)} results instead of {len(expected)}."
        for one, other in zip(result, expected, strict=True):
            assert_alike(one, other, what, rtol, atol)
    elif hasattr(expected, "members"):
        assert_alike([vars(m) for m in result], [vars(m) for m in expected], what, rtol, atol)
    elif hasattr(expected, "__dict__"):
        assert_alike(vars(result), vars(expected), what, rtol, atol)
    else:
        assert repr(result) == repr(expected), f"{what}: {result!r} instead of {expected!r}."


def check_names_may_stand_in_any_order(component: Component) -> None:
    """Tensors are matched by name: states whose names stand in another order, as in files, give the same result."""
    if isinstance(component, OF_STATES):
        result, expected = (problem_of(component, change)[1]() for change in (turned, list))
        assert_alike(result, expected, "With the names of all states but the first in another order")


def check_ties_of_one_state_are_no_ties(component: Component) -> None:
    """Names that are tied in one state, and not in all, count as they do where they are tied in none."""
    if isinstance(component, OF_STATES):
        result, expected = (problem_of(component, change)[1]() for change in (tied, untied))
        assert_alike(result, expected, "Where one state ties two names")


def check_unlike_architectures_are_refused(component: Component) -> None:
    """States of other shapes or other tensors are refused by a message that names tensor and shapes."""
    if not isinstance(component, (Connector, Merger)):
        return
    wider = {"0.weight": torch.zeros(7, 3)}
    assert_refused(problem_of(component, lambda s: [s[0], s[1] | wider, *s[2:]])[1], "0.weight", "(5, 3)", "(7, 3)")

    def fewer(states: Sequence[State]) -> list[State]:
        return [states[0], {k: v for k, v in states[1].items() if k != "3.bias"}, *states[2:]]

    assert_refused(problem_of(component, fewer)[1], "3.bias")


def check_diverged_states_are_refused(component: Component) -> None:
    """A state with NaN or infinity is refused by a message that names its tensor, and which state it is."""
    if not isinstance(component, (Connector, Merger)):
        return
    place = "second" if isinstance(component, Connector) else "member 1"
    for value in (float("nan"), float("inf")):
        bad = {"3.bias": torch.tensor([0.0, value])}
        call = problem_of(component, lambda s, bad=bad: [s[0], s[1] | bad, *s[2:]])[1]
        assert_refused(call, "3.bias", place)


def check_module_is_left_as_it_was(component: Component) -> None:
    """Training modes, hooks and tensors of the objective's module are as before, also when module or data raise."""
    if not isinstance(component, (Connector, Repairer)):
        return
    data = problems.to_train() if isinstance(component, Connector) else problems.objective()

    def look() -> Any:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in data.module.modules()]
        return hooks, problems.snapshot(data.module)

    data.module.train()
    data.module[1].eval()
    before = look()
    bad = [*data.batches(), Batch(torch.zeros(2, 99), torch.zeros(2, dtype=torch.long))]
    for batches in (list(data.batches()), bad):
        with suppress(RuntimeError):
            problem_of(component, data=problems.fed(data, batches))[1]()
        assert look() == before, "Training modes, hooks or tensors of the module have changed."
