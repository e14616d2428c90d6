"""Where groups are looked at, and which units go where by what was seen."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from skfusion.align._base import Alignment
from skfusion.align.permutation._assign import assigned, assigned_nested
from skfusion.align.permutation._evidence import Evidence
from skfusion.align.permutation._rows import rows
from skfusion.symmetry import Block, Group, Permutations, Site, Symmetry


class View(NamedTuple):
    """Where a group is looked at."""

    group: Group
    joint: bool
    """Whether units are compared across the units of the group that indexes them."""
    site: Site
    axis: int
    block: Block

    def cut(self, activation: Tensor) -> Tensor:
        """Return activations of units, shape (n_combinations, n_units, n_values); in one combination where joint."""
        found = rows(activation, self.site.axes, self.axis, self.block, [*self.group.context, self.group.name])
        return found.flatten(0, -2).unsqueeze(0) if self.joint else found.reshape(-1, *found.shape[-2:])


def clear_views(symmetry: Symmetry, settled: Collection[str]) -> list[View]:
    """Return the views of groups that are not settled, where all other units stand in the order of the reference."""
    groups, found = symmetry.groups, []
    for site in symmetry.sites:
        here = {g for blocks in site.axes for block in blocks for g in block.groups}
        for axis, blocks in enumerate(site.axes):
            for block in blocks:
                for g in block.groups:
                    joint = _is_nested(symmetry, groups[g])
                    told = {g, *(groups[g].context if joint else ())}  # whose units are told apart
                    if g not in settled and not block.within and here <= told | {*settled}:
                        found.append(View(groups[g], joint, site, axis, block))
    return found


def chosen(views: Sequence[View], there: Container[Site], where: str) -> list[View]:
    """Return the views on the asked side of the layers, or on the other one for groups that are seen only there."""
    found: dict[str, tuple[list[View], list[View]]] = {}
    for view in views:
        if view.site in there:
            side = 0 if (view.site.argument is None) == (where == "pre") else 1
            found.setdefault(view.group.name, ([], []))[side].append(view)
    return [view for asked, other in found.values() for view in (asked or other)]


def mean_worth(views: Sequence[View], seen: Sequence[Evidence]) -> dict[str, np.ndarray]:
    """Return how alike units are by group: the mean over views."""
    found: dict[str, list[np.ndarray]] = {}
    for view, evidence in zip(views, seen, strict=True):
        worth = evidence.worth()
        if worth is not None:
            found.setdefault(view.group.name, []).append(worth)
    return {name: np.mean(worths, axis=0) for name, worths in found.items()}


def solved(symmetry: Symmetry, worth: dict[str, np.ndarray], settled: Collection[str]) -> Alignment:
    """Return where the units of some groups go, by what they are worth to one another.

    Groups of which nothing is known are left out, and so are those that carry others with them of which something is
    known, until that is so.
    """
    perms: Permutations = {}
    for name, group in symmetry.groups.items():
        inner = [g for g in symmetry.groups.values() if g.context == (name,) and _is_nested(symmetry, g)]
        pairs = {
            g.name: worth[g.name].reshape(group.size, g.size, group.size, g.size) for g in inner if g.name in worth
        }
        if pairs and name not in settled:
            alone = worth.get(name)
            perms.update(assigned_nested(pairs, None if alone is None else alone[0], name))
        elif pairs:  # the outer units stand already
            for g, values in pairs.items():
                perms[g] = np.stack([assigned(values[i, :, i]) for i in range(group.size)])
        elif name in worth and not _is_nested(symmetry, group):
            sizes = [symmetry.groups[c].size for c in group.context]
            perms[name] = np.stack([assigned(w) for w in worth[name]]).reshape(*sizes, group.size)
    return Alignment(perms, matched=_matched(symmetry, perms, worth))


def _is_nested(symmetry: Symmetry, group: Group) -> bool:
    return len(group.context) == 1 and not symmetry.groups[group.context[0]].context


def _matched(symmetry: Symmetry, perms: Permutations, worth: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean worth of matched units, by group; heads are as alike as their channels."""
    found: dict[str, float] = {}
    for name, p in perms.items():
        group = symmetry.groups[name]
        if name in worth and _is_nested(symmetry, group):
            outer = perms.get(group.context[0], np.arange(symmetry.groups[group.context[0]].size))
            pairs = worth[name].reshape(len(outer), group.size, len(outer), group.size)
            i, k = np.ogrid[: len(outer), : group.size]
            found[name] = float(pairs[i, k, outer[:, None], p].mean())
        elif name in worth:
            values = worth[name]
            found[name] = float(np.take_along_axis(values, p.reshape(*values.shape[:2], 1), 2).mean())
    for name in perms.keys() - found.keys():
        found[name] = float(
            np.mean([found[g.name] for g in symmetry.groups.values() if g.context == (name,) and g.name in found])
        )
    return found
