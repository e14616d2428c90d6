"""Two states while they are matched by weights: the similarities of their units, and the moves of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion._coupling import Prices, assigned, assigned_nested
from skfusion.align.permutation._nearest import Rows, nearest_assignment
from skfusion.align.permutation._rows import pieces, rows, sampled
from skfusion.state import State
from skfusion.symmetry import Axes, Block, Group, Permutations, Symmetry, moved

_ROUNDING = 1e-6
_FEW = 128
"""Units below which the similarities of all pairs take no time."""
_N_SAMPLED = 4
"""Tensors that a sample of the weights of units is taken from, the largest ones."""


class Term(NamedTuple):
    """One place of a group: a block on an axis of a tensor."""

    tensor: str
    axis: int
    block: Block


class Match:
    r"""A reference A and a state B that is permuted towards it, to raise :math:`\sum_i \langle A_i, B_i \rangle`.

    ``perms`` has the permutations so far, and ``b`` the state as they move it. With ``scaled``, each tensor counts by
    its direction only.
    """

    def __init__(self, state: State, reference: State, symmetry: Symmetry, scaled: bool = False):
        self.symmetry, self.groups = symmetry, symmetry.groups
        # others, such as integers, move with their units but say nothing about which units are similar
        names = [n for n in symmetry.parameters if reference[n].is_floating_point()]
        wide = any(reference[n].dtype is torch.float64 for n in names)
        dtype = torch.float64 if wide else torch.float32  # sums of products in half precision would overflow
        self.a = {n: reference[n].detach().to(dtype) for n in names}
        self.b = {n: state[n].detach().to(self.a[n]) for n in names}
        self.scale = dict.fromkeys(self.a, 1.0)
        if scaled:
            for n in self.a:
                size = float(torch.linalg.vector_norm(self.a[n]) * torch.linalg.vector_norm(self.b[n]))
                self.scale[n] = 1 / size if size > 0 else 0.0
        self.perms: Permutations = symmetry.identity()
        self._prices: dict[str, list[Prices]] = {}  # of the last assignment of each group
        self._far: set[str] = set()  # groups whose units have turned out not to be near one another
        self.terms: dict[str, list[Term]] = {g: [] for g in self.groups}
        for n in names:
            for axis, blocks in enumerate(symmetry.axes[n]):
                for block in blocks:
                    for g in block.groups:
                        self.terms[g].append(Term(n, axis, block))
        self.inner: dict[str, list[str]] = {g: [] for g in self.groups}
        for group in self.groups.values():
            if len(group.context) == 1:
                self.inner[group.context[0]].append(group.name)

    def objective(self, tensors: Iterable[str] | None = None) -> float:
        """Return the sum of inner products, over some tensors."""
        return sum(self.scale[n] * _dot(self.a[n], self.b[n]) for n in (self.a if tensors is None else tensors))

    def tensors_of(self, names: Iterable[str]) -> list[str]:
        """Return the tensors that move with some groups, or with groups that are indexed by them."""
        groups = {h.name for g in names for h in self.groups.values() if h.name == g or g in h.context}
        moving = {t.tensor for g in groups for t in self.terms[g]}
        return [n for n in self.a if n in moving]

    def move(self, delta: Permutations) -> None:
        """Permute units of the state as it is now."""
        full = self.symmetry.complete(delta)
        for n in self.tensors_of(delta):
            self.b[n] = moved(self.b[n], self.symmetry.axes[n], self.groups, full)
        self.perms = self.symmetry.compose(self.perms, full)

    def worth(self, names: Sequence[str], terms: Iterable[Term], joint: bool) -> np.ndarray | None:
        """Return inner products of the units of the last group, summed over terms, for each combination of the others.

        The shape is (n_combinations, size, size), or (n_combinations, size, n_combinations, size) if joint.
        """
        sizes = [self.groups[g].size for g in names]
        n_outer, n = int(np.prod(sizes[:-1])), sizes[-1]
        shape = (1, n_outer * n, n_outer * n) if joint else (n_outer, n, n)
        total: Tensor | None = None
        for t in terms:
            axes = self.symmetry.axes[t.tensor]
            for a, b in pieces(self.a[t.tensor], self.b[t.tensor], axes, t.axis, t.block, names):
                left, right = (rows(x, axes, t.axis, t.block, names).reshape(*shape[:2], -1) for x in (a, b))
                if total is None:
                    total = left.new_zeros(shape)
                total.baddbmm_(left, right.mT, alpha=self.scale[t.tensor])
        if total is None:
            return None
        products: np.ndarray = total.cpu().numpy()
        return products.reshape(n_outer, n, n_outer, n) if joint else products

    def nearest(self, names: Sequence[str], terms: Sequence[Term]) -> np.ndarray | None:
        """Return the best place of each combination of units, shape (n_combinations,), where a sample decides it."""
        n = int(np.prod([self.groups[g].size for g in names]))
        if not terms or n < _FEW:
            return None

        def as_rows(pair: Rows, t: Term) -> Rows:
            axes, size = self.symmetry.axes[t.tensor], self.scale[t.tensor] ** 0.5
            a, b = (rows(x, axes, t.axis, t.block, names).reshape(n, -1) for x in pair)
            return (a, b) if size == 1 else (a * size, b * size)

        def places(t: Term) -> tuple[Tensor, Tensor, Axes, int, Block, Sequence[str]]:
            return self.a[t.tensor], self.b[t.tensor], self.symmetry.axes[t.tensor], t.axis, t.block, names

        def sample(share: float) -> Rows:
            largest = sorted(terms, key=lambda t: -self.a[t.tensor].numel())[:_N_SAMPLED]
            parts = [as_rows(sampled(*places(t), share), t) for t in largest]
            a, b = (torch.cat(side, 1) for side in zip(*parts, strict=True))
            return a, b

        def every() -> Iterator[Rows]:
            return (as_rows(pair, t) for t in terms for pair in pieces(*places(t), small=True))

        sizes = [(self.a[t.tensor].numel() // self.a[t.tensor].shape[t.axis], t.block.positions.size) for t in terms]
        return nearest_assignment(sample, every, sum(size * others for others, size in sizes) // n)

    # --------------------------------------------------------------------------------------------------- steps

    def step(self, name: str, settled: Callable[[Term], bool] | None = None) -> bool:
        """Move a group to where it matches best while the others stay; return whether anything moved."""
        group = self.groups[name]
        if self.inner[name] and not group.context:
            return self._step_with_inner(group, settled)
        terms = [t for t in self.terms[name] if settled is None or settled(t)]
        best = None if group.context or name in self._far else self.nearest([name], terms)
        if best is None:
            if settled is None:
                self._far.add(name)
            worth = self.worth([*group.context, name], terms, joint=False)
            if worth is None:
                return False
            prices = self._prices.setdefault(name, [Prices() for _ in worth])
            best = np.stack([assigned(w, prices=p) for w, p in zip(worth, prices, strict=True)])
        else:
            for known in self._prices.get(name, ()):
                known.follow(best)
        delta = {name: best.reshape(self.perms[name].shape)}
        several = len({t.tensor for t in self.terms[name]}) < len(self.terms[name])
        return self._moved(delta, check=several)

    def _step_with_inner(self, outer: Group, settled: Callable[[Term], bool] | None) -> bool:
        """Move a group together with the groups that it indexes: heads, with the channels of each of them."""
        counted: dict[str, list[Term]] = {}
        names = [*self.inner[outer.name], outer.name]
        terms = {g: [t for t in uncounted(self.terms[g], counted) if settled is None or settled(t)] for g in names}
        if not any(terms.values()):
            return False
        delta = None if outer.name in self._far else self._nearest_with_inner(outer, terms)
        if delta is None:
            if settled is None:
                self._far.add(outer.name)
            worths = {g: self.worth([outer.name, g], terms[g], joint=True) for g in self.inner[outer.name]}
            alone = self.worth([outer.name], terms[outer.name], joint=False)
            pairs = {g: worth for g, worth in worths.items() if worth is not None}
            delta = assigned_nested(pairs, None if alone is None else alone[0], outer.name)
        return self._moved(delta, check=True)

    def _nearest_with_inner(self, outer: Group, terms: Mapping[str, Sequence[Term]]) -> Permutations | None:
        """Return the best permutations of a group and of those that it indexes, where samples decide them.

        Those are the best ones of all units, which must be units of the same outer one, by all groups.
        """
        if terms[outer.name]:
            return None
        delta: dict[str, np.ndarray] = {}
        for g in self.inner[outer.name]:
            if not terms[g]:
                continue
            place = self.nearest([outer.name, g], terms[g])
            if place is None:
                return None
            where, delta[g] = np.divmod(place.reshape(outer.size, -1), self.groups[g].size)
            if (where != delta.setdefault(outer.name, where[:, 0])[:, None]).any():
                return None
        return delta

    def _moved(self, delta: Permutations, check: bool) -> bool:
        """Move, and return whether anything did.

        Where a group is on several axes of one tensor the objective is not linear in its permutation, and the solved
        assignment may lower it: with ``check`` such a move is taken back.
        """
        if all((p == np.arange(p.shape[-1])).all() for p in delta.values()):
            return False
        tensors = self.tensors_of(delta)
        kept, perms = {n: self.b[n] for n in tensors}, self.perms
        before = self.objective(tensors) if check else 0.0
        self.move(delta)
        if check and self.objective(tensors) <= before + _ROUNDING * abs(before):
            self.b.update(kept)
            self.perms = perms
            return False
        return True


def uncounted(terms: Iterable[Term], counted: dict[str, list[Term]]) -> list[Term]:
    """Return the terms whose weights are not counted yet, and count them.

    The weights of a tensor with several groups count once, but those of separate blocks of one axis are others: one
    matrix may make queries, keys and values.
    """
    fresh = [t for t in terms if all(t.axis == c.axis and t.block is not c.block for c in counted.get(t.tensor, ()))]
    for t in fresh:
        counted.setdefault(t.tensor, []).append(t)
    return fresh


def _dot(a: Tensor, b: Tensor) -> float:
    """Return the inner product, in parts that are summed in float64, which needs no copy of the tensors."""
    parts = zip(torch.split(a.reshape(-1), 2**20), torch.split(b.reshape(-1), 2**20), strict=True)
    return sum(float(torch.dot(x, y)) for x, y in parts)
