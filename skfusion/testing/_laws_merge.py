"""Laws of mergers."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import clone

from skfusion.merge import LinearMerger, Merger
from skfusion.objective import Objective, Wrapper, call, evaluating
from skfusion.state import Fused, State
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import assert_looks_like, assert_refused
from skfusion.testing._laws_states import assert_alike


def merged(component: Merger, states: list[State], dtype: torch.dtype = torch.float32) -> Fused:
    """Return the merge of states of :func:`skfusion.testing._problems.module`, with its module if it has one."""
    return whole(clone(component)(states, problems.base(dtype), problems.objective(dtype)))


def whole(result: State | Fused) -> Fused:
    """Return what a merger returns with its module, which is None where it is that of the members."""
    return result if isinstance(result, Fused) else Fused(result)


def assert_close(result: State, expected: State, what: str) -> None:
    """Raise where tensors differ by more than about 1e-6."""
    assert_alike(result, expected, what, rtol=1e-6, atol=2e-6)


def assert_same_network(component: Merger, result: Fused, expected: Fused, what: str) -> None:
    """Raise where two merged networks differ: in tensors, or in outputs if the merger may change widths or orders."""
    if component.takes_widths:
        assert_alike(*map(_outputs, (result, expected)), what, rtol=1e-5, atol=1e-5)
    else:
        assert_close(result.state, expected.state, what)


def _outputs(network: Fused) -> torch.Tensor:
    module = network.net or problems.module()
    with torch.no_grad(), evaluating(module):
        return call(module, network.state, problems.inputs())


def check_merge_keeps_names_shapes_dtypes_and_devices(component: Merger) -> None:
    """The result looks like the members, in single, double and half precision."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        states = problems.states(dtype=dtype)
        result, net = merged(component, states, dtype)
        assert [*result] == [*states[0]], f"The result has the tensors {[*result]}."
        assert_looks_like(result, states[0] if net is None else net.state_dict())
        assert [t.dtype for t in result.values()] == [t.dtype for t in states[0].values()], "A dtype has changed."


def check_merge_of_copies_is_the_copy(component: Merger) -> None:
    """Members that are all equal merge to that state."""
    state = problems.states(1)[0]
    copies = [{k: v.clone() for k, v in state.items()} for _ in range(3)]
    assert_same_network(
        component, merged(component, copies), Fused(state), "Three copies of a state do not merge to it"
    )


def check_one_member_gives_that_member(component: Merger) -> None:
    """A single member merges to itself."""
    state = problems.states(1)[0]
    assert_same_network(component, merged(component, [state]), Fused(state), "One member does not merge to itself")


def check_order_of_members_does_not_matter(component: Merger) -> None:
    """Another order of the members gives the same result, unless the merger depends on the order by design."""
    if component.order_dependent:
        return
    states = problems.states()
    expected = merged(component, states).state
    assert_close(merged(component, states[::-1]).state, expected, "Members in reversed order merge to something else")
    turned = merged(component, [*states[1:], states[0]]).state
    assert_close(turned, expected, "Members in turned order merge to something else")


def check_merge_commutes_with_a_permutation_of_units(component: Merger) -> None:
    """Hidden units that change places in all members change places in the result, and nothing else happens."""
    order = [3, 0, 4, 2, 1]
    states, base, data = problems.states(), problems.base(), problems.objective()
    expected = whole(clone(component)(states, base, data))
    if not component.takes_widths:  # which keep the function, and may keep other units or another order
        expected = Fused(problems.permuted(expected.state, order))
    moved = [problems.permuted(state, order) for state in states]
    result = whole(clone(component)(moved, problems.permuted(base, order), data))
    what = "Merging does not commute with a permutation of the hidden units"
    assert_same_network(component, result, expected, what)


def check_integer_buffers_are_kept(component: Merger) -> None:
    """An integer buffer becomes the elementwise maximum over the members that have a share in the result."""
    states = problems.states()
    result = merged(component, states).state
    key = "1.num_batches_tracked"
    if isinstance(component, LinearMerger):
        shares = clone(component).coefficients(states, problems.base(), problems.objective())
        expected = max(int(s[key]) for s, share in zip(states, shares, strict=True) if share != 0)
        assert int(result[key]) == expected, f"Tensor {key!r} is {int(result[key])} and should be {expected}."
    known = [int(s[key]) for s in states]
    assert int(result[key]) in known, f"Tensor {key!r} is {int(result[key])}, which is none of the members' {known}."


def check_tied_tensors_stay_tied(component: Merger) -> None:
    """Two names of one tensor in all members, and in the base, are two names of one tensor in the result."""
    states, base = problems.states(), problems.base()
    for state in (*states, base):
        state["1.bias"] = state["0.bias"]
    result = whole(clone(component)(states, base, problems.objective())).state
    assert result["1.bias"].data_ptr() == result["0.bias"].data_ptr(), "Tied tensors are apart in the result."


def check_result_shares_no_memory_with_the_members(component: Merger) -> None:
    """Writing to the result does not reach a member, the base or the module."""
    states, base, data = problems.states(), problems.base(), problems.objective()
    before = problems.snapshot([states, base, data])
    for value in whole(clone(component)(states, base, data)).state.values():
        value.detach().zero_()
    assert problems.snapshot([states, base, data]) == before, "The result is a view of an input."


class _Witness(Wrapper):
    """An objective that keeps what is reported, and where it is blind refuses to judge."""

    def __init__(self, objective: Objective, blind: bool = False):
        super().__init__(objective)
        self.reported: dict[str, Any] = {}
        self.blind = blind

    def judged(self, state: State) -> State:
        assert not self.blind, "The held-out rows are asked again."
        return super().judged(state)

    def report(self, name: str, value: Any) -> None:
        self.reported[name] = value


def check_what_was_chosen_is_repeated(component: Merger) -> None:
    """``repeated`` merges the same members to the same state, and asks no held-out rows."""
    if not component.is_repeatable:
        return
    states, base, seen = problems.states(), problems.base(), _Witness(problems.objective())
    expected = whole(clone(component)(states, base, seen))
    if isinstance(component, LinearMerger):
        seen.reported["weights"] = clone(component).coefficients(states, base, problems.objective())
    blind = _Witness(problems.objective(), blind=component.needs_labels)
    result = whole(clone(component).repeated(seen.reported)(states, base, blind))
    assert_close(result.state, expected.state, "What was chosen is not what is repeated")


def check_an_empty_pool_is_refused(component: Merger) -> None:
    """No members at all are refused with ``ValueError``."""
    assert_refused(lambda: merged(component, []), "empty")
