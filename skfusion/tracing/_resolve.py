"""Bring labels up to date with what is known about their atoms."""

from __future__ import annotations

import numpy as np

from skfusion.tracing._atoms import Atoms, ConflictError
from skfusion.tracing._axis import Atom, Axis, Meaning, atoms_in, index_of, units, widen


class Resolver(Atoms):
    """Atoms that can be replaced by what they turned out to be.

    An atom whose context holds a pinned atom is a *family*: it moves in another way for each index of the pinned one,
    so each index has an *instance*, which is an atom of its own. Packed projections and stacked tensors are of this
    kind.
    """

    def resolve(self, axis: Axis) -> Axis:
        """Bring a label up to date, and return it."""
        for _ in range(2000):
            if not any(self._resolve_atom(axis, self.atoms[a]) for a in axis.atoms):
                return axis
        raise ConflictError("a label that is never done")

    def _resolve_atom(self, axis: Axis, atom: Atom) -> bool:
        """Replace one atom in a label; return whether there was something to do."""
        if atom.meaning is not None:
            found = axis.first_column(atom.id)
            assert found is not None
            column, positions = found
            index = index_of(axis.paths[positions, column])
            axis.replace(column, positions, (atom.meaning[0][index], atom.meaning[1][index]))
            return True
        if atom.pinned and not self.families(atom.id):
            self.fold(axis, atom.id)
            return True
        return any(self._resolve_family(axis, atom, t) for t in list(atom.instances) if t in axis.atoms)

    def fold(self, axis: Axis, atom: int) -> None:
        """Turn the units of a pinned atom into tags."""
        while (found := axis.first_column(atom)) is not None:
            column, positions = found
            index = index_of(axis.paths[positions, column])
            axis.replace(column, positions, (np.zeros((len(positions), 0), np.int64), index + 1))

    def _resolve_family(self, axis: Axis, family: Atom, over: int) -> bool:
        """Replace a family by its instances where the atom that it ranges over stands in the same paths."""
        values = axis.values(over)
        found = axis.first_column(family.id, values >= 0)
        if found is None:
            return False
        column, positions = found
        index, values = index_of(axis.paths[positions, column]), values[positions]
        instances = {int(v): self.instance(family, over, int(v)) for v in np.unique(values)}
        depth = max(paths.shape[1] for paths, _ in instances.values())
        new = np.empty((len(positions), depth), np.int64)
        tags = np.empty(len(positions), np.int64)
        for v, (paths, t) in instances.items():
            here = values == v
            new[here], tags[here] = widen(paths, depth)[index[here]], t[index[here]]
        before = axis.paths
        axis.replace(column, positions, (new, tags))
        return before.shape != axis.paths.shape or bool((before != axis.paths).any())

    # ------------------------------------------------------------------------------------------------------- families

    def instance(self, family: Atom, over: int, index: int) -> Meaning:
        """Return what a family is for one index of the pinned atom that it ranges over."""
        instances = family.instances.setdefault(over, {})
        if index not in instances:
            if not family.pinned and any(t != over and made for t, made in family.instances.items()):
                self.pin(family.id, "a family over two pinned indices")  # its instances would have to commute
            atom = family if family.pinned else self.new(family.size, self._context_at(family, over, index))
            instances[index] = (units(atom), np.zeros(family.size, np.int64))
        return instances[index]

    def _context_at(self, family: Atom, over: int, index: int) -> set[int]:
        """Return the context of an instance, where other families over the same atom are instances too."""
        out: set[int] = set()
        for c in (self.context_of(family) or frozenset()) - {over}:
            atom = self.atoms[c]
            ranges = over in (self.context_of(atom) or ())
            out |= set(atoms_in(self.instance(atom, over, index)[0])) if ranges and not atom.pinned else {c}
        return out

    def at_index(self, axis: Axis, over: int, index: int) -> Axis:
        """Replace all families over a pinned atom by their instances for one index; return the label."""
        for _ in range(50):
            self.resolve(axis)
            family = next((a for a in axis.atoms if self.ranges_over(a, over)), None)
            if family is None:
                return axis
            found = axis.first_column(family)
            assert found is not None
            column, positions = found
            paths, tags = self.instance(self.atoms[family], over, index)
            element = index_of(axis.paths[positions, column])
            axis.replace(column, positions, (paths[element], tags[element]))
        raise ConflictError("a family of families without end")

    def ranges_over(self, atom: int, over: int) -> bool:
        """Return whether an atom moves, and may do so in another way for each unit of another one."""
        return not self.atoms[atom].pinned and over in (self.context_of(self.atoms[atom]) or ())
