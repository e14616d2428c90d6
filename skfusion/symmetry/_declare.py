"""Symmetries that are declared by hand: a name for each axis of each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skfusion.state import State, owners
from skfusion.symmetry._group import Axes, Block, Group


def declared(axes: Mapping[str, Sequence[str | None]], state: State) -> tuple[list[Group], dict[str, Axes]]:
    """Return the groups that names of axes stand for, and the blocks of each tensor; names of a tied one share them."""
    first: dict[str, tuple[int, str, int]] = {}
    parts: dict[str, Axes] = {}
    for tensor, labels in _with_tied(axes, state).items():
        twin = owners([{name: state[name] for name in [*parts, tensor]}])[tensor]
        if twin != tensor:
            parts[tensor] = parts[twin]
            continue
        shape = tuple(state[tensor].shape)
        if isinstance(labels, str) or len(labels) != len(shape):
            raise ValueError(
                f"axes gives {labels!r} for tensor {tensor!r} of shape {shape}: give a name for each of its "
                f"{len(shape)} axes, and None for an axis that does not move."
            )
        blocks: list[tuple[Block, ...]] = []
        for axis, (label, n) in enumerate(zip(labels, shape, strict=True)):
            if label is None:
                blocks.append(())
                continue
            size, where, there = first.setdefault(label, (n, tensor, axis))
            if n != size:
                raise ValueError(
                    f"Group {label!r} has {size} units on axis {there} of {where!r} and {n} on axis {axis} of "
                    f"{tensor!r}, of shape {shape}."
                )
            blocks.append((Block((label,), np.arange(n)[None]),))
        parts[tensor] = tuple(blocks)
    return [Group(label, size) for label, (size, _, _) in first.items()], parts


def _with_tied(
    axes: Mapping[str, Sequence[str | None]], state: State
) -> dict[str, Sequence[str | None]]:
    """Return axes for all names of tensors that are tied in the state, of which some may be given."""
    if unknown := [name for name in axes if name not in state]:
        raise ValueError(f"axes names the tensor {unknown[0]!r}, which the state does not have; it has {[*state]}.")
    owner = owners([state])
    told: dict[str, str] = {}
    for name, labels in axes.items():
        twin = told.setdefault(owner[name], name)
        if [*labels] != [*axes[twin]]:
            raise ValueError(
                f"axes gives {labels!r} for {name!r} and {axes[twin]!r} for {twin!r}, which are one tied tensor: give "
                "both the same names."
            )
    more = {name: axes[told[first]] for name, first in owner.items() if first in told and name not in axes}
    return {**axes, **more}
