"""Symmetries of which some groups do not move any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from skfusion.symmetry._group import Axes, Block, Group


def spread(groups: Mapping[str, Group], reasons: Mapping[str, str]) -> dict[str, str]:
    """Return why groups do not move, including the groups that are indexed by such ones."""
    why = dict(reasons)
    while more := {
        group.name: f"it is indexed by {c!r}, which does not: {why[c]}"
        for group in groups.values()
        for c in group.context
        if c in why and group.name not in why
    }:
        why |= more
    return why


def at_rest(axes: Mapping[str, Axes], reasons: Mapping[str, str]) -> tuple[dict[str, Axes], dict[tuple[str, int], str]]:
    """Return the blocks that still move, and why axes no longer do; names of one tied tensor keep sharing blocks."""
    done: dict[int, Axes] = {}
    pinned: dict[tuple[str, int], str] = {}
    for name, parts in axes.items():
        if id(parts) not in done:
            done[id(parts)] = tuple(tuple(left for b in blocks for left in _left(b, reasons)) for blocks in parts)
        for axis, (before, after) in enumerate(zip(parts, done[id(parts)], strict=True)):
            if before and not after:
                pinned[name, axis] = next(reasons[g] for b in before for g in b.groups if g in reasons)
    return {name: done[id(parts)] for name, parts in axes.items()}, pinned


def _left(block: Block, frozen: Mapping[str, str]) -> Iterator[Block]:
    """Yield a block without its frozen groups, whose units count as copies then, if any group is left."""
    kept = [k for k, g in enumerate(block.groups) if g not in frozen]
    if len(kept) == len(block.groups):
        yield block
    elif kept:
        front = np.moveaxis(block.positions, [k + 1 for k in kept], range(-len(kept), 0))
        groups = tuple(block.groups[k] for k in kept)
        yield Block(groups, front.reshape(-1, *front.shape[-len(kept) :]), block.within)
