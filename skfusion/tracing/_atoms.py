"""The atoms of a trace: which of them are pinned, and which others their permutations may depend on (contexts).

Both only ever go one way: a pinned atom stays pinned, and a known context only shrinks. So the algebra ends, and a
wrong guess can only lose symmetries, which the proof does not mind; it never invents one that the run contradicts.
"""

from __future__ import annotations

from collections.abc import Iterable

from skfusion.tracing._axis import Atom, Axis, atoms_in, fixed_axis, one_signature, units


class ConflictError(Exception):
    """Labels cannot be unified in the way that was tried."""


class Atoms:
    """All atoms of a trace, by number."""

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
