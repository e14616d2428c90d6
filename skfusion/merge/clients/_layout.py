"""Which axes of which tensors have the units of a group, for layers whose widths can differ from network to network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._caller import warn_caller
from skfusion.merge._base import layer_of
from skfusion.symmetry import OF_OUTPUT, Block, Symmetry
from skfusion.tracing import symmetry_of

MATCHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers with a row of numbers for each unit, which compute the same beside the units of other clients."""


@dataclass(frozen=True)
class UnitAxis:
    """An axis whose positions are units of a group, or several copies of each, such as the pixels of a channel."""

    group: str
    n_copies: int = 1
    unit_first: bool = True

    def places(self, atoms: np.ndarray, width: int) -> np.ndarray:
        """Return where the positions of the axis are when its units are those atoms, of which there are ``width``."""
        copies = np.arange(self.n_copies)
        if self.unit_first:
            return np.asarray(atoms[:, None] * self.n_copies + copies).reshape(-1)
        return np.asarray(copies[:, None] * width + atoms).reshape(-1)

    def rows(self, tensor: Tensor, axis: int) -> np.ndarray:
        """Return the numbers of each unit, shape (n_units, n_numbers)."""
        front = tensor.movedim(axis, 0)
        sizes = (-1, self.n_copies) if self.unit_first else (self.n_copies, -1)
        front = torch.unflatten(front, 0, sizes)
        front = front if self.unit_first else front.transpose(0, 1)
        return front.reshape(front.shape[0], -1).numpy()


@dataclass(frozen=True)
class Layout:
    """The groups from the inputs to the outputs, and the axes that have their units, by tensor and axis."""

    order: list[str]
    axes: dict[str, dict[int, UnitAxis]]
    parameters: frozenset[str]
    outputs: frozenset[str]
    """Layers that make outputs of the module."""

    def written(self, group: str) -> list[str]:
        """Return the tensors that compute the units of a group: those that have them on their first axis."""
        return [name for name, axes in self.axes.items() if 0 in axes and axes[0].group == group]

    def read(self, group: str) -> list[str]:
        """Return the weights that read the units of a group."""
        return [name for name, axes in self.axes.items() if 1 in axes and axes[1].group == group]

    def makes_outputs(self, name: str) -> bool:
        """Return whether a tensor is of a layer that makes outputs."""
        return layer_of(name) in self.outputs

    def spread(self, name: str, tensor: Tensor, atoms: Mapping[str, np.ndarray], widths: Mapping[str, int]) -> Tensor:
        """Return a tensor with its units at the places of their atoms, and zeros where it has no unit."""
        for axis, units in self.axes.get(name, {}).items():
            if units.group in atoms:
                shape = [*tensor.shape]
                shape[axis] = widths[units.group] * units.n_copies
                places = torch.from_numpy(units.places(atoms[units.group], widths[units.group]))
                tensor = tensor.new_zeros(shape).index_copy(axis, places, tensor)
        return tensor


def layout_of(module: nn.Module, x: Any, who: object) -> Layout:
    """Return the layout of a module, of which x are inputs; raise ``ValueError`` that names what cannot be matched."""
    symmetry = symmetry_of(module, x)
    axes: dict[str, dict[int, UnitAxis]] = {}
    for name, parts in symmetry.axes.items():
        for axis, blocks in enumerate(parts):
            if blocks:
                _check_layer(module, name, who)
                axes.setdefault(name, {})[axis] = _unit_axis(blocks, symmetry, name, axis, who)
    if not symmetry.groups:
        reasons = "; ".join(f"axis {axis} of {name!r}: {why}" for (name, axis), why in [*symmetry.pinned.items()][:4])
        raise ValueError(
            f"{who!r} matches units, and no units of {type(module).__name__} can change places ({reasons}). Merge such "
            "networks by Uniform()."
        )
    parameters = frozenset(name for name, _ in module.named_parameters(remove_duplicate=False))
    layout = Layout([], axes, parameters, _outputs(symmetry, axes, parameters))
    for group in symmetry.groups:
        written = [name for name in layout.written(group) if name in layout.parameters]
        weights = [name for name in written if len(symmetry.shapes[name]) > 1]
        if len(weights) != 1:
            raise ValueError(
                f"{who!r} needs each unit to be computed by one layer, and the units of {group!r} are computed by "
                f"{len(weights)}: {', '.join(weights)}. Networks with residual streams keep their widths: align them, "
                "such as by WeightMatching(), and merge them by Uniform()."
            )
    _warn_of_pinned(symmetry, layout, who)
    return replace(layout, order=_ordered(layout, [*symmetry.groups]))


def _outputs(
    symmetry: Symmetry, axes: Mapping[str, Mapping[int, UnitAxis]], parameters: frozenset[str]
) -> frozenset[str]:
    """Return the layers that make outputs, or else those that read the last units, from which no others are computed.

    The second is where outputs are computed further, such as by a scale.
    """
    pinned = {layer_of(n) for (n, axis), why in symmetry.pinned.items() if axis == 0 and why == OF_OUTPUT}
    made = pinned & {layer_of(name) for name in parameters}
    if made:
        return frozenset(made)
    below = {units[1].group for units in axes.values() if 0 in units and 1 in units}
    last = {n for n, units in axes.items() if 0 not in units and 1 in units and units[1].group not in below}
    return frozenset(map(layer_of, last))


def _warn_of_pinned(symmetry: Symmetry, layout: Layout, who: object) -> None:
    """Warn of hidden layers whose units cannot change places, where those of others are matched."""
    left = {
        layer_of(name) or name: why
        for (name, axis), why in symmetry.pinned.items()
        if axis == 0 and name in layout.parameters and not layout.makes_outputs(name)
    }
    if left:
        warn_caller(
            f"{who!r} matches no units of the layers {', '.join(map(repr, left))}, and averages them in the order in "
            f"which they stand ({'; '.join(dict.fromkeys(left.values()))}). That suits networks that began with the "
            "same weights. Combine others by their predictions, as EnsembleClassifier does."
        )


def _check_layer(module: nn.Module, name: str, who: object) -> None:
    layer = module.get_submodule(layer_of(name))
    if not isinstance(layer, MATCHED) or getattr(layer, "groups", 1) != 1:
        place = f"{layer_of(name)!r} is" if layer_of(name) else f"{name!r} is a parameter of"
        raise ValueError(
            f"{who!r} matches units of linear layers, convolutions and BatchNorm, and {place} {type(layer).__name__}"
            f"{'' if isinstance(layer, MATCHED) else ', whose width it cannot change'}. Align such networks, by "
            "WeightMatching(), and merge them by Uniform()."
        )


def _unit_axis(blocks: tuple[Block, ...], symmetry: Symmetry, name: str, axis: int, who: object) -> UnitAxis:
    block, size = blocks[0], symmetry.shapes[name][axis]
    if len(blocks) == 1 and len(block.groups) == 1 and not block.within and block.positions.size == size:
        group = block.groups[0]
        n_copies, everywhere = len(block.positions), np.arange(size)
        if not symmetry.groups[group].context:
            if np.array_equal(block.positions.T.reshape(-1), everywhere):
                return UnitAxis(group, n_copies)
            if np.array_equal(block.positions.reshape(-1), everywhere):
                return UnitAxis(group, n_copies, unit_first=False)
    raise ValueError(
        f"{who!r} needs the positions of an axis to be the units of one layer, and those of axis {axis} of {name!r} "
        "are of several, such as heads or concatenated layers. Align such networks, and merge them by Uniform()."
    )


def _ordered(layout: Layout, groups: list[str]) -> list[str]:
    """Return the groups, each after those that its units are computed from."""
    below = {g: {layout.axes[n][1].group for n in layout.written(g) if 1 in layout.axes[n]} for g in groups}
    order: list[str] = []
    while left := [g for g in groups if g not in order]:
        ready = [g for g in left if below[g] <= {*order}]
        if not ready:
            raise ValueError(f"The units of {left[0]!r} are computed from themselves, so that no layer comes first.")
        order.append(ready[0])
    return order
