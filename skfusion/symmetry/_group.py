"""What moves, and where: groups of units, and the positions on the axes of tensors that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Permutations = Mapping[str, np.ndarray]
"""By name of the group, of shape (*context sizes, size): place i gets the unit from place ``perms[name][..., i]``."""


@dataclass(frozen=True)
class Group:
    """Units that may change places with one another, such as the neurons of a hidden layer.

    Parameters
    ----------
    name : str
        The tensor and axis where it occurs first, such as ``"layers.0.weight:0"``.
    size : int
        Number of units.
    context : tuple of str, optional
        Groups that its permutation is indexed by: the channels within attention heads have a permutation for each head,
        and change places with them.
    """

    name: str
    size: int
    context: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """Positions on one axis of a tensor that belong to units of one or several nested groups.

    Parameters
    ----------
    groups : tuple of str
        The groups, outermost first: heads, then channels within a head.
    positions : ndarray of int of shape (n_copies, size_1, ..., size_k)
        The position of the unit with these indices. Copies move together, such as the pixels of a flattened channel.
    within : dict of ndarray, optional
        Positions on other axes of the tensor, by axis, where the block is in force; everywhere when empty.
    """

    groups: tuple[str, ...]
    positions: np.ndarray
    within: Mapping[int, np.ndarray] = field(default_factory=dict)


Axes = tuple[tuple[Block, ...], ...]
"""The blocks of each axis of a tensor; an axis without blocks is pinned."""


def same(a: Axes, b: Axes) -> bool:
    """Return whether permutations have the same effect on two tensors of one shape."""
    return a is b or all(
        len(x) == len(y) and all(_same_block(p, q) for p, q in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )


def _same_block(a: Block, b: Block) -> bool:
    if a.groups != b.groups or a.within.keys() != b.within.keys():
        return False
    pairs = [(a.positions, b.positions), *((a.within[k], b.within[k]) for k in a.within)]
    return all(np.array_equal(x, y) for x, y in pairs)


@dataclass(frozen=True, eq=False)
class Site:
    """An activation in a forward pass whose units belong to groups.

    Parameters
    ----------
    index : int
        Number of the contraction (matrix product, convolution, attention) in the order of execution, from 0.
    argument : int or None
        Which of its arguments; its output when None.
    name : str
        Of the operation.
    where : str
        Dotted name of the module that runs it.
    shape : tuple of int
        Of the activation on the example.
    axes : tuple of tuple of Block
        The groups on each of its axes.
    """

    index: int
    argument: int | None
    name: str
    where: str
    shape: tuple[int, ...]
    axes: Axes
