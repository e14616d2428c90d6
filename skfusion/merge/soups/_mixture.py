"""A state as a function of weights that are learned, one for each layer and member."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skfusion.merge._base import layer_of
from skfusion.state import State, is_statistic, weighted_sum


class Mixture:
    r"""States that are summed layer by layer.

    .. math:: \theta^l = \sum_k w_{lk} \theta_k^l \quad\text{or, with a base,}\quad
        \theta^l = \theta_0^l + \sum_k w_{lk} (\theta_k^l - \theta_0^l)

    Gradients are taken by the sum; those by the weights are its inner products with the members, so that autograd keeps
    no copy of them. Tensors for which ``takes(name, tensor)`` is false are averaged.
    """

    def __init__(
        self,
        states: Sequence[State],
        owner: dict[str, str],
        takes: Callable[[str, Tensor], bool],
        per_layer: bool,
        base: State | None = None,
    ):
        self._states, self._base, self._owner = states, base, owner
        names = [key for key, t in states[0].items() if owner[key] == key]
        mixed = [key for key in names if takes(key, states[0][key])]
        self.layers = [*dict.fromkeys(layer_of(key) for key in mixed)] if per_layer else [""]
        self._row = {key: self.layers.index(layer_of(key)) if per_layer else 0 for key in mixed}
        others = [{key: s[key] for key in names if key not in self._row} for s in states]
        self._rest = weighted_sum(others, [1 / len(states)] * len(states))

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of layers and members."""
        return len(self.layers), len(self._states)

    def at(self, weights: Tensor) -> State:  # weights, shape: (n_layers, n_members)
        """Return the state for some weights; tensors that do not depend on them are shared in memory.

        A running variance is at least the smallest one of the members, also where weights are negative.
        """
        state_of = dict(self._rest)
        for key, row in self._row.items():
            like = self._states[0][key]
            total = torch.zeros(like.shape, dtype=torch.float64, device=like.device)
            for w, state in zip(weights[row].tolist(), self._states, strict=True):
                total.add_(state[key].detach().to(like.device), alpha=w)
            if self._base is not None:
                total.add_(self._base[key].detach().to(like.device), alpha=1 - math.fsum(weights[row].tolist()))
            elif is_statistic(key) and key.endswith("var"):
                total = torch.maximum(total, torch.stack([s[key].detach().to(total) for s in self._states]).amin(0))
            state_of[key] = total.to(like.dtype)
        return {key: state_of[owner] for key, owner in self._owner.items()}

    def leaves(self, state: State) -> State:
        """Return the tensors of a state that the weights make, but for statistics, as what gradients are taken by."""
        return {key: state[key].requires_grad_() for key in self._row if not is_statistic(key)}

    def slopes(self, leaves: State, gradients: Sequence[Tensor | None]) -> Tensor:
        """Return the gradient by the weights, shape (n_layers, n_members), from those by the leaves."""
        out = torch.zeros(self.shape, dtype=torch.float64)
        for key, g in zip(leaves, gradients, strict=True):
            if g is None:
                continue
            of_members = [float((g.double() * s[key].to(g.device)).sum()) for s in self._states]
            start = 0.0 if self._base is None else float((g.double() * self._base[key].to(g.device)).sum())
            out[self._row[key]] += torch.tensor(of_members, dtype=torch.float64) - start
        return out

    def named(self, weights: Tensor) -> list[float] | dict[str, list[float]]:
        """Return weights as they are reported: a list, or a list for each layer."""
        rows: list[list[float]] = weights.tolist()
        return rows[0] if self.layers == [""] else dict(zip(self.layers, rows, strict=True))
