r"""How linear maps of units act on a tensor: by ``out`` where units are made, and by ``into`` where they are read.

On an axis of a group, the units of the new tensor are :math:`\sum_j M_{ij} x_j`, where M is ``out``, or the transpose
of ``into``. Nested groups act one after the other, outer ones first: the inner one has an M for each new outer unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion.symmetry._action import home_of, in_order, indices_of
from skfusion.symmetry._group import Axes, Block, Group
from skfusion.symmetry._roles import BOTH, IN

_LETTERS = "abcdefghijklmnopqrstuvwxy"  # z is the new unit


class LinearMap(NamedTuple):
    """How the units of a group become others; the number of units may change."""

    out: np.ndarray
    """Shape (*context sizes, n_to, n_from): how units are made."""
    into: np.ndarray
    """Shape (*context sizes, n_from, n_to): how those that read units read them."""

    @property
    def is_permutation(self) -> bool:
        """Whether no units are mixed."""
        out, into = self
        if out.shape[-1] != out.shape[-2] or not ((out == 0) | (out == 1)).all():
            return False
        one_each = (out.sum(-1) == 1).all() and (out.sum(-2) == 1).all()
        return bool(one_each and np.array_equal(into, out.swapaxes(-1, -2)))


def mapped(
    tensor: Tensor, axes: Axes, roles: Sequence[str], groups: Mapping[str, Group], maps: Mapping[str, LinearMap]
) -> Tensor:
    """Return a tensor whose units are mapped, in the precision in which it was given.

    Raises
    ------
    ValueError
        If its layout, or what its axes are used for, does not allow such a map.
    """
    used = {g for blocks in axes for b in blocks for g in b.groups if g in maps}
    if not used:
        return tensor
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"it holds {tensor.dtype}, of which there are no sums")
    x = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
    old_shape = tuple(tensor.shape)
    for axis in in_order(axes, groups):
        blocks = axes[axis]
        if used & {g for b in blocks for g in b.groups}:
            x = _along(x, axis, axes, old_shape, groups, {g: _matrix(m, roles[axis]) for g, m in maps.items()})
    return x.to(tensor.dtype)


def _matrix(both: LinearMap, role: str) -> np.ndarray:
    """Return the matrix that acts on an axis of some role, by group, shape (*context sizes, n_to, n_from)."""
    transposed: np.ndarray = both.into.swapaxes(-1, -2)
    if role == BOTH and not np.allclose(transposed, both.out, rtol=0, atol=1e-9):
        raise ValueError("its units are made and read by the same weights, which needs a map that is its own dual")
    return transposed if role == IN else both.out


def _along(
    x: Tensor, axis: int, axes: Axes, shape: Sequence[int], groups: Mapping[str, Group], maps: Mapping[str, np.ndarray]
) -> Tensor:
    """Map the units on one axis of a tensor that had a shape; the axes that it depends on are mapped already."""
    blocks = sorted(axes[axis], key=lambda b: int(b.positions.min()))
    resized = any(maps[g].shape[-1] != maps[g].shape[-2] for b in blocks for g in b.groups if g in maps)
    x = x.movedim(axis, -1)
    out, pieces, end = x, [], 0
    for block in blocks:
        positions = torch.from_numpy(np.ascontiguousarray(block.positions.reshape(-1))).to(x.device)
        part = x.index_select(-1, positions).reshape(*x.shape[:-1], *block.positions.shape)
        new = _mixed(part, axis, block, axes, shape, groups, maps)
        if resized:
            start, order = int(block.positions.min()), _layout(block, axis)
            if start < end:
                raise ValueError(f"the kinds of units on axis {axis} overlap, so that none can be added or removed")
            new = new.permute(*range(x.dim() - 1), *(x.dim() - 1 + k for k in order)).flatten(x.dim() - 1)
            pieces += [x[..., end:start], new]
            end = start + block.positions.size
        else:
            new = new.flatten(x.dim() - 1)
            if block.within:
                new = torch.where(_holds(block, axis, new), new, out.index_select(-1, positions))
            out = out.index_copy(-1, positions, new)
    return (torch.cat([*pieces, x[..., end:]], -1) if resized else out).movedim(-1, axis)


def _mixed(
    part: Tensor,
    axis: int,
    block: Block,
    axes: Axes,
    shape: Sequence[int],
    groups: Mapping[str, Group],
    maps: Mapping[str, np.ndarray],
) -> Tensor:
    """Map the units of a block, of shape (*other axes, n_copies, size_1, ..., size_k), outer groups first."""
    lead = part.dim() - block.positions.ndim
    waiting = [g for g in block.groups if g in maps]
    while waiting:
        name = next(g for g in waiting if not {*groups[g].context} & {*waiting})
        waiting.remove(name)
        matrix, letters = maps[name], ""
        for k, c in enumerate(groups[name].context):
            if c in block.groups:
                letters += _LETTERS[lead + 1 + block.groups.index(c)]
                continue
            e = home_of(axes, axis, c)
            if part.shape[e - (e > axis)] != shape[e]:
                raise ValueError(f"the units on axis {axis} depend on axis {e}, of which the size changes")
            matrix = _of_positions(matrix, k, indices_of(axes[e], c, shape[e]))
            letters += _LETTERS[e - (e > axis)]
        old, here = _LETTERS[: part.dim()], lead + 1 + block.groups.index(name)
        new = old[:here] + "z" + old[here + 1 :]
        weights = torch.from_numpy(np.array(matrix)).to(part)
        part = torch.einsum(f"{old},{letters}z{old[here]}->{new}", part, weights)
    return part


def _of_positions(matrix: np.ndarray, k: int, units: np.ndarray) -> np.ndarray:
    """Return the matrix at each position of an axis that has the units of the k-th context; none has the identity."""
    taken = np.take(matrix, np.maximum(units, 0), axis=k)
    side = [-1 if i == k else 1 for i in range(taken.ndim)]
    same: np.ndarray = np.where((units < 0).reshape(side), np.eye(*matrix.shape[-2:]), taken)
    return same


def _holds(block: Block, axis: int, x: Tensor) -> Tensor:
    """Return where a block is in force, for a tensor whose last axis is the axis of the block."""
    holds = torch.ones([1] * x.dim(), dtype=torch.bool, device=x.device)
    for e, positions in block.within.items():
        d = e - (e > axis)
        there = torch.zeros(x.shape[d], dtype=torch.bool, device=x.device)
        there[torch.from_numpy(np.ascontiguousarray(positions))] = True
        holds = holds & there.view([-1 if i == d else 1 for i in range(x.dim())])
    return holds


def _layout(block: Block, axis: int) -> list[int]:
    """Return the order of the axes of a block, (n_copies, size_1, ..., size_k), with positions in order."""
    if block.within:
        raise ValueError(f"the units on axis {axis} are others at other places, so that none can be added or removed")
    p = block.positions
    steps = [int(np.diff(p, axis=k).flat[0]) if p.shape[k] > 1 else 0 for k in range(p.ndim)]
    order = sorted(range(p.ndim), key=lambda k: -steps[k])
    if not np.array_equal(p.transpose(order).reshape(-1), p.min() + np.arange(p.size)):
        raise ValueError(f"the units on axis {axis} do not follow one another, so that none can be added or removed")
    return order
