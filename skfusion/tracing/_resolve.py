"""Update labels with what has become known about their atoms."""

from __future__ import annotations

import numpy as np

from skfusion.tracing._atoms import Atoms, ConflictError
from skfusion.tracing._axis import Atom, Axis, Meaning, atoms_in, index_of, units, widen


class Resolver(Atoms):
    """Atoms that can be replaced by what they turned out to be.

    An atom whose context has a pinned atom is a *family*: since the indices of the pinned atom stay apart, the units
    may move in another way for each of them, and each index has an *instance*, an atom of its own. Packed projections,
    where queries, keys and values are one weight, and stacked tensors are of this kind.
    """

    def resolve(self, axis: Axis) -> Axis:
        """Update a label, and return it."""
        for _ in range(2000):
            if not any(self._resolve_atom(axis, self.atoms[a]) for a in axis.atoms):
                return axis
        raise ConflictError("a label that does not end to change")

    def _resolve_atom(self, axis: Axis, atom: Atom) -> bool:
        """Replace one atom in a label; return whether anything changed."""
        if atom.meaning is not None:
            self._replace_first(axis, atom.id, atom.meaning)
            return True
        if atom.pinned and not self.families(atom.id):  # while families range over it, its index is still needed
            self.fold(axis, atom.id)
            return True
        return any(self._resolve_family(axis, atom, t) for t in list(atom.instances) if t in axis.atoms)

    def _replace_first(self, axis: Axis, atom: int, meaning: Meaning) -> None:
        """Replace the units of an atom, in the first column that has it, by their meaning."""
        hit = axis.first_column(atom)
        assert hit is not None
        column, positions = hit
        index = index_of(axis.paths[positions, column])
        axis.replace(column, positions, (meaning[0][index], meaning[1][index]))

    def fold(self, axis: Axis, atom: int) -> None:
        """Turn the units of a pinned atom into tags."""
        while (hit := axis.first_column(atom)) is not None:
            column, positions = hit
            index = index_of(axis.paths[positions, column])
            axis.replace(column, positions, (np.zeros((len(positions), 0), np.int64), index + 1))

    def _resolve_family(self, axis: Axis, family: Atom, over: int) -> bool:
        """Replace a family by its instances where the atom that it ranges over is in the same paths."""
        values = axis.values(over)
        hit = axis.first_column(family.id, values >= 0)
        if hit is None:
            return False
        column, positions = hit
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
        """Return the context of an instance: families over the same atom are represented by their instances in it."""
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
            self._replace_first(axis, family, self.instance(self.atoms[family], over, index))
        raise ConflictError("a family of families without end")

    def ranges_over(self, atom: int, over: int) -> bool:
        """Return whether an atom moves, and may do so in another way for each unit of another one."""
        return not self.atoms[atom].pinned and over in (self.context_of(self.atoms[atom]) or ())
