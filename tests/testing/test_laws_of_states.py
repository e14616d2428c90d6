"""Functions of several states keep their laws: by name, never by position, and with ties of all states only."""

import pytest
import torch

from skfusion.state import State
from skfusion.testing import _laws_states
from skfusion.testing import _problems as problems
from skfusion.testing._check import laws_in
from skfusion.testing._laws_states import FUNCTIONS, assert_alike, functions_of_states, tied

LAWS = laws_in(_laws_states)

laws = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)


@laws
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_keeps_the_law(name, law):
    law(FUNCTIONS[name])


def test_every_public_function_of_states_is_checked():
    assert {*functions_of_states()} == {name for name in FUNCTIONS if "." not in name}


def by_place(states: list[State]):
    pairs = zip(*(s.values() for s in states[:2]), strict=True)
    return sum(float((a - b).abs().sum()) for a, b in pairs if a.shape == b.shape)


def by_memory(states: list[State]):
    return len({t.data_ptr() for t in states[0].values()})


@pytest.mark.parametrize(("law", "broken"), [*zip(LAWS, (by_place, by_memory), strict=True)])
def test_a_broken_function_breaks_its_law(law, broken):
    with pytest.raises(AssertionError):
        law(broken)
    for other in LAWS:
        if other is not law:
            other(broken)


def test_results_are_compared_in_all_their_parts():
    states = problems.states(2)
    assert_alike(states, [dict(s) for s in states], "copies")
    for found, expected in (
        (1.0, 1.1),
        ([1.0], [1.0, 2.0]),
        ({"a": 1.0}, {"b": 1.0}),
        (torch.ones(2), torch.ones(3)),
        (torch.ones(2), torch.zeros(2)),
        ("a", "b"),
        (problems.pool(), problems.pool()[::-1]),
    ):
        with pytest.raises(AssertionError, match="this"):
            assert_alike(found, expected, "this")
    assert tied(states)[0]["0.bias"] is tied(states)[0]["1.weight"]
