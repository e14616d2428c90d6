"""Where the units of a group are observed in a forward pass, and which permutation their similarities ask for.

A :class:`~skfusion.symmetry.Site` is an activation whose axes belong to groups. A group can be matched there only if
all other groups on that activation are matched already: otherwise the activations of the two networks list different
units on the other axes, and cannot be compared entry by entry.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from skfusion._coupling import assigned, assigned_nested
from skfusion.align.permutation._evidence import Evidence
from skfusion.align.permutation._rows import rows
from skfusion.symmetry import Block, Group, Permutations, Site, Symmetry


class View(NamedTuple):
    """A group of units as one activation shows it."""

    group: Group
    joint: bool
    """Whether units are compared across the outer units too, as the channels of one head with those of another."""
    site: Site
    axis: int
    block: Block

    def cut(self, activation: Tensor) -> Tensor:
        """Return the values of each unit, shape (n_combinations, n_units, n_values); one combination if joint."""
        values = rows(activation, self.site.axes, self.axis, self.block, [*self.group.context, self.group.name])
        return values.flatten(0, -2).unsqueeze(0) if self.joint else values.reshape(-1, *values.shape[-2:])


def clear_views(symmetry: Symmetry, settled: Collection[str]) -> list[View]:
    """Return the views of unmatched groups at sites where all other groups are matched."""
    groups = symmetry.groups
    views = []
    for site in symmetry.sites:
        present = groups_at(site)
        for axis, blocks in enumerate(site.axes):
            for block in blocks:
                for g in block.groups:
                    joint = _is_nested(symmetry, groups[g])
                    compared = {g, *(groups[g].context if joint else ())}
                    if g not in settled and not block.within and present <= compared | {*settled}:
                        views.append(View(groups[g], joint, site, axis, block))
    return views


def groups_at(site: Site) -> set[str]:
    """Return the groups whose units are at a site."""
    return {g for blocks in site.axes for block in blocks for g in block.groups}


def chosen(views: Sequence[View], there: Container[Site], where: str) -> list[View]:
    """Return the views on the requested side of the layers; for groups that have none there, those on the other."""
    sides: dict[str, tuple[list[View], list[View]]] = {}
    for view in views:
        if view.site in there:
            requested = (view.site.argument is None) == (where == "pre")
            sides.setdefault(view.group.name, ([], []))[0 if requested else 1].append(view)
    return [view for requested, other in sides.values() for view in (requested or other)]


def mean_similarity(views: Sequence[View], observed: Sequence[Evidence]) -> dict[str, np.ndarray]:
    """Return the similarity of units by group, as the mean over its views."""
    by_group: dict[str, list[np.ndarray]] = {}
    for view, evidence in zip(views, observed, strict=True):
        similarity = evidence.similarity()
        if similarity is not None:
            by_group.setdefault(view.group.name, []).append(similarity)
    return {name: np.mean(values, axis=0) for name, values in by_group.items()}


def solve(symmetry: Symmetry, similarity: dict[str, np.ndarray], settled: Collection[str]) -> Permutations:
    """Return the permutations of the groups that can be matched now.

    A group without similarities is left out. An outer group, such as heads, is matched together with its inner ones,
    such as the channels of each head, since exchanging two heads is worth what their best matched channels are.
    """
    perms: dict[str, np.ndarray] = {}
    for name, group in symmetry.groups.items():
        inner = [g for g in symmetry.groups.values() if g.context == (name,) and _is_nested(symmetry, g)]
        pairs = {
            g.name: similarity[g.name].reshape(group.size, g.size, group.size, g.size)
            for g in inner
            if g.name in similarity
        }
        if pairs and name not in settled:
            alone = similarity.get(name)
            perms.update(assigned_nested(pairs, None if alone is None else alone[0], name))
        elif pairs:  # the outer units are matched already, so unit i is compared with unit i
            for g, values in pairs.items():
                perms[g] = np.stack([assigned(values[i, :, i]) for i in range(group.size)])
        elif name in similarity and not _is_nested(symmetry, group):
            sizes = [symmetry.groups[c].size for c in group.context]
            perms[name] = np.stack([assigned(values) for values in similarity[name]]).reshape(*sizes, group.size)
    return perms


def _is_nested(symmetry: Symmetry, group: Group) -> bool:
    return len(group.context) == 1 and not symmetry.groups[group.context[0]].context


def mean_matched(symmetry: Symmetry, perms: Permutations, similarity: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean similarity of matched units by group; that of inner groups for an outer one without its own."""
    matched: dict[str, float] = {}
    for name, p in perms.items():
        group = symmetry.groups[name]
        if name in similarity and _is_nested(symmetry, group):
            outer = perms.get(group.context[0], np.arange(symmetry.groups[group.context[0]].size))
            pairs = similarity[name].reshape(len(outer), group.size, len(outer), group.size)
            i, k = np.ogrid[: len(outer), : group.size]
            matched[name] = float(pairs[i, k, outer[:, None], p].mean())
        elif name in similarity:
            values = similarity[name]
            matched[name] = float(np.take_along_axis(values, p.reshape(*values.shape[:2], 1), 2).mean())
    for name in perms.keys() - matched.keys():
        inner = [g.name for g in symmetry.groups.values() if g.context == (name,) and g.name in matched]
        matched[name] = float(np.mean([matched[g] for g in inner]))
    return matched
