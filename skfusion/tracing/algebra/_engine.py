"""Labels of whole tensors: the operations that the rules in `rules/` are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skfusion.tracing.algebra._axis import Axis, Ints, fixed_axis, outer_atoms, widen
from skfusion.tracing.algebra._bind import MEETS_PINNED
from skfusion.tracing.algebra._reshape import Reshaper

Label = list[Axis]
"""The label of each axis of a tensor."""
ORDERED = "meets a pinned index in another order"


class Engine(Reshaper):
    """The algebra of labels."""

    def atoms_of(self, axes: Sequence[Axis]) -> set[int]:
        """Return the atoms of several axes."""
        return {atom for axis in axes for atom in self.resolve(axis).atoms}

    # ------------------------------------------------------------------------------------------------- keeping contexts

    def tidy(self, label: Sequence[Axis]) -> Label:
        """Return the label of a new tensor, whose axes can only depend on one another.

        Contexts are restricted to the atoms of the tensor, as an index that was summed over, or is on another tensor,
        does not exist here. Pinned atoms that nothing ranges over become tags.
        """
        known = self.atoms_of(label)
        for axis in label:
            for atom in axis.atoms:
                if (self.context_of(self.atoms[atom]) or frozenset()) - known:
                    self.restrict(atom, known)
        return self.normal([self.resolve(axis) for axis in label])

    def normal(self, label: Sequence[Axis]) -> Label:
        """Return a label without ambiguous contexts, and without pinned atoms that nothing ranges over."""
        while self._drop_ambiguous([self.resolve(axis) for axis in label]):
            pass
        used = set().union(*(self.contexts(axis) for axis in label))
        out = []
        for axis in label:
            idle = [a for a in axis.atoms if self.atoms[a].pinned and a not in used]
            axis = axis.copy() if idle else axis
            for atom in idle:
                self.fold(axis, atom)
            out.append(axis)
        return out

    def _drop_ambiguous(self, label: Label) -> bool:
        """Drop contexts that are on two axes of the tensor, as in attention maps: it is unclear which one is meant."""
        seen: set[int] = set()
        twice: set[int] = set()
        for axis in label:
            twice |= seen & set(axis.atoms)
            seen |= set(axis.atoms)
        dropped = False
        for axis in label if twice else ():
            for atom in axis.atoms:
                context = self.context_of(self.atoms[atom]) or frozenset()
                ambiguous = (context & twice) - set(axis.atoms)
                if ambiguous and not self.atoms[atom].pinned:
                    self.restrict(atom, context - ambiguous)
                    dropped = True
        return dropped

    def settle(self, label: Sequence[Axis]) -> None:
        """Give atoms without a known context one: what is left of them in this tensor.

        The order of axes is a guess, taken before the first operation that is no rearrangement. It fits the usual
        layouts, where heads are left of channels; a wrong guess loses symmetries only.
        """
        seen: set[int] = set()
        for axis in label:
            self.resolve(axis)
            if any(self.atoms[a].context is None and not self.atoms[a].pinned for a in axis.atoms):
                outer = outer_atoms(axis.paths)
                for a in axis.atoms:
                    if self.atoms[a].context is None:
                        self.restrict(a, seen | outer[a])
                self.resolve(axis)
            seen |= set(axis.atoms)

    def depend_only(self, axes: Sequence[Axis], on: Sequence[Axis] = ()) -> None:
        """Restrict the contexts of each axis to the other axes of the list, and some more axes."""
        for i, axis in enumerate(axes):
            self.restrict_axis(axis, self.atoms_of([*axes[:i], *axes[i + 1 :], *on]))

    def mix(self, label: Sequence[Axis], axes: Sequence[int]) -> Label:
        """Return the label of a tensor that is mixed along some axes, on which others may then not depend."""
        self.depend_only([a for i, a in enumerate(label) if i not in axes])
        return self.normal([self.resolve(a) for a in label])

    def contract(self, a: Axis, b: Axis, batch: Sequence[Axis] = ()) -> None:
        """Sum products over two axes, which must move together; they may depend on the axes of the batch."""
        self.unify(a, b)
        if not self.resolve(a).fixed:
            self.restrict_axis(a, self.atoms_of(batch))

    def richer(self, *axes: Axis) -> Axis:
        """Return, of equal labels, the one that still has the pinned atoms over which families range."""
        return max(axes, key=lambda axis: len(self.resolve(axis).atoms))

    # --------------------------------------------------------------------------------------------------- parts, joins

    def take(self, label: Sequence[Axis], dim: int, index: Ints) -> Label:
        """Return the label of the positions ``index`` of an axis, without duplicates; the axis is kept."""
        out, axis = list(label), self.resolve(label[dim])
        if len(index) == axis.n and (index == np.arange(axis.n)).all():
            return out
        if len(index) == 1:
            self._pin_small_index(out, dim)
        while not self.resolve(axis).fixed and self.close(axis.paths[index], axis.tags[index], "a part is selected"):
            pass
        part = axis.at(index)
        for atom in part.atoms:
            values = part.values(atom)
            if self.atoms[atom].pinned and values[0] >= 0 and (values == values[0]).all():
                out = [a if i == dim else self._at(a, atom, int(values[0])) for i, a in enumerate(out)]
        if len(index) == 1:
            out[dim] = fixed_axis(1)
            return self.tidy(out)
        out[dim] = part
        return self.normal(out)

    def _pin_small_index(self, label: Label, dim: int) -> None:
        """Pin a small atom that other axes range over before one of its units is taken, so that each keeps its label.

        This is how queries, keys and values are taken apart from one packed projection.
        """
        others = [a for i, a in enumerate(label) if i != dim]
        ranged = set().union(*(self.contexts(self.resolve(a)) for a in others))
        for atom in label[dim].atoms:
            if self.atoms[atom].size <= 8 and atom in ranged:
                self.pin(atom, "one index is selected")

    def _at(self, axis: Axis, over: int, index: int) -> Axis:
        ranges = over in self.contexts(self.resolve(axis))
        return self.at_index(axis.copy(), over, index) if ranges else axis

    def concat(self, axes: Sequence[Axis]) -> Axis:
        """Return the label of concatenated axes; tags tell the parts apart."""
        axes = [self.resolve(a) for a in axes if a.n > 0]
        if all(a.fixed for a in axes):
            return fixed_axis(sum(a.n for a in axes))
        depth = max(a.paths.shape[1] for a in axes)
        offsets = np.cumsum([0] + [int(a.tags.max()) + 1 for a in axes[:-1]])
        tags = [a.tags + offset for a, offset in zip(axes, offsets, strict=True)]
        return Axis(np.concatenate([widen(a.paths, depth) for a in axes]), np.concatenate(tags))

    # ---------------------------------------------------------------------------------------------------- broadcasting

    def elementwise(self, labels: Sequence[Sequence[Axis]], shape: Sequence[int]) -> Label:
        """Return the label of a tensor that is computed entry by entry from others, with broadcasting."""
        n_axes = len(shape)
        full = [[fixed_axis(1)] * (n_axes - len(label)) + list(label) for label in labels]
        out = [fixed_axis(n) for n in shape]
        # Axes that others range over come first: families are compared index by index.
        for d in sorted(range(n_axes), key=lambda d: max(self._n_contexts(label[d]) for label in full)):
            wide = [label[d] for label in full if label[d].n > 1]
            for other in wide[1:]:
                self.unify(wide[0], other, MEETS_PINNED)
            if wide:
                out[d] = self.richer(*wide)
        for d in range(n_axes):
            wide_labels = [label for label in full if label[d].n > 1]
            if len(wide_labels) > 1 and not self.resolve(out[d]).fixed:
                carried = [e for e in range(n_axes) if e != d and all(label[e].n > 1 for label in wide_labels)]
                self.restrict_axis(out[d], self.atoms_of([out[e] for e in carried]))
                self._pin_misaligned(out[d], wide_labels)
        return self.tidy([self.resolve(axis) for axis in out])

    def _n_contexts(self, axis: Axis) -> int:
        contexts = (self.context_of(self.atoms[a]) or () for a in self.resolve(axis).atoms)
        return max(map(len, contexts), default=0)

    def _pin_misaligned(self, axis: Axis, labels: Sequence[Label]) -> None:
        """Pin families whose pinned index is in different orders in the operands."""
        for atom in self.resolve(axis).atoms:
            for over in self.context_of(self.atoms[atom]) or ():
                if self.atoms[over].pinned:
                    runs = [a.values(over) for label in labels for a in label if over in self.resolve(a).atoms]
                    if any(r.shape != runs[0].shape or (r != runs[0]).any() for r in runs):
                        self.pin(atom, ORDERED)
