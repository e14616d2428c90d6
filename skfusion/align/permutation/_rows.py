"""Units as rows: a tensor is rearranged so that each row holds the entries of one unit of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from skfusion.symmetry import Axes, Block, home_of, indices_of

_PIECE = 2**20
"""Numbers that are rearranged at a time, which bounds the memory of the copies."""


def rows(tensor: Tensor, axes: Axes, axis: int, block: Block, names: Sequence[str]) -> Tensor:
    """Return a row for each combination of units of the groups, shape (size_1, ..., size_k, n_entries).

    The block, on an axis of the tensor, has some of the groups; the others are on other axes.
    """
    here = [name for name in names if name in block.groups]
    inner = np.moveaxis(block.positions, [block.groups.index(g) + 1 for g in here], range(len(here)))
    part = _taken(tensor, axis, inner.reshape(-1)).movedim(axis, 0)
    part = torch.unflatten(part, 0, (*inner.shape[: len(here)], -1))  # shape: (*sizes, n_copies, *other axes)
    front = [names.index(name) for name in here]
    for k, name in enumerate(names):
        if name not in here:
            e = home_of(axes, axis, name)
            unit = indices_of(axes[e], name, tensor.shape[e])
            by_unit = np.argsort(unit, kind="stable")[int((unit < 0).sum()) :]  # positions that have units, in order
            side = len(front) + 1 + (e if e < axis else e - 1)
            part = torch.unflatten(_taken(part, side, by_unit), side, (int(unit.max()) + 1, -1)).movedim(side, 0)
            front.insert(0, k)
    part = part.permute(*np.argsort(front).tolist(), *range(len(front), part.dim()))
    return part.reshape(*part.shape[: len(names)], -1)


def pieces(
    a: Tensor, b: Tensor, axes: Axes, axis: int, block: Block, names: Sequence[str], small: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the parts of two tensors in which a block holds, in pieces that are small enough to copy.

    A matrix whose rows need no copy is one piece, unless all are to be ``small``.
    """
    a, b, free = _in_force(a, b, axes, axis, block, names)
    uncopied = a.dim() == 2 and _in_order(block.positions.reshape(-1), a.shape[axis])
    if a.numel() <= _PIECE or free is None or (uncopied and not small):
        yield a, b
        return
    size = max(1, _PIECE * a.shape[free] // a.numel())
    yield from zip(torch.split(a, size, free), torch.split(b, size, free), strict=True)


def sampled(
    a: Tensor, b: Tensor, axes: Axes, axis: int, block: Block, names: Sequence[str], share: float
) -> tuple[Tensor, Tensor]:
    """Return about a share of the parts of two tensors in which a block holds, the same entries of each unit."""
    a, b, free = _in_force(a, b, axes, axis, block, names)
    step = int(1 / share)
    if free is None or step <= 1:
        return a, b
    every = (slice(None),) * free + (slice(None, None, step),)
    return a[every], b[every]


def _in_force(
    a: Tensor, b: Tensor, axes: Axes, axis: int, block: Block, names: Sequence[str]
) -> tuple[Tensor, Tensor, int | None]:
    """Return the parts of two tensors in which a block holds, and the longest axis along which they may be cut."""
    for e, positions in block.within.items():
        a, b = _taken(a, e, positions), _taken(b, e, positions)
    in_use = {axis, *block.within, *(home_of(axes, axis, name) for name in names if name not in block.groups)}
    free = [e for e in range(a.dim()) if e not in in_use]
    return a, b, max(free, key=lambda e: a.shape[e], default=None)


def _taken(tensor: Tensor, axis: int, positions: np.ndarray) -> Tensor:
    if _in_order(positions, tensor.shape[axis]):
        return tensor
    return tensor.index_select(axis, torch.from_numpy(np.ascontiguousarray(positions)).to(tensor.device))


def _in_order(positions: np.ndarray, n: int) -> bool:
    return len(positions) == n and bool((positions == np.arange(n)).all())
