"""Labels of axes that a reshape merges or cuts.

Merging is always possible: the paths of the outer axis are continued by those of the inner one. Cutting an axis in two
is possible where each path is an outer part and an inner one; atoms are refined into products for that, such as the
width of a transformer into heads and channels, or split or pinned where the cut goes through their units.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from skfusion.tracing.algebra._atoms import ConflictError
from skfusion.tracing.algebra._axis import (
    Atom,
    Axis,
    Ints,
    Meaning,
    atom_of,
    compress,
    fixed_axis,
    index_of,
    row_labels,
)
from skfusion.tracing.algebra._unify import Unifier

CUT = "a reshape cuts the axis"
MOST_OUTER = 64
"""An axis is not cut into more parts than this where each part would have its own label."""


class Reshaper(Unifier):
    """Atoms whose axes can be reshaped."""

    def product(self, axes: Sequence[Axis]) -> Axis:
        """Return the label of several axes merged into one, in row-major order."""
        axes = [self.resolve(a) for a in axes if a.n != 1]
        if not axes:
            return fixed_axis(1)
        if all(a.fixed for a in axes):
            return fixed_axis(prod(a.n for a in axes))
        out = axes[0]
        for axis in axes[1:]:
            paths = [np.repeat(out.paths, axis.n, 0), np.tile(axis.paths, (out.n, 1))]
            tags = np.repeat(out.tags, axis.n) * (int(axis.tags.max()) + 1) + np.tile(axis.tags, out.n)
            out = self.resolve(Axis(np.concatenate(paths, 1), row_labels(tags[:, None])))
        return out

    def factor(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        """Return the labels of an axis cut into axes of the given sizes."""
        if len(sizes) == 1:
            return [axis]
        outer, rest = self._factor(axis, sizes[0], prod(sizes[1:]))
        return [outer, *self.factor(rest, sizes[1:])]

    def view(self, axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis]:
        """Return the labels of a tensor that is reshaped, in row-major order."""
        before, after = [a for a in axes if a.n != 1], [n for n in shape if n != 1]
        reshaped: list[Axis] = []
        while before:  # the fewest axes on both sides that have equally many positions are merged, and cut again
            n_before, n_after = 1, 1
            n_in, n_out = before[0].n, after[0]
            while n_in != n_out:
                if n_in < n_out:
                    n_in *= before[n_before].n
                    n_before += 1
                else:
                    n_out *= after[n_after]
                    n_after += 1
            reshaped += self.factor(self.product(before[:n_before]), after[:n_after])
            before, after = before[n_before:], after[n_after:]
        rest = iter(reshaped)
        return [fixed_axis(1) if n == 1 else next(rest) for n in shape]

    # -------------------------------------------------------------------------------------------------- cutting in two

    def _factor(self, axis: Axis, n_outer: int, n_inner: int) -> tuple[Axis, Axis]:
        """Cut an axis in two; while it is no product of labels, its atoms are refined, split or, in the end, pinned."""
        for _ in range(60):
            self.resolve(axis)
            if n_outer == 1:
                return fixed_axis(1), axis
            if n_inner == 1:
                return axis, fixed_axis(1)
            if axis.fixed:
                return fixed_axis(n_outer), fixed_axis(n_inner)
            paths, tags = axis.paths.reshape(n_outer, n_inner, -1), axis.tags.reshape(n_outer, n_inner)
            depth, lead = _leading(paths, tags)
            n_lead = int(lead.max()) + 1
            # a product: the first columns number the outer positions, and the others are the same in each of them
            if n_lead == n_outer and (paths[:, :, depth:] == paths[:1, :, depth:]).all():
                outer = Axis(paths[:, 0, :depth], row_labels(tags))
                return self.resolve(outer), self.resolve(Axis(paths[0, :, depth:], row_labels(tags.T)))
            if n_lead < n_outer and depth < paths.shape[2] and self._refine_column(paths[:, :, depth], lead):
                continue
            if (paths == paths[:1]).all():  # copies: only tags tell the outer positions apart
                return fixed_axis(n_outer), self.resolve(Axis(paths[0], row_labels(tags.T)))
            if any(self.close(paths[i], tags[i], CUT) for i in range(n_outer)):
                continue
            if n_outer <= MOST_OUTER and self.contexts(axis) <= set(axis.atoms):
                return self._family([(compress(p), t) for p, t in zip(paths, tags, strict=True)])
            self.pin_axis(axis, CUT)
        self.pin_axis(axis, CUT)
        return fixed_axis(n_outer), fixed_axis(n_inner)

    def _refine_column(self, column: Ints, lead: Ints) -> bool:
        """Refine the atom of a column into an index of the outer positions and the rest, where it is such a product."""
        n_outer, n_lead = len(column), int(lead.max()) + 1
        atoms = np.unique(atom_of(column))
        rank_size, uneven = divmod(n_outer, n_lead)
        if uneven or len(atoms) != 1 or atoms[0] < 0 or (np.bincount(lead, minlength=n_lead) != rank_size).any():
            return False
        atom: Atom = self.atoms[int(atoms[0])]
        if atom.pinned or atom.size % rank_size:
            return False
        rank = np.zeros(n_outer, np.int64)
        rank[np.argsort(lead, kind="stable")] = np.tile(np.arange(rank_size), n_lead)
        outer = np.full(atom.size, -1, np.int64)
        outer[index_of(column).reshape(-1)] = np.repeat(rank, column.shape[1])
        if (outer < 0).any() or (outer[index_of(column)] != rank[:, None]).any():
            return False
        try:
            self.refine(atom, outer)
        except ConflictError:
            return False
        return True

    def _family(self, instances: list[Meaning]) -> tuple[Axis, Axis]:
        """Return a pinned outer axis, and an inner one that has another label for each outer position."""
        number = self.new(len(instances), (), pinned=True)
        family = self.new(len(instances[0][1]), (number.id,))
        family.instances[number.id] = dict(enumerate(instances))
        return self.axis_of(number), self.axis_of(family)


def _leading(paths: Ints, tags: Ints) -> tuple[int, Ints]:
    """Return how many columns depend on the outer position only, and a number for their and the tags' content there."""
    depth = 0
    while depth < paths.shape[2] and (paths[:, :, depth] == paths[:, :1, depth]).all():
        depth += 1
    return depth, row_labels(np.concatenate([paths[:, 0, :depth], row_labels(tags)[:, None]], 1))
