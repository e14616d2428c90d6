"""The weights that make the units of a group, by which the units of two networks are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from skfusion.align.permutation._match import Term
from skfusion.align.permutation._rows import rows
from skfusion.state import State
from skfusion.symmetry import Group, LinearMap, Symmetry, mapped, moved, outside_of


class Compared(NamedTuple):
    """Squared distances of units, and their squared sizes in the reference and in the state."""

    squares: np.ndarray
    reference: np.ndarray
    state: np.ndarray


class Makers:
    """What makes the units of each group in two networks: rows of weights, biases, gains, columns of embeddings."""

    def __init__(self, state: State, reference: State, symmetry: Symmetry):
        self.symmetry, self.groups = symmetry, symmetry.groups
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
        self._identity = symmetry.identity()
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
    ) -> Compared | None:
        """Return the squared distances of units, shape (*sizes of the groups, *sizes of the groups), summed over terms.

        All units of the state are mapped but the free ones.
        """
        total: list[Tensor] = []
        for t in terms:
            both = self._reference[t.tensor], self._moved(t, maps, free)
            a, b = (rows(x, self.symmetry.axes[t.tensor], t.axis, t.block, names) for x in both)
            shape = a.shape[:-1]
            a, b = a.flatten(0, -2), b.flatten(0, -2)
            sizes = [x.square().sum(1) for x in (a, b)]
            parts = [(sizes[0][:, None] + sizes[1] - 2 * a @ b.T).clamp_min(0), *sizes]
            parts = [p.reshape(shape * p.dim()) for p in parts]  # two axes of units, or one
            total = [p + q for p, q in zip(total, parts, strict=True)] if total else parts
        return Compared(*(p.cpu().numpy() for p in total)) if total else None

    def _moved(self, term: Term, maps: Mapping[str, LinearMap], free: Collection[str]) -> Tensor:
        axes, free = self.symmetry.axes[term.tensor], {*free}
        elsewhere = {g for e, blocks in enumerate(axes) if e != term.axis for b in blocks for g in b.groups}
        if elsewhere & free - {*outside_of(term.block, self.groups)}:  # they are read there, and were mapped before
            axes = tuple(() if e == term.axis else blocks for e, blocks in enumerate(axes))
        else:
            maps = {g: m for g, m in maps.items() if g not in free}
        used = {g for blocks in axes for b in blocks for g in b.groups if g in maps}
        perms = {g: self._permutation(maps[g]) for g in used}
        tensor, hard = self._state[term.tensor], {g: p for g, p in perms.items() if p is not None}
        if len(hard) == len(perms):  # rows are taken, which costs less than a product with zeros and ones
            return moved(tensor, axes, self.groups, self._identity | hard)
        return mapped(tensor, axes, self.symmetry.roles[term.tensor], self.groups, maps)

    def _permutation(self, pair: LinearMap) -> np.ndarray | None:
        """Return the permutation that a map is, or None."""
        known = self._known.get(id(pair))
        if known is None:
            known = self._known[id(pair)] = (pair, pair.out.argmax(-1) if pair.is_permutation else None)
        return known[1]


def is_nested(group: Group, groups: Mapping[str, Group]) -> bool:
    """Return whether the units of a group are those of each unit of one outer group, such as channels of heads."""
    return len(group.context) == 1 and not groups[group.context[0]].context
