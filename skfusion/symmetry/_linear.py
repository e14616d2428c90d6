"""Symmetries that are linear maps of units and no permutations: signs, scales, rotations, invertible pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion.state import State
from skfusion.symmetry._folds import Fold
from skfusion.symmetry._places import Draft, Place

KINDS = ("permutation", "signed", "scale", "orthogonal", "invertible")
"""From the smallest group of maps of units to the largest."""


@dataclass(frozen=True, eq=False)
class LinearKind:
    """The linear maps M of the units of a group that leave the function of canonical states as it is.

    Parameters
    ----------
    kind : str
        ``"signed"``, with numbers of ±1 on the diagonal; ``"scale"``, with positive numbers, or others where
        ``negative``; ``"orthogonal"``; or ``"invertible"``.
    places : tuple of (Place, int)
        Where the units are, and how they change there: by M for 1, by its inverse transpose for -1, not at all for 0,
        and by powers of them for others, as behind a squared ReLU.
    keeps_mean : bool, default=False
        Whether orthogonal maps must keep the vector of ones, as LayerNorm asks for.
    negative : bool, default=False
        Whether scales may be negative.
    """

    kind: str
    places: tuple[tuple[Place, int], ...]
    keeps_mean: bool = False
    negative: bool = False

    def apply(self, maps: Tensor, draft: Draft) -> None:
        """Rewrite a state by maps of shape (n_contexts, n_units, n_units)."""
        inverse = torch.linalg.inv(maps).mT
        for place, exponent in self.places:
            if exponent:
                rows = draft.read(place)
                power = torch.linalg.matrix_power(maps if exponent > 0 else inverse, abs(exponent))
                draft.write(place, power.to(rows.device) @ rows)

    def sample(self, rng: np.random.Generator) -> Tensor:
        """Return random maps, well conditioned, of shape (n_contexts, n_units, n_units)."""
        n_contexts, n = self.places[0][0].index.shape[:2]
        if self.kind in ("signed", "scale"):
            values = np.exp(rng.normal(0, 0.7, (n_contexts, n))) if self.kind == "scale" else np.ones((n_contexts, n))
            if self.kind == "signed" or self.negative:
                values *= rng.choice([-1.0, 1.0], values.shape)
            return torch.diag_embed(torch.from_numpy(values))
        if self.kind == "invertible":
            scales = torch.diag_embed(torch.from_numpy(np.exp(rng.normal(0, 0.5, (n_contexts, n)))))
            return _rotations(rng, n_contexts, n) @ scales @ _rotations(rng, n_contexts, n)
        if not self.keeps_mean:
            return _rotations(rng, n_contexts, n)
        basis = without_mean(n)
        kept: Tensor = basis @ _rotations(rng, n_contexts, n - 1) @ basis.mT + 1 / n
        return kept


def _rotations(rng: np.random.Generator, n_contexts: int, n: int) -> Tensor:
    q, r = torch.linalg.qr(torch.from_numpy(rng.normal(size=(n_contexts, n, n))))
    out: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return out


def without_mean(n: int) -> Tensor:
    """Return an orthonormal basis of the vectors of n numbers with mean zero, of shape (n, n - 1)."""
    start = torch.cat([torch.ones(n, 1, dtype=torch.float64), torch.eye(n, dtype=torch.float64)[:, : n - 1]], 1)
    basis: Tensor = torch.linalg.qr(start).Q[:, 1:]
    return basis


@dataclass(frozen=True, eq=False)
class LinearSymmetry:
    """What a network allows beside permutations: folds to a canonical form, and linear maps of canonical states.

    Parameters
    ----------
    maps : dict of LinearKind
        By the name of the group.
    folds : sequence of Fold
        In the order in which they are applied.
    """

    maps: Mapping[str, LinearKind] = field(default_factory=dict)
    folds: Sequence[Fold] = ()

    def sample(self, random_state: int | np.random.Generator | None = None) -> dict[str, Tensor]:
        """Return random maps of each group.

        Parameters
        ----------
        random_state : int or numpy Generator, optional
            The source of randomness.

        Returns
        -------
        dict of Tensor
            By group, of shape (n_contexts, n_units, n_units).
        """
        rng = np.random.default_rng(random_state)
        return {name: linear.sample(rng) for name, linear in self.maps.items()}

    def transform(self, maps: Mapping[str, Tensor], state: State) -> State:
        """Return a canonical state with its units mapped, which computes the same function.

        Parameters
        ----------
        maps : dict of Tensor
            By group, as :meth:`sample` returns them; groups that are left out do not move.
        state : State
            As :func:`canonicalise` returns it.

        Returns
        -------
        State
            The input is not written.
        """
        draft = Draft(state)
        for name, matrices in maps.items():
            self.maps[name].apply(matrices.to(torch.float64), draft)
        return draft.state()


def kinds_of(linear: LinearSymmetry | None, groups: Mapping[str, Any]) -> dict[str, str]:
    """Return the kind of each group."""
    known = {} if linear is None else linear.maps
    return {name: known[name].kind if name in known else "permutation" for name in groups}
