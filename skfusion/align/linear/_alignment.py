"""An alignment by linear maps between canonical states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import wide
from skfusion.align._base import Alignment, described
from skfusion.state import State, map_tensors
from skfusion.symmetry import LinearSymmetry, Permutations, Symmetry, canonicalise


@final
class LinearAlignment(Alignment):
    """An alignment that moves a state to its canonical form, permutes units, and maps them linearly.

    It computes the same function, and so does the reference, which has to be in its canonical form, too: it is aligned
    with itself by an alignment without permutations and maps.

    Parameters
    ----------
    permutations : dict of ndarray
        Permutations by group, which come first; groups that are left out do not move.
    maps : dict of Tensor
        Matrices by group, of shape (n_contexts, n_units, n_units): one for each head, for instance.
    symmetry : Symmetry
        With what it allows beside permutations.
    history : sequence of float, optional
        The inner product of the state and the reference: of canonical forms at first, and after each sweep.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.align import LinearAlignment
    >>> from skfusion.tracing import symmetry_of
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    >>> x = torch.randn(5, 3, dtype=torch.float64)
    >>> signs = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))[None]
    >>> alignment = LinearAlignment({}, {"0.weight:0": signs}, symmetry_of(net, x, general=True))
    >>> before = net(x)
    >>> _ = net.load_state_dict(alignment.apply(net.state_dict()))
    >>> torch.allclose(net(x), before)
    True
    >>> alignment.describe()[["group", "kind", "size"]].values.tolist()
    [['0.weight:0', 'signed', 4]]
    """

    def __init__(
        self,
        permutations: Permutations,
        maps: Mapping[str, Tensor],
        symmetry: Symmetry,
        history: Sequence[float] = (),
    ):
        self.permutations = {name: np.asarray(p) for name, p in permutations.items()}
        self.maps = dict(maps)
        self.symmetry = symmetry
        self.history = tuple(history)

    def __repr__(self) -> str:
        return f"LinearAlignment({len(self.permutations)} groups permuted, {len(self.maps)} mapped)"

    def apply(self, state: State) -> State:
        """Return the canonical form with its units permuted and mapped; see :meth:`Alignment.apply`."""
        linear = self.symmetry.linear or LinearSymmetry()
        if not linear.folds and not self.maps:
            return self.symmetry.permute(self.permutations, state)
        new = canonicalise(map_tensors(wide, state), self.symmetry)  # rounded once, at the end
        new = linear.transform(self.maps, self.symmetry.permute(self.permutations, new))
        out = copy(state)
        out.update(map_tensors(lambda tensor, like: tensor.to(like.dtype), new, state))
        return out

    def describe(self) -> Any:
        """Return a table of kind, size, number of moved units and turn by group; see :meth:`Alignment.describe`.

        The turn is how far the maps of a group are from the identity: the norm of their difference, relative to
        that of the identity. ``attrs["history"]`` has the history.
        """
        rows = []
        for name, kind in self.symmetry.kinds.items():
            p, maps = self.permutations.get(name), self.maps.get(name)
            moved = 0 if p is None else int((p != np.arange(p.shape[-1])).sum())
            rows.append((name, kind, self.symmetry.groups[name].size, moved, 0.0 if maps is None else _turn(maps)))
        return described(rows, ["group", "kind", "size", "moved", "turn"], self.history)


def _turn(maps: Tensor) -> float:
    eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device).expand_as(maps)
    return float((maps - eye).norm() / eye.norm())
