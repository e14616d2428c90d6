"""Networks whose hidden layers may have different numbers of units, and sums of them group by group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skfusion._batches import mapped as mapped_input
from skfusion._batches import n_rows
from skfusion._numbers import is_summed, largest, narrowed, wide
from skfusion.merge._base import Merger
from skfusion.objective import Input, Objective
from skfusion.state import Fused, State, check_compatible, owners
from skfusion.symmetry import (
    Axes,
    LinearMap,
    Symmetry,
    made_on,
    mapped,
    resized_symmetry,
    same,
    sizes_of,
    why_no_mixing,
)
from skfusion.tracing import symmetry_of
from skfusion.widths import resized_to

_ROWS = 4
"""Rows of the example by which a module is read."""

Maps = Mapping[str, LinearMap]
"""How the units of each group become those of the result."""


@dataclass(frozen=True, eq=False)
class Networks:
    """States of one architecture, of any widths.

    Parameters
    ----------
    module : nn.Module
        The architecture.
    example : Tensor or dict of Tensor
        Some rows of its inputs.
    symmetry : Symmetry
        Its groups of units, of which those that no linear map of units suits are frozen.
    states : sequence of State
        K states.
    sizes : sequence of dict of int
        The number of units of each group in each of them.
    symmetries : sequence of Symmetry
        The symmetry of each of them.
    left_out : dict of str
        Why groups are frozen.
    outputs : collection of str, optional
        Groups of units that are outputs of the module, and may get others beside them.
    """

    module: nn.Module
    example: Input
    symmetry: Symmetry
    states: Sequence[State]
    sizes: Sequence[dict[str, int]]
    symmetries: Sequence[Symmetry]
    left_out: dict[str, str]
    outputs: Collection[str] = ()

    def module_of_member(self, k: int) -> nn.Module:
        """Return a module that a member is a state of."""
        return self.module_of(self.sizes[k])

    def module_of(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return the module, or a copy with other numbers of units."""
        changed = changed_sizes(self.symmetry, sizes)
        return resized_to(self.module, self.example, changed, self.symmetry, self.outputs) if changed else self.module

    def fused(self, maps: Sequence[Maps], shares: Sequence[float]) -> State | Fused:
        """Return the sum of the members with their units mapped, and its module where that is another one.

        Where units are made, the rows of maps say how much of each member a new unit is, and sum to one over members;
        ``shares`` say it for numbers that make no units of a group, such as those of the output layer.
        """
        out: State = {}
        for name, owner in owners(self.states).items():
            if owner != name and _tied(self.symmetry, owner, name):
                out[name] = out[owner]
            else:
                out[name] = self._sum(name, maps, shares)
        sizes = {g: len(m.out) for g, m in maps[0].items()}
        return Fused(out, self.module_of(sizes)) if changed_sizes(self.symmetry, sizes) else out

    def _sum(self, name: str, maps: Sequence[Maps], shares: Sequence[float]) -> Tensor:
        """Return the sum of one tensor over the members."""
        tensors = [state[name] for state in self.states]
        first = tensors[0]
        if not is_summed(first):
            return largest(tensors)
        total: Tensor | None = None
        for k, (tensor, of_member) in enumerate(zip(tensors, maps, strict=True)):
            shared = self._shared(k, name, wide(tensor), shares[k])
            part = self.mapped(k, name, shared, of_member).to(first.device)
            total = part if total is None else total + part
        assert total is not None
        return narrowed(total, first.dtype, name)

    def _shared(self, k: int, name: str, tensor: Tensor, share: float) -> Tensor:
        """Return a tensor of a member times its share, but where it makes units of a group, of which maps say it."""
        symmetry = self.symmetries[k]
        axis = next((axis for axis, _ in made_on(symmetry, name)), None)
        if axis is None:
            return tensor * share
        factors = torch.full((tensor.shape[axis],), share, dtype=torch.float64, device=tensor.device)
        for block in symmetry.axes[name][axis]:
            factors[torch.from_numpy(block.positions.reshape(-1)).to(tensor.device)] = 1.0
        return tensor * factors.view([-1 if d == axis else 1 for d in range(tensor.dim())])

    def mapped(self, k: int, name: str, tensor: Tensor, maps: Maps, but: int | None = None) -> Tensor:
        """Return a tensor of a member with its units mapped, on all axes, or on all but one."""
        symmetry = self.symmetries[k]
        axes = symmetry.axes.get(name, ((),) * tensor.dim())
        if but is not None:
            axes = tuple(() if d == but else blocks for d, blocks in enumerate(axes))
        return mapped(tensor, axes, symmetry.roles[name], symmetry.groups, maps) if any(axes) else tensor


def read_networks(merger: Merger, states: Sequence[State], objective: Objective | None) -> Networks:
    """Return states as networks of the objective's architecture, or raise ``ValueError`` that says why they are not."""
    check_compatible(states, any_width=True)
    example = example_of(merger, objective)
    assert objective is not None
    return networks_of(objective.module, example, symmetry_of(objective.module, example), states)


def example_of(merger: Merger, objective: Objective | None) -> Input:
    """Return the rows of an objective by which its module is read, or raise ``ValueError`` where there are none."""
    if objective is None:
        raise ValueError(
            f"{type(merger).__name__} needs to know which units each layer makes: give an objective with the module "
            "and some rows to run it on."
        )
    batch = next(iter(objective.batches()), None)
    if batch is None or not n_rows(batch.x):
        raise ValueError(f"{type(merger).__name__} runs the module on some rows, and the objective has none.")
    return mapped_input(batch.x, lambda t: t[:_ROWS])


def networks_of(
    module: nn.Module, example: Input, whole: Symmetry, states: Sequence[State], outputs: Collection[str] = ()
) -> Networks:
    """Return states as networks of a module with some symmetry; raise ``ValueError`` where they cannot be fused."""
    sizes = [sizes_of(whole, state, f"member {k}") for k, state in enumerate(states)]
    left_out = {g: why for g in whole.groups if (why := why_no_mixing(whole, g))}
    symmetry = whole.frozen(left_out)
    for group, why in left_out.items():
        if len({of[group] for of in sizes} | {whole.groups[group].size}) > 1:
            raise ValueError(
                f"Members have different numbers of units in group {group!r}, which cannot be fused: {why}."
            )
    sizes = [{g: of[g] for g in symmetry.groups} for of in sizes]
    symmetries = [resized_symmetry(symmetry, changed_sizes(symmetry, of)) for of in sizes]
    return Networks(module, example, symmetry, states, sizes, symmetries, left_out, outputs)


def changed_sizes(symmetry: Symmetry, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of the groups that have another one in a symmetry."""
    return {g: n for g, n in sizes.items() if n != symmetry.groups[g].size}


def _tied(symmetry: Symmetry, a: str, b: str) -> bool:
    """Return whether units are in the same places of two tensors, and used in the same way."""
    return symmetry.roles.get(a) == symmetry.roles.get(b) and same(symmetry.axes.get(a, ()), symmetry.axes.get(b, ()))


def groups_on(axes: Axes) -> set[str]:
    """Return the groups on the axes of a tensor."""
    return {g for blocks in axes for b in blocks for g in b.groups}
