"""Functions of several states keep their laws: by name, never by position, and with ties of all states only."""

import inspect
import re

import pytest
import torch

from skfusion import align, connect, landscape, merge, state, tangent
from skfusion.estimators.support import in_loss_units
from skfusion.geometry import differences, geometry, inner
from skfusion.state import State
from skfusion.testing import _problems as problems
from skfusion.testing._check import modules
from skfusion.testing._laws_states import assert_alike, tied, turned, untied

ABOVE = ("checkpoints", "evaluate", "nets", "plots", "pool")
"""Packages of files, nets, pools and displays, whose functions call those of lower ones."""


def chain(states):
    return connect.Path(states[:3], connect.PolyChain())


FUNCTIONS = {
    "barrier": lambda s: landscape.barrier(s[0], s[1], problems.to_train(), 5),
    "best_point": lambda s: chain(s).weights(landscape.best_point(chain(s), problems.to_train(), 3).place),
    "check_compatible": lambda s: state.check_compatible(s),
    "check_ends": lambda s: connect.check_ends(connect.Line(), s[:2]),
    "difference": lambda s: state.difference(s[0], s[1]),
    "differences": lambda s: sum(rows @ rows.T for rows in differences(s)),
    "distance": lambda s: state.distance(s[0], s[1]),
    "flatten": lambda s: [state.flatten(one, s) for one in s],
    "geometry": lambda s: geometry(s[:3], s[3]),
    "in_loss_units": lambda s: list(in_loss_units(chain(s).replace(history=[1.0]), 2.0).controls),
    "inner": lambda s: inner(s),
    "linearised": lambda s: tangent.linearised(s[0], s[1]),
    "loss_along": lambda s: landscape.loss_along(chain(s), problems.to_train(), 5),
    "loss_at": lambda s: landscape.loss_at(chain(s), [0.0, 0.3], problems.to_train()).loss,
    "map_tensors": lambda s: state.map_tensors(lambda a, b: a * b, s[0], s[1]),
    "merge_shared": lambda s: merge.merge_shared(merge.TIES(), s[:3], s[3]),
    "numbers_of": lambda s: dict(state.numbers_of(s)),
    "owners": lambda s: state.owners(s),
    "points_at": lambda s: [point.state for point in landscape.points_at(chain(s), [0.0, 0.3], problems.to_train())],
    "rebasin": lambda s: align.rebasin(s[0], s[1], problems.module(), problems.inputs()),
    "robustness_at": lambda s: landscape.robustness_at(chain(s), [0.3], problems.to_train(), []).worst_loss,
    "segment": lambda s: landscape.segment(s[0], s[1]).at(0.3),
    "shared_names": lambda s: sorted(merge.shared_names(s)),
    "stack": lambda s: state.stack(s),
    "zip_heads": lambda s: [*merge.zip_heads(merge.ZipIt(), s[:2], problems.to_train())[:1]],
    "weighted_sum": lambda s: state.weighted_sum(s, [0.1, 0.2, 0.3, 0.4]),
    "weighted_sums": lambda s: state.weighted_sums(s)([0.1, 0.2, 0.3, 0.4]),
    # methods
    "Plane.coordinates": lambda s: landscape.Plane.through(*s[:3]).coordinates(s),
    "RunningSum.plus": lambda s: state.RunningSum(s[0]).plus(s[1]).mean(),
    "Path.length": lambda s: chain(s).length(),
}
"""How each public function of several states is called with four states, the last of which is the base."""


def functions_of_states():
    """Yield the names of the public functions of the package that take several states, known by their annotations."""
    for module in modules():
        parts = module.__name__.split(".")[1:]
        if not any(part.startswith("_") or part in ABOVE for part in parts):
            for name in getattr(module, "__all__", vars(module)):
                thing = getattr(module, name)  # some are imported when they are asked for
                if inspect.isfunction(thing) and not name.startswith("_") and takes_states(thing):
                    yield name


def takes_states(function):
    if not function.__module__.startswith("skfusion."):
        return False
    parameters = inspect.signature(function).parameters.values()
    texts = [f"Sequence[{p.annotation}]" if p.kind is p.VAR_POSITIONAL else str(p.annotation) for p in parameters]
    many = [t for t in texts if re.search(r"\b(Sequence\[State\]|Subspace|Path)", t)]
    return bool(many) or sum(bool(re.match(r"State\b", t)) for t in texts) > 1


def check_function_does_not_depend_on_the_order_of_names(function):
    """A network is the same whatever the order of its tensors: files are in alphabetical order, modules are not."""
    states = problems.states(4)
    assert_alike(function(turned(states)), function(states), "With names in another order")


def check_function_does_not_depend_on_ties_of_one_state(function):
    """Names that are tied in one state, and not in all, count as they do where they are tied in none."""
    states = problems.states(4)
    assert_alike(function(tied(states)), function(untied(states)), "Where one state ties two names")


LAWS = [check_function_does_not_depend_on_the_order_of_names, check_function_does_not_depend_on_ties_of_one_state]

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
