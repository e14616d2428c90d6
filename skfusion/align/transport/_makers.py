"""The weights that make the units of a group, by which the units of two networks are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from skfusion.align.permutation._match import Term
from skfusion.align.permutation._rows import rows
from skfusion.state import State
from skfusion.symmetry import Axes, Block, Group, LinearMap, Symmetry, mapped, moved, outside_of, resized_symmetry


class Makers:
    """What makes the units of each group in two networks: rows of weights, biases, gains, columns of embeddings.

    ``symmetry`` is that of the reference, and ``own`` that of the state, whose groups may be of other sizes.
    """

    def __init__(self, state: State, reference: State, symmetry: Symmetry, own: Symmetry):
        self.symmetry, self.groups, self.own = symmetry, symmetry.groups, own
        names = [n for n in symmetry.parameters if reference[n].is_floating_point()]
        self._state, self._reference = ({n: s[n].detach().double() for n in names} for s in (state, reference))
        self.terms: dict[str, list[Term]] = {g: [] for g in self.groups}
        reads: dict[str, list[Term]] = {g: [] for g in self.groups}
        for n in names:
            for axis, blocks in enumerate(symmetry.axes[n]):
                made = symmetry.roles[n][axis] != "in"
                for block in blocks:
                    for g in block.groups:
                        (self.terms if made else reads)[g].append(Term(n, axis, block))
        for g, terms in self.terms.items():  # units that no weight makes are compared by the weights that read them
            if not terms:
                self.terms[g] = reads[g]
        self._identity = own.identity()
        self._partly: dict[frozenset[str], Symmetry] = {}
        self._known: dict[int, tuple[LinearMap, np.ndarray | None]] = {}  # a map stays alive here, and so its id
        self.inner: dict[str, list[str]] = {g: [] for g in self.groups}
        for group in self.groups.values():
            if is_nested(group, self.groups):
                self.inner[group.context[0]].append(group.name)

    def of(self, name: str) -> list[Term]:
        """Return the terms of a group and of those that are nested in it, each place once."""
        terms = (t for g in (name, *self.inner[name]) for t in self.terms[g])
        return [*{(t.tensor, t.axis, id(t.block)): t for t in terms}.values()]

    def usable(self, name: str, settled: Collection[str]) -> list[Term]:
        """Return the terms of a group that can be compared: all other units on their tensors are mapped already."""
        return [t for t in self.of(name) if self._is_usable(t, name, settled)]

    def _is_usable(self, term: Term, name: str, settled: Collection[str]) -> bool:
        nested, indexing = {*self.inner[name]}, outside_of(term.block, self.groups)
        for axis, blocks in enumerate(self.symmetry.axes[term.tensor]):
            for g in (g for block in blocks for g in block.groups):
                compared = g == name or g in nested
                if axis != term.axis and g in nested:  # which units these are depends on those that are compared
                    return False
                if g not in settled and not (compared and (axis == term.axis or g in indexing)):
                    return False
        return True

    def size(self, terms: Sequence[Term]) -> int:
        """Return how many weights there are in terms."""
        return sum(self._reference[t.tensor].numel() for t in terms)

    def compare(
        self, names: Sequence[str], terms: Sequence[Term], maps: Mapping[str, LinearMap], free: Collection[str]
    ) -> np.ndarray | None:
        """Return the squared distances of units, summed over terms; None where there are none.

        All units of the state are mapped but the free ones. The shape is that of the groups in the reference, and then
        that in the state.
        """
        total: Tensor | None = None
        for t in terms:
            tensor, axes = self._moved(t, maps, free)
            a = rows(self._reference[t.tensor], self.symmetry.axes[t.tensor], t.axis, t.block, names)
            b = rows(tensor, axes, t.axis, self._block(t, axes), names)
            shape = (*a.shape[:-1], *b.shape[:-1])
            a, b = a.flatten(0, -2), b.flatten(0, -2)
            sizes = [x.square().sum(1) for x in (a, b)]
            part = (sizes[0][:, None] + sizes[1] - 2 * a @ b.T).clamp_min(0).reshape(shape)
            total = part if total is None else total + part
        return None if total is None else total.cpu().numpy()

    def squared_sizes(self, name: str) -> list[np.ndarray]:
        """Return the sums of the squares of what makes each unit of a group, in the state and in the reference."""
        out = []
        for tensors, symmetry in ((self._state, self.own), (self._reference, self.symmetry)):
            parts = []
            for t in self.terms[name]:
                axes = symmetry.axes[t.tensor]
                parts.append(rows(tensors[t.tensor], axes, t.axis, self._block(t, axes), [name]).square().sum(1))
            out.append(torch.stack(parts).sum(0).cpu().numpy())
        return out

    def _block(self, term: Term, axes: Axes) -> Block:
        """Return the block of a term on the axes of a tensor of other sizes."""
        known = self.symmetry.axes[term.tensor][term.axis]
        return axes[term.axis][next(k for k, block in enumerate(known) if block is term.block)]

    def _moved(self, term: Term, maps: Mapping[str, LinearMap], free: Collection[str]) -> tuple[Tensor, Axes]:
        """Return a tensor of the state with its units mapped, and the blocks on its axes after that."""
        axes, free = self.own.axes[term.tensor], {*free}
        elsewhere = {g for e, blocks in enumerate(axes) if e != term.axis for b in blocks for g in b.groups}
        if elsewhere & free - {*outside_of(term.block, self.groups)}:  # they are read there, and were mapped before
            after = self.symmetry.axes[term.tensor]
            after = tuple(axes[e] if e == term.axis else blocks for e, blocks in enumerate(after))
            axes = tuple(() if e == term.axis else blocks for e, blocks in enumerate(axes))
        else:
            maps = {g: m for g, m in maps.items() if g not in free}
            after = self._mapped_by(maps).axes[term.tensor]
        used = {g for blocks in axes for b in blocks for g in b.groups if g in maps}
        perms = {g: self._permutation(maps[g]) for g in used}
        tensor, hard = self._state[term.tensor], {g: p for g, p in perms.items() if p is not None}
        if len(hard) == len(perms):  # rows are taken, which costs less than a product with zeros and ones
            return moved(tensor, axes, self.own.groups, self._identity | hard), after
        return mapped(tensor, axes, self.symmetry.roles[term.tensor], self.own.groups, maps), after

    def _mapped_by(self, maps: Collection[str]) -> Symmetry:
        """Return the symmetry of the state once some groups are mapped, which then have the sizes of the reference."""
        own = {g: n for g, group in self.groups.items() if (n := self.own.groups[g].size) != group.size}
        rest = frozenset(own.keys() - {*maps})
        if rest not in self._partly:
            self._partly[rest] = resized_symmetry(self.symmetry, {g: own[g] for g in rest}) if rest else self.symmetry
        return self._partly[rest]

    def _permutation(self, pair: LinearMap) -> np.ndarray | None:
        """Return the permutation that a map is, or None."""
        known = self._known.get(id(pair))
        if known is None:
            known = self._known[id(pair)] = (pair, pair.out.argmax(-1) if pair.is_permutation else None)
        return known[1]


def is_nested(group: Group, groups: Mapping[str, Group]) -> bool:
    """Return whether the units of a group are those of each unit of one outer group, such as channels of heads."""
    return len(group.context) == 1 and not groups[group.context[0]].context
