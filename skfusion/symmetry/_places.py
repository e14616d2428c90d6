"""Where the units of one group are in the tensors of a state, and a draft of a state in which they are rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import wide
from skfusion.state import State, owners
from skfusion.symmetry._group import Axes, Block, Group

MANY_COPIES = 3
"""A block with more copies of its units than this, such as the pixels of a flattened channel, is one place."""


@dataclass(frozen=True, eq=False)
class Place:
    """The units of a group on one axis of a tensor.

    Parameters
    ----------
    tensor : str
        Name of the tensor.
    axis : int
        Its axis.
    index : ndarray of int of shape (n_contexts, n_units, n_copies)
        The positions of each unit, in each combination of the units that index the group, such as heads.
    """

    tensor: str
    axis: int
    index: np.ndarray

    def read(self, tensor: Tensor) -> Tensor:
        """Return the numbers of the units, of shape (n_contexts, n_units, n_numbers)."""
        rows = tensor.movedim(self.axis, 0)[self._positions(tensor)]
        return rows.reshape(*self.index.shape[:2], -1)

    def write(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """Return the tensor with other numbers of the units."""
        out = tensor.clone()
        front = out.movedim(self.axis, 0)
        front[self._positions(tensor)] = rows.reshape(*self.index.shape, *front.shape[1:])
        return out

    def _positions(self, tensor: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.index)).to(tensor.device)


def places_of(
    group: Group, axes: Mapping[str, Axes], groups: Mapping[str, Group], names: Mapping[str, object]
) -> list[Place] | None:
    """Return where a group is in the named tensors; None where a tensor alone does not say in which context units are.

    Copies of units in one block are places of their own where they are few, as the queries and the keys are that one
    matrix makes.
    """
    out: list[Place] = []
    for name in names:
        for axis, blocks in enumerate(axes[name]):
            for block in (b for b in blocks if group.name in b.groups):
                if block.within or not {*group.context} <= {*block.groups}:
                    return None
                index = _index(group, block, groups)
                if len(block.positions) > MANY_COPIES:
                    out.append(Place(name, axis, index))
                else:
                    parts = np.split(index, len(block.positions), axis=2)
                    out += [Place(name, axis, part) for part in parts]
    return out


def _index(group: Group, block: Block, groups: Mapping[str, Group]) -> np.ndarray:
    """Return positions with the contexts first, then the units, then the copies, outermost, and all other groups."""
    first = [block.groups.index(g) + 1 for g in (*group.context, group.name)]
    rest = [k for k in range(block.positions.ndim) if k not in first]
    n_contexts = int(np.prod([groups[c].size for c in group.context]))
    return block.positions.transpose(*first, *rest).reshape(n_contexts, group.size, -1)


class Draft:
    """A state while it is rewritten, in double precision; tied tensors are one."""

    def __init__(self, state: State):
        self._state = state
        self._owner = owners([state])
        self._new: dict[str, Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._state

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._owner:
            raise ValueError(f"The state has no tensor {name!r}: its architecture is not that of the symmetry.")
        owner = self._owner[name]
        return self._new[owner] if owner in self._new else wide(self._state[name])

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        self._new[self._owner[name]] = tensor

    def read(self, place: Place) -> Tensor:
        """Return the numbers of the units at a place."""
        return place.read(self[place.tensor])

    def write(self, place: Place, rows: Tensor) -> None:
        """Put others there."""
        self[place.tensor] = place.write(self[place.tensor], rows)

    def state(self) -> State:
        """Return the state as it is now, in its own dtypes; tensors that were not rewritten are shared with it."""
        out = copy(self._state)
        new = {owner: tensor.to(self._state[owner].dtype) for owner, tensor in self._new.items()}
        out.update({name: new[owner] for name, owner in self._owner.items() if owner in new})
        return out
