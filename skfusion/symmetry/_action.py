"""How permutations act on a tensor: ``new[i, j, ...] = old[source_0(i), source_1(j), ...]``.

The source of a position on one axis may depend on the position on another axis: where heads are a separate axis,
the channels on the next axis are permuted within each head, and by another permutation in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import is_stored_only
from skfusion.symmetry._group import Axes, Block, Group, Permutations

_PART = 2**20
"""Numbers that move at a time within a tensor, so that they stay in the cache of the processor."""
_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def moved(tensor: Tensor, axes: Axes, groups: Mapping[str, Group], perms: Permutations) -> Tensor:
    """Return a tensor with its units permuted, or the tensor itself where nothing moves."""
    if is_stored_only(tensor):  # torch cannot index such dtypes; integers of the same size have the same bits
        return moved(tensor.view(_SIGNED[tensor.element_size()]), axes, groups, perms).view(tensor.dtype)
    for axis, index in _moves(tensor.shape, axes, groups, perms):
        tensor = _taken(tensor, axis, index)
    return tensor


def move(tensor: Tensor, axes: Axes, groups: Mapping[str, Group], perms: Permutations) -> None:
    """Permute the units of a tensor in its memory, by small parts where one position does not depend on another."""
    if is_stored_only(tensor):
        move(tensor.view(_SIGNED[tensor.element_size()]), axes, groups, perms)
        return
    if not tensor.numel():
        return
    for axis, index in _moves(tensor.shape, axes, groups, perms):
        if index.dim() > 1:
            tensor.copy_(_taken(tensor, axis, index))
            continue
        places = (index != torch.arange(len(index))).nonzero()[:, 0]
        if len(places) <= len(index) // 4:
            few = tensor.index_select(axis, index[places].to(tensor.device))
            tensor.index_copy_(axis, places.to(tensor.device), few)
            continue
        along = max((e for e in range(tensor.dim()) if e != axis), key=lambda e: tensor.shape[e], default=None)
        size = 1 if along is None else max(1, _PART * tensor.shape[along] // tensor.numel())
        for part in [tensor] if along is None else torch.split(tensor, size, along):
            part.copy_(_taken(part, axis, index))


def _moves(
    shape: tuple[int, ...], axes: Axes, groups: Mapping[str, Group], perms: Permutations
) -> Iterator[tuple[int, Tensor]]:
    """Yield the axes on which units move, with the old position of each new one.

    It is of the shape of the axis, or, where it depends on other axes, one that can be broadcast to the whole.
    """
    for axis in in_order(axes, groups):  # an axis that others depend on moves first: contexts are new places
        source, others = sources(shape, axes, axis, groups, perms)
        if (source == np.arange(source.shape[-1])).all():
            continue
        index = torch.from_numpy(np.ascontiguousarray(source))
        if others:
            sizes = [shape[e] if e in (*others, axis) else 1 for e in range(len(shape))]
            order = [*others, axis]
            index = index.permute(*(order.index(e) for e in sorted(order))).reshape(sizes)
        yield axis, index


def _taken(tensor: Tensor, axis: int, index: Tensor) -> Tensor:
    """Return the positions of an axis that an index of :func:`_moves` names."""
    if index.dim() > 1:
        return torch.take_along_dim(tensor, index.to(tensor.device), axis)
    run = _run_length(index.numpy())  # such as the pixels of a channel that has been flattened
    last = axis == tensor.dim() - 1 > 0 and tensor.dtype is not torch.complex32  # which torch cannot gather
    if run == 1 and last:  # to gather single numbers is the faster way
        return tensor.gather(axis, index.to(tensor.device).expand(tensor.shape))
    if run == 1:
        return tensor.index_select(axis, index.to(tensor.device))
    starts = (index[::run] // run).to(tensor.device)
    return torch.unflatten(tensor, axis, (-1, run)).index_select(axis, starts).flatten(axis, axis + 1)


def _run_length(source: np.ndarray) -> int:
    """Return the largest length of runs of neighbours into which an axis can be cut, so that whole runs move."""
    starts = np.append(0, np.flatnonzero(np.diff(source) != 1) + 1)
    return int(np.gcd.reduce([len(source), *starts, *source[starts]]))


def in_order(axes: Axes, groups: Mapping[str, Group]) -> list[int]:
    """Return the axes that move, each after the axes that it depends on."""
    waiting = {axis: set(_others(axes, axis, groups)) for axis, blocks in enumerate(axes) if blocks}
    order: list[int] = []
    while waiting:
        ready = [axis for axis, others in waiting.items() if not others & waiting.keys()]
        if not ready:
            raise ValueError(f"The axes {sorted(waiting)} of a tensor depend on one another.")
        order += ready
        for axis in ready:
            del waiting[axis]
    return order


def sources(
    shape: tuple[int, ...], axes: Axes, axis: int, groups: Mapping[str, Group], perms: Permutations
) -> tuple[np.ndarray, list[int]]:
    """Return the old position of every new one on an axis, and the other axes that it depends on, in ascending order.

    The positions have the shape (*sizes of the other axes, size of the axis).
    """
    others = _others(axes, axis, groups)
    lead = tuple(shape[e] for e in others)
    out = np.broadcast_to(np.arange(shape[axis]), (*lead, shape[axis])).copy()  # what no block holds stays
    for block in axes[axis]:
        holds = np.ones(lead, bool)  # at which positions of the other axes this block is in force
        new: dict[str, np.ndarray] = {}
        # open grids over the other axes, the copies, and the units of each group of the block
        grids = np.ogrid[tuple(slice(n) for n in (*lead, *block.positions.shape))]
        for k, e in enumerate(others):
            side = tuple(-1 if i == k else 1 for i in range(len(lead)))
            if e in block.within:
                holds &= np.isin(np.arange(shape[e]), block.within[e]).reshape(side)
            for name in outside_of(block, groups):
                if home_of(axes, axis, name) == e:
                    value = indices_of(axes[e], name, shape[e])
                    holds &= (value >= 0).reshape(side)
                    new[name] = np.maximum(value, 0).reshape(*side, *[1] * block.positions.ndim)
        new |= dict(zip(block.groups, grids[len(lead) + 1 :], strict=True))
        # where the unit that comes to each place was, and then at which position it stood
        old = tuple(perms[g][(*(new[c] for c in groups[g].context), new[g])] for g in block.groups)
        was_at = np.broadcast_to(block.positions[(grids[len(lead)], *old)], (*lead, *block.positions.shape))
        flat = block.positions.reshape(-1)
        out[..., flat] = np.where(holds[..., None], was_at.reshape(*lead, -1), out[..., flat])
    return out, others


def outside_of(block: Block, groups: Mapping[str, Group]) -> list[str]:
    """Return the groups that index those of a block and that are not in it."""
    return sorted({c for g in block.groups for c in groups[g].context} - {*block.groups})


def home_of(axes: Axes, axis: int, name: str) -> int:
    """Return the other axis of a tensor that has the units of a group."""
    for e, blocks in enumerate(axes):
        if e != axis and any(name in b.groups and not b.within for b in blocks):
            return e
    raise ValueError(f"Axis {axis} of a tensor depends on the group {name!r}, which none of its other axes has.")


def indices_of(blocks: tuple[Block, ...], name: str, size: int) -> np.ndarray:
    """Return which unit of a group is at each of the ``size`` positions of an axis; -1 where there is none."""
    out = np.full(size, -1)
    for block in blocks:
        if name in block.groups and not block.within:
            k = block.groups.index(name) + 1
            side = tuple(-1 if i == k else 1 for i in range(block.positions.ndim))
            out[block.positions] = np.arange(block.positions.shape[k]).reshape(side)
    return out


def _others(axes: Axes, axis: int, groups: Mapping[str, Group]) -> list[int]:
    """Return the other axes that the positions on an axis depend on."""
    others = {e for block in axes[axis] for e in block.within}
    others |= {home_of(axes, axis, name) for block in axes[axis] for name in outside_of(block, groups)}
    return sorted(others)


def check(name: str, axes: Axes, shape: tuple[int, ...], groups: Mapping[str, Group]) -> None:
    """Raise where the blocks of a tensor do not fit its shape, or their groups."""
    if len(axes) != len(shape):
        raise ValueError(f"Tensor {name!r} of shape {shape} has groups for {len(axes)} axes.")
    for axis, blocks in enumerate(axes):
        for block in blocks:
            for g, size in zip(block.groups, block.positions.shape[1:], strict=True):
                if g not in groups or groups[g].size != size:
                    known = f"has {groups[g].size}" if g in groups else "is unknown"
                    raise ValueError(f"Axis {axis} of tensor {name!r} has {size} units of group {g!r}, which {known}.")
            if not 0 <= block.positions.min() <= block.positions.max() < shape[axis]:
                raise ValueError(f"A block on axis {axis} of tensor {name!r} lies outside its shape {shape}.")
    in_order(axes, groups)
