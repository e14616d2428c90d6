"""A symmetry in words: declared by a name for each axis, described in a table, and explained in a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


OF_OUTPUT = "output of the module"
"""Why axes do not move that are outputs, whose positions have a meaning."""


def reasons(notes: Sequence[str], pinned: Mapping[tuple[str, int], str]) -> str:
    """Return the first reasons, at most three, why axes of a network do not move, for a message."""
    return "; ".join([*dict.fromkeys([*notes, *pinned.values()])][:3])


def table(
    groups: Mapping[str, Group], axes: Mapping[str, Axes], pinned: Mapping[tuple[str, int], str], notes: Sequence[str]
) -> Any:
    """Return a row for each group, and for each reason why axes do not move."""
    import pandas as pd

    on: dict[str, list[str]] = {name: [] for name in groups}
    for tensor, parts in axes.items():
        for axis, blocks in enumerate(parts):
            for name in dict.fromkeys(g for b in blocks for g in b.groups):
                on[name].append(f"{tensor}[{axis}]")
    rows = [(g.name, g.size, ", ".join(g.context), ", ".join(on[g.name]), "") for g in groups.values()]
    by_reason: dict[str, list[str]] = {}
    for (tensor, axis), reason in pinned.items():
        by_reason.setdefault(reason, []).append(f"{tensor}[{axis}]")
    rows += [("", 0, "", ", ".join(names), reason) for reason, names in by_reason.items()]
    described = pd.DataFrame(rows, columns=["group", "size", "indexed by", "axes", "pinned because"])
    described.attrs["notes"] = [*notes]
    return described
