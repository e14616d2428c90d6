"""The group law of permutations, some of which are indexed by the units of other groups (a wreath product)."""

from __future__ import annotations

from abc import ABC
from math import lgamma, log

import numpy as np
import torch

from skfusion.symmetry._group import Group, Permutations

Seed = int | np.random.Generator | torch.Generator | None


class GroupLaw(ABC):
    """The elements of a group of permutations: the identity, random ones, their composition and inversion."""

    groups: dict[str, Group]

    @property
    def log10_order(self) -> float:
        """Logarithm, to base 10, of the number of elements of the group."""
        sizes = ((g.size, self._context_sizes(g)) for g in self.groups.values())
        return float(sum(np.prod(outer) * lgamma(n + 1) for n, outer in sizes)) / log(10)

    def identity(self) -> dict[str, np.ndarray]:
        """Return the element that moves nothing.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        return {
            g.name: np.broadcast_to(np.arange(g.size), (*self._context_sizes(g), g.size)).copy()
            for g in self.groups.values()
        }

    def sample(self, random_state: Seed = None) -> dict[str, np.ndarray]:
        """Return a random element, each with the same probability.

        Parameters
        ----------
        random_state : int, numpy Generator or torch Generator, optional
            The source of randomness.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        if isinstance(random_state, torch.Generator):
            random_state = int(torch.randint(2**31, (), generator=random_state, device=random_state.device))
        rng = np.random.default_rng(random_state)
        # uniform over the group: it is a wreath product, whose elements are free choices of one for each context
        return {name: rng.permuted(p, axis=-1) for name, p in self.identity().items()}

    def complete(self, perms: Permutations) -> dict[str, np.ndarray]:
        """Return permutations of all groups, after checking those of some.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations of some groups.

        Returns
        -------
        dict of ndarray
            The other groups do not move.

        Raises
        ------
        ValueError
            If a name is not a group's, or an array is no permutation of its units.
        """
        out = self.identity()
        for name, p in perms.items():
            if name not in out:
                raise ValueError(f"There is no group {name!r}; the groups are {[*out]}.")
            p = np.asarray(p)
            if p.shape != out[name].shape or not (np.sort(p, axis=-1) == out[name]).all():
                raise ValueError(
                    f"The array for group {name!r}, of shape {p.shape}, is no permutation: its last axis must hold "
                    f"each of 0, ..., {self.groups[name].size - 1} once, in shape {out[name].shape}."
                )
            out[name] = p
        return out

    def compose(self, first: Permutations, then: Permutations) -> Permutations:
        """Return the element that does what ``first`` does, and then what ``then`` does.

        Parameters
        ----------
        first, then : dict of ndarray
            Permutations.

        Returns
        -------
        dict of ndarray
            ``permute(compose(first, then), s)`` is ``permute(then, permute(first, s))``.
        """
        first, then = self.complete(first), self.complete(then)
        # what ``first`` did to units is looked up where they stood before ``then`` moved the units that index them
        return {
            name: np.take_along_axis(first[name][self.old_context(g, then)], then[name], -1)
            for name, g in self.groups.items()
        }

    def invert(self, perms: Permutations) -> Permutations:
        """Return the element that undoes another.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        perms, out = self.complete(perms), {}
        for name, group in self.groups.items():
            out[name] = np.empty_like(perms[name])
            out[name][self.old_context(group, perms)] = np.argsort(perms[name], -1)
        return out

    def _context_sizes(self, group: Group) -> tuple[int, ...]:
        return tuple(self.groups[c].size for c in group.context)

    def old_context(self, group: Group, perms: Permutations) -> tuple[np.ndarray, ...]:
        """Return where the units that index a group were before permutations, for each place that they have after.

        Parameters
        ----------
        group : Group
            Whose context is looked up.
        perms : dict of ndarray
            Permutations of all groups, as :meth:`complete` returns them.

        Returns
        -------
        tuple of ndarray
            An index into what there is for each place of the context.
        """
        grids = np.meshgrid(*(np.arange(n) for n in self._context_sizes(group)), indexing="ij")
        new = dict(zip(group.context, grids, strict=True))
        return tuple(perms[c][(*(new[d] for d in self.groups[c].context), new[c])] for c in group.context)
