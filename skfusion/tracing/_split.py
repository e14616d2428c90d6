"""Split atoms whose units turn out to be different, so that only some of them can still be exchanged."""

from __future__ import annotations

from abc import ABC

import numpy as np

from skfusion.tracing._axis import Atom, Ints, Meaning, atom_of, atoms_in, compress, index_of, row_labels, unit, units
from skfusion.tracing._bind import Binder

MOST_PARTS = 16
"""An atom that families range over is pinned rather than split into more parts."""


class Splitter(Binder, ABC):
    """Atoms that can be split."""

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
