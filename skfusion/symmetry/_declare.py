"""Symmetries that are declared by hand: a group for each axis of each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skfusion.state import State, owners
from skfusion.symmetry._group import Axes, Block, Group


def declared(axes: Mapping[str, Sequence[str | None]], state: State) -> tuple[list[Group], dict[str, Axes]]:
    """Return the groups that the names of axes stand for, and the blocks of each tensor, by all of its names."""
    first: dict[str, tuple[int, str, int]] = {}
    parts: dict[str, Axes] = {}
    if unknown := [name for name in axes if name not in state]:
        raise ValueError(f"axes names the tensor {unknown[0]!r}, which the state does not have; it has {[*state]}.")
    owner, declared_as = owners([state]), dict[str, str]()
    for tensor, labels in axes.items():
        twin = declared_as.setdefault(owner[tensor], tensor)
        if twin != tensor:
            _check_same(tensor, twin, axes)
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
    # a tied tensor that is declared under one of its names moves under all of them
    parts |= {name: parts[declared_as[o]] for name, o in owner.items() if o in declared_as and name not in parts}
    return [Group(label, size) for label, (size, _, _) in first.items()], parts


def _check_same(tensor: str, twin: str, axes: Mapping[str, Sequence[str | None]]) -> None:
    if [*axes[tensor]] != [*axes[twin]]:
        raise ValueError(
            f"axes gives {axes[twin]!r} for {twin!r} and {axes[tensor]!r} for {tensor!r}, which are one tied tensor: "
            "give both the same groups, or one of them alone."
        )
