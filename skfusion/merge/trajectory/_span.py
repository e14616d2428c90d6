"""The networks whose weights are linear combinations of those of some members, by an orthonormal basis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skfusion.merge._base import tied
from skfusion.merge._tensorwise import is_merged
from skfusion.state import State, weighted_sum

_SMALLEST = 1e-9
"""What must be left of a member that is not in the span of those before it, relative to its length."""


class Span:
    """The networks whose trained tensors are linear combinations of those of the members; it begins at the mean.

    ``basis`` has orthonormal rows, shape (n_directions, n_numbers), and ``point`` the coordinates of a network on them.
    """

    def __init__(self, states: Sequence[State], module: nn.Module):
        self._states, self._owner = states, tied(states, module)
        self.names = _trained_names(states, self._owner, module)
        own = [{k: s[k] for k, owner in self._owner.items() if owner == k} for s in states]
        self._rest = weighted_sum(own, [1 / len(states)] * len(states))
        if not self.names:
            return
        kind = max((states[0][k].dtype for k in self.names), key=lambda d: torch.finfo(d).bits)
        rows = torch.stack([torch.cat([s[k].detach().double().flatten() for k in self.names]) for s in states])
        basis, self._members = orthonormal(rows)  # coordinates of the members, shape (n_members, n_directions)
        self.basis = basis.to(torch.promote_types(kind, torch.float32))
        self.point = self._members.mean(0)
        shapes = [states[0][k].shape for k in self.names]
        self._weights = torch.empty(self.basis.shape[1], dtype=self.basis.dtype, device=self.basis.device)
        parts = torch.split(self._weights, [shape.numel() for shape in shapes])
        self.leaves = [part.view(shape).requires_grad_() for part, shape in zip(parts, shapes, strict=True)]

    def place(self) -> State:
        """Return the network at the point, whose trained tensors are ``leaves``, which gradients are taken by."""
        with torch.no_grad():
            torch.mv(self.basis.T, self.point.to(self.basis.dtype), out=self._weights)
        trained = {k: v.to(self._rest[k].dtype) for k, v in zip(self.names, self.leaves, strict=True)}
        tensors = {**self._rest, **trained}
        return {k: tensors[owner] for k, owner in self._owner.items()}

    def projected(self, slopes: Sequence[Tensor | None]) -> Tensor:
        """Return the gradient by the point, shape (n_directions,), from those by the leaves."""
        flat = [torch.zeros_like(v) if g is None else g for g, v in zip(slopes, self.leaves, strict=True)]
        return torch.mv(self.basis, torch.cat([g.flatten() for g in flat])).to(self.point)

    def state(self) -> State:
        """Return the network at the point, in tensors of its own."""
        if not self.names:
            return {k: self._rest[owner] for k, owner in self._owner.items()}
        own = {k: t.detach().clone() for k, t in self.place().items() if self._owner[k] == k}
        return {k: own[owner] for k, owner in self._owner.items()}

    def coefficients(self) -> list[float]:
        """Return how much each member counts in the network at the point."""
        if not self.names:
            return [1 / len(self._states)] * len(self._states)
        members, point = self._members.cpu().numpy(), self.point.cpu().numpy()
        found: list[float] = np.linalg.lstsq(members.T, point, rcond=None)[0].tolist()
        return found


def orthonormal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal rows of the same span, shape (n_directions, d), and the coordinates of the rows on them.

    Each row is freed twice of those before it (Gram and Schmidt), which makes it as orthogonal as numbers can be.
    """
    basis = rows.new_empty(rows.shape)
    coordinates, n = rows.new_zeros(len(rows), len(rows)), 0
    for i, row in enumerate(rows):
        rest = row.clone()
        for _ in range(2):
            along = basis[:n] @ rest
            coordinates[i, :n] += along
            rest -= basis[:n].T @ along
        length = torch.linalg.vector_norm(rest)
        if float(length) > _SMALLEST * float(torch.linalg.vector_norm(row)):
            basis[n], coordinates[i, n] = rest / length, length
            n += 1
    return basis[:n], coordinates[:, :n]


def _trained_names(states: Sequence[State], owner: dict[str, str], module: nn.Module) -> list[str]:
    """Return the names of the tensors that are trained: parameters that differ between members."""
    takes = {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    names = [k for k, t in states[0].items() if owner[k] == k and k in takes and is_merged(k, t)]
    return [k for k in names if any(not torch.equal(states[0][k], s[k]) for s in states[1:])]
