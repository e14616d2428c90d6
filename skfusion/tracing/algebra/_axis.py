"""Labels of one axis of a tensor: which unit is at which position.

An *atom* is a set of units that may be exchanged. A unit is one number: the atom in its upper bits, the index within
the atom in its lower ones. Every position of an axis has a *path*, a row of units with the outermost one first, and a
*tag*, a number for everything that does not move: which copy, which part of a concatenation. Permutations take the
position at (path, tag) to the one at (permuted path, tag), so the pairs of an axis are closed under them.

For example, an axis of 6 positions that holds 2 heads of 3 channels each has the paths (head 0, channel 0), (head 0,
channel 1), ...; a flattened image of 4 channels with 9 pixels has the channels as paths and the pixels as tags.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""Paths are of shape (n_positions, depth), padded on the right with -1; tags of shape (n_positions,)."""
Bools = npt.NDArray[np.bool_]
Meaning = tuple[Ints, Ints]
"""Paths and tags of the elements of an atom."""

SHIFT = 32
_INDEX = (1 << SHIFT) - 1
NOTHING = -1


@dataclass(eq=False)
class Atom:
    """A set of units that may be exchanged."""

    id: int
    size: int
    context: frozenset[int] | None = None
    """Atoms that the permutation may depend on, as channels are permuted head by head; None: not known yet."""
    pinned: bool = False
    meaning: Meaning | None = None
    """What the units turned out to be in terms of other atoms; the atom itself is not used any more then."""
    instances: dict[int, dict[int, Meaning]] = field(default_factory=dict)
    """For a family over a pinned atom (by its number): the meaning of the units for each index of that atom."""
    why: str | None = None
    """Why the units, or some of them, cannot be exchanged."""


class Axis:
    """The label of one axis; it is updated in place when more is known about its atoms."""

    __slots__ = ("atoms", "paths", "tags")

    def __init__(self, paths: Ints, tags: Ints | None = None):
        self.paths, self.tags, self.atoms = paths, paths, ()  # type: tuple[Ints, Ints, tuple[int, ...]]
        self.put(paths, np.zeros(len(paths), np.int64) if tags is None else tags)

    def put(self, paths: Ints, tags: Ints) -> None:
        """Replace paths and tags."""
        self.paths, self.tags = compress(paths), tags
        self.atoms = atoms_in(self.paths)

    @property
    def n(self) -> int:
        """The number of positions."""
        return len(self.paths)

    @property
    def fixed(self) -> bool:
        """Whether no position moves."""
        return not self.atoms

    def copy(self) -> Axis:
        """Return a label that is updated independently of this one."""
        return Axis(self.paths, self.tags)

    def at(self, positions: Ints) -> Axis:
        """Return the label of a part of the axis."""
        return Axis(self.paths[positions], self.tags[positions])

    def same(self, other: Axis) -> bool:
        """Return whether two labels are equal, without an update."""
        return np.array_equal(self.paths, other.paths) and np.array_equal(self.tags, other.tags)

    def values(self, atom: int) -> Ints:
        """Return the index of an atom at every position, -1 where it does not occur."""
        if not self.paths.shape[1]:
            return np.full(self.n, NOTHING, np.int64)
        index: Ints = np.where(self.paths >> SHIFT == atom, self.paths & _INDEX, NOTHING).max(1)
        return index

    def first_column(self, atom: int, among: Bools | None = None) -> tuple[int, Ints] | None:
        """Return the first column with an atom and the positions where it is there; None where it does not occur."""
        for column in range(self.paths.shape[1]):
            hit = self.paths[:, column] >> SHIFT == atom
            if among is not None:
                hit &= among
            if hit.any():
                return column, np.nonzero(hit)[0]
        return None

    def replace(self, column: int, positions: Ints, meaning: Meaning) -> None:
        """Put paths of any depth, and their tags, in the place of single units."""
        paths, tags = meaning
        n, depth = self.paths.shape
        width = max(paths.shape[1], 1)
        new = np.full((n, depth - 1 + width), NOTHING, np.int64)
        new[:, : column + 1] = self.paths[:, : column + 1]
        new[:, column + width :] = self.paths[:, column + 1 :]
        new[positions, column : column + width] = NOTHING
        new[positions, column : column + paths.shape[1]] = paths
        more = np.zeros(n, np.int64)  # 0 stays for positions without the unit, so that new tags differ from none
        more[positions] = tags + 1 if tags.any() else 0
        self.put(new, pairs(self.tags, more))


def units(atom: Atom) -> Ints:
    """Return the units of an atom as paths of depth one."""
    return ((np.int64(atom.id) << SHIFT) + np.arange(atom.size, dtype=np.int64))[:, None]


def unit(atom: Atom, index: Ints) -> Ints:
    """Return the units with some indices."""
    return (np.int64(atom.id) << SHIFT) + index


def atom_of(paths: Ints) -> Ints:
    """Return the atom of every unit, -1 where there is none."""
    return paths >> SHIFT


def index_of(paths: Ints) -> Ints:
    """Return the index of every unit within its atom."""
    return paths & _INDEX


def fixed_axis(n: int) -> Axis:
    """Return the label of an axis on which nothing moves."""
    return Axis(np.zeros((n, 0), np.int64), np.arange(n, dtype=np.int64))


def fixed_axes(shape: Iterable[int]) -> list[Axis]:
    """Return the label of a tensor of which nothing moves."""
    return [fixed_axis(n) for n in shape]


def atoms_in(paths: Ints) -> tuple[int, ...]:
    """Return the atoms that occur, in order."""
    atoms: set[int] = set()
    for column in (paths >> SHIFT).T if paths.size else ():
        low, high = int(column.min()), int(column.max())
        atoms.update((low,) if low == high else (np.flatnonzero(np.bincount(column - low)) + low).tolist())
    return tuple(sorted(atoms - {NOTHING}))


def one_signature(paths: Ints) -> bool:
    """Return whether all paths go through the same atoms."""
    return bool((atom_of(paths) == atom_of(paths[:1])).all())


def outer_atoms(paths: Ints) -> dict[int, set[int]]:
    """Return, for every atom, those that are left of it in some path."""
    out: dict[int, set[int]] = {}
    if not paths.size:
        return out
    for row in atom_of(paths[:1]) if one_signature(paths) else np.unique(atom_of(paths), axis=0):
        path = [int(a) for a in row if a >= 0]
        for i, atom in enumerate(path):
            out.setdefault(atom, set()).update(path[:i])
    return out


def compress(paths: Ints) -> Ints:
    """Move empty places to the right, and drop columns that are empty."""
    if paths.shape[1] == 0:
        return paths
    empty = paths < 0
    if not empty.any():
        return paths
    order = np.argsort(empty, axis=1, kind="stable")
    paths = np.take_along_axis(paths, order, 1)
    return paths[:, (paths >= 0).any(0)]


def widen(paths: Ints, depth: int) -> Ints:
    """Pad paths to a depth."""
    missing = depth - paths.shape[1]
    if missing <= 0:
        return paths
    return np.concatenate([paths, np.full((len(paths), missing), NOTHING, np.int64)], 1)


def row_labels(rows: Ints) -> Ints:
    """Number the distinct rows of a matrix, and return the number of each row."""
    if not rows.size or (rows == rows[:1]).all():
        return np.zeros(len(rows), np.int64)
    if rows.shape[1] > 8:  # one sort of whole rows is faster than many of single columns
        rows = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
        return _numbered(rows)
    label = _numbered(rows[:, 0])
    for column in range(1, rows.shape[1]):
        label = pairs(label, _numbered(rows[:, column]))
    return label


def pairs(a: Ints, b: Ints) -> Ints:
    """Number the distinct pairs of two rows of non-negative numbers."""
    return _numbered(a * (int(b.max()) + 1) + b) if b.size and b.any() else a


def one_to_one(a: Ints, b: Ints) -> bool:
    """Return whether two rows of numbers determine each other."""
    distinct = np.unique(np.stack([a, b], 1), axis=0)
    return all(len(np.unique(column)) == len(distinct) for column in distinct.T)


def _numbered(values: npt.NDArray[Any]) -> Ints:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
