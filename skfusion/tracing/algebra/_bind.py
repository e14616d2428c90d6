"""Bind an atom to a description by other atoms, restrict what its permutation may depend on, or split it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Set

import numpy as np

from skfusion.tracing.algebra._atoms import Atoms, ConflictError
from skfusion.tracing.algebra._axis import (
    Atom,
    Axis,
    Ints,
    Meaning,
    atom_of,
    atoms_in,
    compress,
    index_of,
    outer_atoms,
    row_labels,
    unit,
    units,
)

MEETS_PINNED = "meets an axis that is pinned"
MOST_PARTS = 16
"""An atom that families range over is pinned rather than split into more parts."""


class Binder(Atoms, ABC):
    """Atoms that can be bound to others, or split where their units turn out to be different."""

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

    # ---------------------------------------------------------------------------------------------------------- parts

    def close(self, paths: Ints, tags: Ints, why: str) -> bool:
        """Split one atom whose units occur in different ways in a part of an axis; return whether there was one.

        An operation that treats this part by itself is respected only by permutations that map the part to itself, so
        units inside and outside of it cannot be exchanged. Call again until nothing is left to split.
        """
        paths = compress(paths)
        if paths.shape[1] == 0:
            return False
        for column in range(paths.shape[1]):
            for index in atoms_in(paths[:, column : column + 1]):
                atom = self.atoms[index]
                if atom.pinned:
                    continue
                here = atom_of(paths[:, column]) == index
                part = _different(atom, paths[here], tags[here], column)
                if part is not None:
                    self.split(atom, part, why)
                    return True
        return False

    def split(self, atom: Atom, part: Ints, why: str) -> None:
        """Split an atom into parts; ``part`` has the number of the part of each unit."""
        if self.families(atom.id):
            self._split_index(atom, part, why)
            return
        atom.why = atom.why or self.reason(why)
        paths, tags = np.full((atom.size, 1), -1, np.int64), np.zeros(atom.size, np.int64)
        for i, members in enumerate(_members(part)):
            tags[members] = i + 1  # the tag keeps the parts apart
            if len(members) > 1:
                paths[members] = units(self.new(len(members), atom.context))
        self.bind(atom, (compress(paths), tags))

    def _split_index(self, atom: Atom, part: Ints, why: str) -> None:
        """Split an atom that families range over: the number of its part, which is pinned, is put before each unit.

        Each family becomes one over this number, with an instance for each part.
        """
        families, parts = self.families(atom.id), _members(part)
        if len(parts) > MOST_PARTS or any(f.instances for f in families):
            self.pin(atom.id, why)
            return
        atom.why = atom.why or self.reason(why)
        number = self.new(len(parts), (), pinned=True)
        paths = np.full((atom.size, 2), -1, np.int64)
        contexts: list[set[int]] = []
        for i, members in enumerate(parts):
            paths[members, 0] = unit(number, np.full(len(members), i))
            contexts.append(set())
            if len(members) > 1:
                inner = self.new(len(members), atom.context)
                paths[members, 1:] = units(inner)
                contexts[i].add(inner.id)
        self._range_over(families, atom, number, contexts)
        self.bind(atom, (paths, np.zeros(atom.size, np.int64)))

    def _range_over(self, families: list[Atom], before: Atom, number: Atom, contexts: list[set[int]]) -> None:
        """Make families range over the number of the part, and their instances over the units of the part."""
        known = {f.id: self.context_of(f) or frozenset() for f in families}
        instance: dict[tuple[int, int], int] = {}
        for family in sorted(families, key=lambda f: len(known[f.id])):
            instances: dict[int, Meaning] = {}
            for i, context in enumerate(contexts):
                others = {instance.get((c, i), c) for c in known[family.id] if c != before.id}
                atom = self.new(family.size, others | context)
                instance[family.id, i] = atom.id
                instances[i] = units(atom), np.zeros(family.size, np.int64)
            family.context = (known[family.id] - {before.id}) | {number.id}
            self.depend(family, (number.id,))
            family.instances[number.id] = instances


def _members(part: Ints) -> list[Ints]:
    return [np.nonzero(part == p)[0] for p in np.unique(part)]


def _different(atom: Atom, paths: Ints, tags: Ints, column: int) -> Ints | None:
    """Number units by what they occur with, the rest of paths and the tags; None where that is the same for all."""
    rest = row_labels(np.concatenate([np.delete(paths, column, 1), tags[:, None]], 1))
    index = index_of(paths[:, column])
    order = np.lexsort((rest, index))
    rest, counts = rest[order], np.bincount(index, minlength=atom.size)
    if (counts == counts[0]).all():
        table = rest.reshape(atom.size, -1)
        if (table == table[:1]).all():
            return None
    ends = np.cumsum(counts)
    seen: dict[bytes, int] = {}
    occurrences = (rest[a:b].tobytes() for a, b in zip(ends - counts, ends, strict=True))
    return np.array([seen.setdefault(s, len(seen)) for s in occurrences], np.int64)
