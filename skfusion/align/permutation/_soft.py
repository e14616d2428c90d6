"""Soft permutations: doubly stochastic matrices in the place of permutations, and the slopes of inner products in them.

The matrices of permutations are the corners of this convex set, so that all groups can move a little at once. Groups
that index others or are indexed by others, such as heads and their channels, have no matrix of their own and stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion.align.permutation._rows import rows
from skfusion.state import State
from skfusion.symmetry import Block, Permutations, Symmetry

Maps = Mapping[str, Tensor]
"""By group, of shape (size, size): row i says of which units place i is made."""


class Place(NamedTuple):
    """One place of a soft group: a block on an axis of a tensor."""

    tensor: str
    axis: int
    block: Block


def soft_groups(symmetry: Symmetry) -> list[str]:
    """Return the groups that can be moved softly: those of which no other group depends."""
    bound = {c for g in symmetry.groups.values() for c in g.context}
    bound |= {g.name for g in symmetry.groups.values() if g.context}
    for axes in symmetry.axes.values():
        for blocks in axes:
            for block in (b for b in blocks if b.within):
                bound.update(block.groups)
                bound.update(g for e in block.within for other in axes[e] for g in other.groups)
    return [g for g in symmetry.groups if g not in bound]


def places(symmetry: Symmetry, names: Mapping[str, object] | State) -> dict[str, list[Place]]:
    """Return where the soft groups are in some tensors, by group."""
    found: dict[str, list[Place]] = {g: [] for g in soft_groups(symmetry)}
    for n in names:
        for axis, blocks in enumerate(symmetry.axes[n]):
            for block in blocks:
                for g in block.groups:
                    if g in found:
                        found[g].append(Place(n, axis, block))
    return found


def corners(symmetry: Symmetry, perms: Permutations, like: Tensor) -> dict[str, Tensor]:
    """Return the matrices of the permutations of the soft groups."""
    eye = {n: torch.eye(n, dtype=like.dtype, device=like.device) for n in {g.size for g in symmetry.groups.values()}}
    return {g: eye[symmetry.groups[g].size][torch.from_numpy(np.asarray(perms[g]))] for g in soft_groups(symmetry)}


def mapped(tensor: Tensor, symmetry: Symmetry, name: str, maps: Maps, but: tuple[Place, str] | None = None) -> Tensor:
    """Return a tensor with soft permutations applied to its axes, except to the group of one place."""
    for axis, blocks in enumerate(symmetry.axes[name]):
        for block in blocks:
            for k, g in enumerate(block.groups):
                here = but is not None and but[1] == g and but[0].axis == axis and but[0].block is block
                if g in maps and not here:
                    tensor = _on_axis(tensor, axis, block, k, maps[g])
    return tensor


def _on_axis(x: Tensor, axis: int, block: Block, k: int, matrix: Tensor) -> Tensor:
    """Return a tensor with the units of group k of a block replaced by sums of units, the copies alike."""
    flat = block.positions.reshape(-1)
    whole = len(flat) == x.shape[axis] and bool((flat == np.arange(len(flat))).all())
    index = torch.from_numpy(np.ascontiguousarray(flat)).to(x.device)
    part = x if whole else x.index_select(axis, index)
    part = torch.unflatten(part, axis, block.positions.shape)  # shape: (..., n_copies, *sizes, ...)
    side = axis + 1 + k
    part = torch.tensordot(matrix, part, ([1], [side])).movedim(0, side)
    part = part.flatten(axis, axis + block.positions.ndim - 1)
    return part if whole else x.index_copy(axis, index, part)


def slope(symmetry: Symmetry, at: list[Place], g: str, maps: Maps, state: State, toward: State) -> Tensor:
    r"""Return the slope of :math:`\sum_n \langle T_n, (P \theta)_n \rangle` in the matrix of a group, (size, size)."""
    size = symmetry.groups[g].size
    total: Tensor | None = None
    for place in at:
        axes, n = symmetry.axes[place.tensor], place.tensor
        moved = mapped(state[n], symmetry, n, maps, but=(place, g))
        left, right = (rows(x, axes, place.axis, place.block, [g]) for x in (toward[n], moved))
        product = left @ right.mT
        total = product if total is None else total + product
    return next(iter(state.values())).new_zeros(size, size) if total is None else total


def between(start: Maps, end: Maps, t: float, groups: Collection[str]) -> Maps:
    """Return the soft permutations of some groups at a point between two, at t = 0 and t = 1."""
    if t in (0, 1):
        return {g: (end if t else start)[g] for g in groups}
    return {g: torch.lerp(start[g], end[g], t) for g in groups}
