"""The atoms of a trace: what is known of them, and labels that are updated with it.

Atoms are pinned, and their permutations may depend on others (contexts). Both only ever go one way: a pinned atom stays
pinned, and a known context only shrinks. So the algebra ends, and a wrong guess can only lose symmetries, which the
proof does not mind; it never invents one that the run contradicts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skfusion.tracing.algebra._axis import (
    Atom,
    Axis,
    Meaning,
    atoms_in,
    fixed_axis,
    index_of,
    one_signature,
    units,
    widen,
)


class ConflictError(Exception):
    """Labels cannot be unified in the way that was tried."""


class Atoms:
    """All atoms of a trace, by number, which can be replaced by what they turned out to be.

    An atom whose context has a pinned atom is a *family*: since the indices of the pinned atom stay apart, the units
    may move in another way for each of them, and each index has an *instance*, an atom of its own. Packed projections,
    where queries, keys and values are one weight, and stacked tensors are of this kind.
    """

    def __init__(self) -> None:
        self.atoms: list[Atom] = []
        self.operation, self.where = "", ""  # what runs at present, and in which module: reasons for pins name them
        self.notes: list[str] = []  # remarks for the symmetry
        self.changes = 0  # grows whenever an atom is pinned or loses a part of its context
        self._dependents: dict[int, set[int]] = {}

    def new(self, size: int, context: Iterable[int] | None = None, pinned: bool = False) -> Atom:
        """Return a new atom."""
        atom = Atom(len(self.atoms), size, None if context is None else frozenset(context), pinned)
        self.atoms.append(atom)
        self.depend(atom, atom.context or ())
        return atom

    def axis_of(self, atom: Atom) -> Axis:
        """Return the label of an axis whose positions are the units of an atom."""
        return Axis(units(atom))

    def fresh(self, n: int, context: Iterable[int] | None = None) -> Axis:
        """Return the label of an axis about which nothing is known: its units may move freely."""
        return fixed_axis(n) if n <= 1 else self.axis_of(self.new(n, context))

    # ------------------------------------------------------------------------------------------------------- contexts

    def depend(self, atom: Atom, contexts: Iterable[int]) -> None:
        """Record that the permutation of an atom may depend on others."""
        for context in contexts:
            self._dependents.setdefault(context, set()).add(atom.id)

    def dependents(self, index: int) -> list[Atom]:
        """Return the atoms that depend on atom ``index``, or did so once."""
        return [self.atoms[d] for d in sorted(self._dependents.get(index, ()))]

    def families(self, index: int) -> list[Atom]:
        """Return the atoms that still move, and may do so in another way for each unit of atom ``index``."""
        dependents = self.dependents(index)
        return [a for a in dependents if a.meaning is None and not a.pinned and a.context and index in a.context]

    def context_of(self, atom: Atom) -> frozenset[int] | None:
        """Return the context in terms of atoms that have no other meaning; None where it is not known yet."""
        if atom.context is None:
            return None
        current: set[int] = set()
        open_ = list(atom.context)
        while open_:
            c = self.atoms[open_.pop()]
            if c.meaning is None:
                current.add(c.id)
            elif one_signature(c.meaning[0]):
                open_.extend(atoms_in(c.meaning[0]))
            # An atom that was split into different parts has no single index any more: the dependence is dropped.
        current.discard(atom.id)
        if current != atom.context:
            atom.context = frozenset(current)
            self.depend(atom, current)
        return atom.context

    def contexts(self, axis: Axis) -> set[int]:
        """Return the contexts of all atoms of an axis that still move."""
        out: set[int] = set()
        for a in axis.atoms:
            if not self.atoms[a].pinned:
                out |= self.context_of(self.atoms[a]) or frozenset()
        return out

    # ----------------------------------------------------------------------------------------------------------- pins

    def reason(self, why: str) -> str:
        """Return a reason with the operation and the module that are running."""
        place = " in ".join(filter(None, (self.operation, self.where)))
        return f"{why} ({place})" if place else why

    def pin(self, index: int, why: str) -> None:
        """Pin the units of an atom, with all that they turned out to be: they may not move any more."""
        if not self.atoms[index].pinned:
            self._pin(index, self.reason(why))

    def _pin(self, index: int, reason: str) -> None:
        open_ = [index]
        while open_:
            atom = self.atoms[open_.pop()]
            if atom.pinned:
                continue
            self.changes += 1
            atom.pinned, atom.why = True, atom.why or reason
            for instances in atom.instances.values():
                for paths, _ in instances.values():
                    open_.extend(atoms_in(paths))
            if atom.meaning is not None:
                open_.extend(atoms_in(atom.meaning[0]))

    # --------------------------------------------------------------------------------------------------- updated labels

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
