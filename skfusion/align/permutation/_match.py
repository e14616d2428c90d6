"""Two states on the way to a match: what units are worth to one another, and the state as it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion.align.permutation._assign import assigned, assigned_nested
from skfusion.align.permutation._rows import pieces, rows
from skfusion.state import State
from skfusion.symmetry import Block, Group, Permutations, Symmetry, moved

_ROUNDING = 1e-6


class Term(NamedTuple):
    """A place where a group stands: a block on an axis of a tensor."""

    tensor: str
    axis: int
    block: Block


class Match:
    r"""A reference and a state that is moved towards it, to raise :math:`\\sum_i \\langle A_i, B_i \\rangle`.

    Parameters
    ----------
    state : State
        What is moved.
    reference : State
        The frame.
    symmetry : Symmetry
        Which units may change places.
    scaled : bool
        Whether tensors count by their directions only.

    Attributes
    ----------
    perms : dict of ndarray
        The permutations so far.
    """

    def __init__(self, state: State, reference: State, symmetry: Symmetry, scaled: bool = False):
        self.symmetry, self.groups = symmetry, symmetry.groups
        names = [n for n in symmetry.parameters if reference[n].is_floating_point()]  # others only move
        wide = any(reference[n].dtype is torch.float64 for n in names)
        dtype = torch.float64 if wide else torch.float32  # one in which products of half precision can be summed
        self.a = {n: reference[n].detach().to(dtype) for n in names}
        self.b = {n: state[n].detach().to(self.a[n]) for n in names}
        self.scale = dict.fromkeys(self.a, 1.0)
        if scaled:
            for n in self.a:
                size = float(torch.linalg.vector_norm(self.a[n]) * torch.linalg.vector_norm(self.b[n]))
                self.scale[n] = 1 / size if size > 0 else 0.0
        self.perms: Permutations = symmetry.identity()
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

    def is_exact(self) -> bool:
        """Return whether the state is the reference, which no permutation can better."""
        return all(torch.equal(self.a[n], self.b[n]) for n in self.a)

    def tensors_of(self, names: Iterable[str]) -> list[str]:
        """Return the tensors on which groups stand, those that are indexed by them included."""
        found = {t.tensor for g in names for h in (g, *self._indexed_by(g)) for t in self.terms[h]}
        return [n for n in self.a if n in found]

    def _indexed_by(self, name: str) -> list[str]:
        return [g.name for g in self.groups.values() if name in g.context]

    def move(self, delta: Permutations) -> None:
        """Move units of the state from where they are now."""
        full = self.symmetry.complete(delta)
        for n in self.tensors_of(delta):
            self.b[n] = moved(self.b[n], self.symmetry.axes[n], self.groups, full)
        self.perms = self.symmetry.compose(self.perms, full)

    def worth(self, names: Sequence[str], terms: Iterable[Term], joint: bool) -> np.ndarray | None:
        """Return inner products of units, summed over terms.

        Parameters
        ----------
        names : sequence of str
            Groups; a unit is one of the last of them for each combination of the others.
        terms : iterable of Term
            Where.
        joint : bool
            Whether units are compared across these combinations too.

        Returns
        -------
        ndarray
            Of shape (n_combinations, size, n_combinations, size) if joint, else (n_combinations, size, size).
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
        found: np.ndarray = total.cpu().numpy()
        return found.reshape(n_outer, n, n_outer, n) if joint else found

    # --------------------------------------------------------------------------------------------------- steps

    def step(self, name: str, settled: Callable[[Term], bool] | None = None) -> bool:
        """Move a group to where it is worth most while the others rest; return whether anything moved."""
        group = self.groups[name]
        if self.inner[name] and not group.context:
            return self._step_with_inner(group, settled)
        terms = [t for t in self.terms[name] if settled is None or settled(t)]
        worth = self.worth([*group.context, name], terms, joint=False)
        if worth is None:
            return False
        found = np.stack([assigned(w) for w in worth])
        delta = {name: found.reshape(self.perms[name].shape)}
        several = len({t.tensor for t in self.terms[name]}) < len(self.terms[name])
        return self._moved(delta, check=several)

    def _step_with_inner(self, outer: Group, settled: Callable[[Term], bool] | None) -> bool:
        """Move a group together with the groups that it indexes: heads, and the channels within each of them."""
        counted: set[str] = set()
        pairs: dict[str, np.ndarray] = {}
        for g in self.inner[outer.name]:
            terms = [t for t in self.terms[g] if t.tensor not in counted and (settled is None or settled(t))]
            counted |= {t.tensor for t in self.terms[g]}
            found = self.worth([outer.name, g], terms, joint=True)
            if found is not None:
                pairs[g] = found
        own = [t for t in self.terms[outer.name] if t.tensor not in counted and (settled is None or settled(t))]
        alone = self.worth([outer.name], own, joint=False)
        if not pairs and alone is None:
            return False
        return self._moved(assigned_nested(pairs, None if alone is None else alone[0], outer.name), check=True)

    def _moved(self, delta: Permutations, check: bool) -> bool:
        """Move, unless nothing would; where several axes of a tensor move, only if the objective rises."""
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


def _dot(a: Tensor, b: Tensor) -> float:
    """Return the inner product, in parts that are summed in float64 and need no copy."""
    parts = zip(torch.split(a.reshape(-1), 2**20), torch.split(b.reshape(-1), 2**20), strict=True)
    return sum(float(torch.dot(x, y)) for x, y in parts)
