"""The group law of permutations, some of which are indexed by the units of other groups (a wreath product)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skfusion.symmetry._group import Group, Permutations


def identity(groups: Mapping[str, Group]) -> dict[str, np.ndarray]:
    """Return the element that moves nothing."""
    return {
        g.name: np.broadcast_to(np.arange(g.size), (*_context_sizes(groups, g), g.size)).copy() for g in groups.values()
    }


def completed(groups: Mapping[str, Group], perms: Permutations) -> dict[str, np.ndarray]:
    """Return permutations of all groups, after checking those in ``perms``; the others are identities."""
    out = identity(groups)
    for name, p in perms.items():
        if name not in out:
            raise ValueError(f"There is no group {name!r}; the groups are {[*out]}.")
        p = np.asarray(p)
        if p.shape != out[name].shape or not (np.sort(p, axis=-1) == out[name]).all():
            raise ValueError(
                f"The array for group {name!r}, of shape {p.shape}, is no permutation: its last axis must hold "
                f"each of 0, ..., {groups[name].size - 1} once, in shape {out[name].shape}."
            )
        out[name] = p
    return out


def composed(groups: Mapping[str, Group], first: Permutations, then: Permutations) -> Permutations:
    """Return the element that does what ``first`` does, and then what ``then`` does."""
    return {
        name: np.take_along_axis(first[name][_old_context(groups, g, then)], then[name], -1)
        for name, g in groups.items()
    }


def inverted(groups: Mapping[str, Group], perms: Permutations) -> Permutations:
    """Return the element that undoes another."""
    out = {}
    for name, group in groups.items():
        out[name] = np.empty_like(perms[name])
        out[name][_old_context(groups, group, perms)] = np.argsort(perms[name], -1)
    return out


def _context_sizes(groups: Mapping[str, Group], group: Group) -> tuple[int, ...]:
    return tuple(groups[c].size for c in group.context)


def _old_context(groups: Mapping[str, Group], group: Group, perms: Permutations) -> tuple[np.ndarray, ...]:
    """Return where the units that index a group were before the permutations, for each place that they have after."""
    grids = np.meshgrid(*(np.arange(n) for n in _context_sizes(groups, group)), indexing="ij")
    new = dict(zip(group.context, grids, strict=True))
    return tuple(perms[c][(*(new[d] for d in groups[c].context), new[c])] for c in group.context)
