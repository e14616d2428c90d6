"""Bind an atom to a description by other atoms, and restrict what its permutation may depend on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Set

import numpy as np

from skfusion.tracing._atoms import ConflictError
from skfusion.tracing._axis import Atom, Axis, Ints, Meaning, atoms_in, outer_atoms, unit
from skfusion.tracing._resolve import Resolver

MEETS_PINNED = "meets an axis that is pinned"


class Binder(Resolver, ABC):
    """Atoms that can be bound to others."""

    @abstractmethod
    def unify(self, a: Axis, b: Axis, why: str = MEETS_PINNED) -> None:
        """Make two axes move together: bind, split or pin atoms until their paths are equal."""

    def pin_axis(self, axis: Axis, why: str) -> None:
        """Pin all units of an axis."""
        self.pin_all(self.resolve(axis).atoms, why)
        self.resolve(axis)

    def pin_axes(self, axes: Iterable[Axis], why: str) -> None:
        """Pin all units of several axes."""
        for axis in axes:
            self.pin_axis(axis, why)

    def pin_all(self, atoms: Iterable[int], why: str) -> None:
        """Pin several atoms."""
        for atom in atoms:
            self.pin(atom, why)

    # ------------------------------------------------------------------------------------------------------- contexts

    def restrict(self, index: int, allowed: Set[int]) -> None:
        """Restrict the atoms that the permutation of an atom may depend on to the allowed ones."""
        atom = self.atoms[index]
        if atom.pinned:
            return
        before = self.context_of(atom)
        after = frozenset(allowed if before is None else before & allowed) - {index}
        if after == before:
            return
        self.changes += 1
        atom.context = after
        self.depend(atom, after)
        for over in [t for t in atom.instances if t not in after]:
            self._merge_instances(atom, over)

    def restrict_axis(self, axis: Axis, allowed: Set[int]) -> None:
        """Restrict the contexts of an axis to the allowed atoms, and those that are left of each atom in its paths."""
        for _ in range(20):  # a restriction may merge instances, and so put other atoms into the paths
            before = self.resolve(axis).atoms
            outer = outer_atoms(axis.paths)
            for atom in before:
                self.restrict(atom, allowed | outer[atom])
            if self.resolve(axis).atoms == before:
                return

    def _merge_instances(self, family: Atom, over: int) -> None:
        """Make a family independent of a pinned atom: all its instances become one."""
        first, *others = [Axis(*meaning) for meaning in family.instances.pop(over).values()]
        for other in others:
            self.unify(first, other)
        self.resolve(first)
        if family.meaning is None:
            outer = outer_atoms(first.paths)
            for atom in first.atoms:
                self.restrict(atom, (family.context or frozenset()) | outer[atom])
            self.bind(family, (first.paths, first.tags))

    # ---------------------------------------------------------------------------------------------------------- bonds

    def bind(self, atom: Atom, meaning: Meaning) -> None:
        """Give the units of an atom a meaning in terms of other atoms; their contexts become those of the parts."""
        paths, tags = meaning
        parts = atoms_in(paths)
        if atom.id in parts:
            raise ConflictError("an atom would contain itself")
        if atom.pinned:
            atom.meaning = meaning
            for part in parts:
                self._pin(part, atom.why or "")
            return
        context, outer = self.context_of(atom), outer_atoms(paths)
        atom.meaning = meaning
        for dependent in self.dependents(atom.id):
            self.context_of(dependent)  # which rewrites it in terms of the parts
        if context is not None:
            for part in parts:
                self.restrict(part, context | outer[part])
        for over, instances in list(atom.instances.items()):  # what is known of instances holds for the parts too
            for index, known in list(instances.items()):
                self.unify(Axis(*known), self.at_index(Axis(paths, tags), over, index))

    def refine(self, atom: Atom, outer_index: Ints) -> None:
        """Bind an atom to a product of the given outer index of each unit, and its rank among those of that index."""
        n_outer = int(outer_index.max()) + 1
        n_inner = atom.size // n_outer
        if (np.bincount(outer_index, minlength=n_outer) != n_inner).any():
            raise ConflictError("parts of different sizes")
        rank = np.zeros(atom.size, np.int64)
        rank[np.argsort(outer_index, kind="stable")] = np.tile(np.arange(n_inner), n_outer)
        columns = []
        context = self.context_of(atom)
        if n_outer > 1:
            outer = self.new(n_outer, context)
            columns.append(unit(outer, outer_index))
            context = None if context is None else context | {outer.id}
        if n_inner > 1:
            columns.append(unit(self.new(n_inner, context), rank))
        self.bind(atom, (np.stack(columns, 1), np.zeros(atom.size, np.int64)))
