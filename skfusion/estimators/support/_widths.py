"""Members whose hidden layers have different numbers of units: which parts take them, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.nets import Runner
from skfusion.pool import Member, ModelPool
from skfusion.state import State, misfit
from skfusion.symmetry import sizes_of
from skfusion.tracing import symmetry_of
from skfusion.widths import resized, resized_as

ANY_WIDTH = "any_width"
"""In the ``meta`` of members whose widths a fusion has changed, so that no net that users have may have them."""


def net_of_member(net: Any, member: Member, task: Task, rows: Rows) -> Any:
    """Return the net that a member is a state of: on its columns, and in its widths where a fusion has made them.

    It is the net itself where that fits, or cannot be resized. Rows materialise lazy layers.
    """
    net = nets.with_columns_of(net, member.state)
    if not member.meta.get(ANY_WIDTH):
        return net
    module = Runner(net, task, rows).module
    if misfit(member.state, module) is None:
        return net
    try:
        return nets.with_module(net, resized_as(module, member.state))
    except (ValueError, RuntimeError):  # whoever runs it says which tensor differs
        return net


def differ_in_width(states: Sequence[State]) -> bool:
    """Return whether tensors of one name have different shapes."""
    first, *others = states
    return any(key in first and t.shape != first[key].shape for state in others for key, t in state.items())


def check_widths(pool: ModelPool, align: Any, merge: Any, parts: Sequence[Any]) -> bool:
    """Return whether members are of different widths, or raise ``ValueError`` where differences forbid a merge."""
    if not differ_in_width(pool.states):
        pool.check_compatible()
        return False
    if align is not None and merge.takes_widths and not align.takes_widths:
        raise ValueError(f"{align!r} aligns members of one width. Leave it out: {merge!r} matches units by itself.")
    pool.check_compatible(any_width=(merge if align is None else align).takes_widths)
    if choosing := [part for part in parts if part.needs_labels]:
        raise ValueError(
            f"{choosing[0]!r} judges members one beside the other, and those of the pool have different widths: leave "
            "it out, or give it members of one width."
        )
    return True


def runners_of(states: Sequence[State], runner: Runner, rows: Rows) -> list[Runner | None]:
    """Return what runs each state: the runner itself, or that of a net of other widths, which is read on some rows.

    It is None where the net cannot be resized.
    """
    others: dict[tuple[Any, ...], Runner | None] = {}
    out: list[Runner | None] = []
    for state in states:
        if misfit(state, runner.module) is None:
            out.append(runner)
            continue
        key = tuple(sorted((name, tuple(t.shape)) for name, t in state.items()))
        if key not in others:
            others[key] = _resized(runner, state, rows)
        out.append(others[key])
    return out


def _resized(runner: Runner, state: State, rows: Rows) -> Runner | None:
    example = next(runner.chunks(rows.take(np.arange(min(4, len(rows)))).X))
    symmetry = symmetry_of(runner.module, example)
    sizes = sizes_of(symmetry, state, "a member")
    try:
        module = resized(runner.module, example, sizes, symmetry=symmetry)
    except ValueError:
        return None
    return Runner(nets.with_module(runner.net, module), runner.task, rows)
