"""First-order unification of the labels of two axes that an operation brings together.

A matrix product that sums over two axes is invariant only if both are permuted in the same way. The units of both must
therefore become the same atoms: a flat axis is bound to whatever the other is, paths of the same kind are matched
column by column, units that turn out to be different are split (both in `_bind`), and what cannot be made equal is
pinned, which loses a symmetry and is never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skfusion.tracing.algebra._atoms import ConflictError
from skfusion.tracing.algebra._axis import (
    Atom,
    Axis,
    Ints,
    atom_of,
    atoms_in,
    compress,
    index_of,
    one_to_one,
    pairs,
    row_labels,
    widen,
)
from skfusion.tracing.algebra._bind import MEETS_PINNED, Binder

DIFFERENT = "meets an axis of another structure"
WITH_ITSELF = "meets its own units in another order"
MOST_STEPS = 400


class Unifier(Binder):
    """Atoms whose axes can be made to move together."""

    def unify(self, a: Axis, b: Axis, why: str = MEETS_PINNED) -> None:
        """Make two axes move together: bind, split or pin atoms until their paths are equal.

        Each step does one thing, after which both labels are updated. Where no step helps, both axes are pinned.
        ``why`` is the reason of atoms that are pinned because the other axis is.
        """
        if a is b:
            return
        if a.n != b.n:
            raise ConflictError(f"axes of {a.n} and {b.n} positions cannot be one")
        for _ in range(MOST_STEPS):
            try:
                self.resolve(a)
                self.resolve(b)
                if a.fixed or b.fixed:
                    self.pin_axis(a, why)
                    self.pin_axis(b, why)
                    return
                if self._step(a, b):
                    return
            except ConflictError:
                break
        self.pin_axis(a, DIFFERENT)
        self.pin_axis(b, DIFFERENT)

    def _step(self, a: Axis, b: Axis) -> bool:
        """Do one thing that makes two axes more similar; return whether they are equal."""
        flat_a, flat_b = self._flat(a), self._flat(b)
        if flat_a is not None and flat_a is flat_b:
            if (a.paths == b.paths).all():
                return True
            self.pin(flat_a.id, WITH_ITSELF)
            return False
        # Bind the atom that costs less to lose: one over which no family ranges, and of two such the younger one.
        a_first = flat_a is not None and (flat_b is None or self._cost(flat_a) <= self._cost(flat_b))
        if a_first and flat_a is not None and flat_a.id not in b.atoms:
            return self._bind_to(flat_a, a.paths[:, 0], b.paths, b.tags)
        if flat_b is not None and flat_b.id not in a.atoms:
            return self._bind_to(flat_b, b.paths[:, 0], a.paths, a.tags)
        depth = max(a.paths.shape[1], b.paths.shape[1])
        paths_a, paths_b = widen(a.paths, depth), widen(b.paths, depth)
        if (paths_a == paths_b).all():
            self._match_copies(paths_a, a.tags, b.tags)
            return True
        return self._step_of_parts(a, paths_a, b, paths_b)

    def _hold(self, atoms: Sequence[int], why: str) -> None:
        """Pin atoms; those that are pinned already meet in another order, so no family may range over them any more."""
        for index in atoms:
            if self.atoms[index].pinned:
                for family in self.families(index):
                    self.restrict(family.id, (self.context_of(family) or frozenset()) - {index})
            self.pin(index, why)

    def _flat(self, axis: Axis) -> Atom | None:
        """Return the atom whose units are the positions, each once; None for other axes, or where it is pinned."""
        if axis.paths.shape[1] != 1 or len(axis.atoms) != 1 or (axis.paths < 0).any():
            return None
        atom = self.atoms[axis.atoms[0]]
        if atom.pinned or atom.size != axis.n or (axis.tags != axis.tags[0]).any():
            return None
        return atom if np.bincount(index_of(axis.paths[:, 0])).max() == 1 else None

    def _cost(self, atom: Atom) -> tuple[bool, bool, int]:
        return bool(self.families(atom.id)), bool(atom.instances), -atom.id

    def _bind_to(self, atom: Atom, elements: Ints, paths: Ints, tags: Ints | None = None) -> bool:
        """Bind an atom; row i of the paths is the meaning of its unit ``elements[i]``, and of its copies."""
        first = np.unique(index_of(elements), return_index=True)[1]
        self.bind(atom, (paths[first], np.zeros(len(first), np.int64) if tags is None else tags[first]))
        return False

    def _match_copies(self, paths: Ints, tags_a: Ints, tags_b: Ints) -> None:
        """Pin units that have several copies which are arranged differently on the two sides."""
        signature = row_labels(atom_of(paths))
        for s in np.unique(signature):
            here = signature == s
            if (paths[here] >= 0).any() and not one_to_one(tags_a[here], tags_b[here]):
                self.pin_all(atoms_in(paths[here]), "meets copies of its units in another order")

    def _step_of_parts(self, a: Axis, paths_a: Ints, b: Axis, paths_b: Ints) -> bool:
        """Match the first positions that differ, taken by the atoms that the paths of both sides go through."""
        kind = row_labels(np.concatenate([atom_of(paths_a), atom_of(paths_b)], 1))
        for k in np.unique(kind):
            here = np.nonzero(kind == k)[0]
            left, right = compress(paths_a[here]), compress(paths_b[here])
            if left.shape == right.shape and (left == right).all():
                continue
            if left.shape[1] == 0 or right.shape[1] == 0:
                self._hold(atoms_in(left) + atoms_in(right), MEETS_PINNED)
            elif not (self.close(left, a.tags[here], DIFFERENT) or self.close(right, b.tags[here], DIFFERENT)):
                self._align(left, a.tags[here], right, b.tags[here])
            return False
        return True

    # -------------------------------------------------------------------------------------- paths of another structure

    def _align(self, left: Ints, left_tags: Ints, right: Ints, right_tags: Ints) -> None:
        """Match paths of one kind on each side, each closed under the permutations."""
        flat = left.shape[1] == right.shape[1] == 1
        if flat and atom_of(left[0, 0]) == atom_of(right[0, 0]):
            self._hold(atoms_in(left), WITH_ITSELF)
            return
        for x, x_tags, y, y_tags in ((left, left_tags, right, right_tags), (right, right_tags, left, left_tags)):
            if x.shape[1] > 1:
                continue
            atom = self.atoms[int(atom_of(x[0, 0]))]
            if atom.pinned or atom.id in atoms_in(y):
                continue
            if len(np.unique(x[:, 0])) == len(x):
                self._bind_to(atom, x[:, 0], y, y_tags)
                return
            # Both sides hold copies: they are matched if each unit always meets the same path.
            n_pairs = int(row_labels(np.concatenate([x, y], 1)).max()) + 1
            if n_pairs == atom.size and one_to_one(x_tags, y_tags):
                self._bind_to(atom, x[:, 0], y)
                return
        self._align_columns(left, right)

    def _align_columns(self, left: Ints, right: Ints) -> None:
        """Match paths of which one side has several columns, beginning with the outermost.

        Outermost units that determine each other are the same; where one side is finer, its unit is bound to several
        columns of the other.
        """
        left, right = compress(left), compress(right)
        done = False
        if left.shape[1] and right.shape[1]:
            first_left, first_right = row_labels(left[:, :1]), row_labels(right[:, :1])
            n_left, n_right = int(first_left.max()) + 1, int(first_right.max()) + 1
            n_pairs = int(pairs(first_left, first_right).max()) + 1
            if n_left == n_right == n_pairs:
                done = self._align_outer(left, right, first_left)
            elif n_pairs == n_left:
                done = self._align_finer(left, first_left, right)
            elif n_pairs == n_right:
                done = self._align_finer(right, first_right, left)
        if not done:
            self._hold(atoms_in(left) + atoms_in(right), DIFFERENT)

    def _align_outer(self, left: Ints, right: Ints, label: Ints) -> bool:
        """Match paths whose outermost units determine each other: bind these, or go on with the columns after them."""
        if (left[:, 0] == right[:, 0]).all():
            return self._align_inner(left[:, 1:], right[:, 1:], label)
        x, y = (self.atoms[int(atom_of(paths[0, 0]))] for paths in (left, right))
        if x is y or x.pinned or y.pinned or int(label.max()) + 1 != x.size:
            return False
        self._bind_to(x, left[:, 0], right[:, :1])
        return True

    def _align_inner(self, left: Ints, right: Ints, outer: Ints) -> bool:
        """Match the columns after equal outermost units, for the first of these where they differ."""
        for label in np.unique(outer):
            l, r = left[outer == label], right[outer == label]
            if l.shape == r.shape and (l == r).all():
                continue
            if 0 in (l.shape[1], r.shape[1]):
                self._hold(atoms_in(l) + atoms_in(r), MEETS_PINNED)
                return True
            both = np.unique(np.concatenate([l, r], 1), axis=0)
            l, r = both[:, : l.shape[1]], both[:, l.shape[1] :]
            if 1 in (l.shape[1], r.shape[1]):
                tags = np.zeros(len(both), np.int64)
                self._align(compress(l), tags, compress(r), tags)
            else:
                self._align_columns(l, r)
            return True
        return True

    def _align_finer(self, x: Ints, label: Ints, y: Ints) -> bool:
        """Match paths where the outermost unit of x determines that of y: bind it to as many columns as needed.

        A column that it covers only in part is refined first.
        """
        atom, n = self.atoms[int(atom_of(x[0, 0]))], int(label.max()) + 1
        if atom.pinned:
            return False
        for m in range(1, y.shape[1] + 1):
            head = row_labels(y[:, :m])
            n_head, n_pairs = int(head.max()) + 1, int(pairs(label, head).max()) + 1
            if n_pairs == n == n_head:
                self._bind_to(atom, x[:, 0], y[:, :m])
                return True
            if n_pairs != n or n_head >= n:
                return self._cut_column(label, n, y, m - 1)
        return False

    def _cut_column(self, label: Ints, n: int, y: Ints, column: int) -> bool:
        """Refine the atom of a column into the part of it that each label covers, and the rest."""
        head = row_labels(y[:, :column])
        n_head = int(head.max()) + 1
        cut = self.atoms[int(atom_of(y[0, column]))]
        if cut.pinned or n % n_head or cut.size % (n // n_head):
            return False
        one = head == head[0]
        _, part = np.unique(label[one], return_inverse=True)
        outer = np.full(cut.size, -1, np.int64)
        outer[index_of(y[one, column])] = part.reshape(-1)
        if (outer < 0).any() or outer.max() + 1 != n // n_head:
            return False
        self.refine(cut, outer)
        return True
