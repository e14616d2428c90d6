"""The order of layers in a forward pass, and the moments of activations by channel."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from skfusion._batches import row_weights
from skfusion.objective import Batch, Objective
from skfusion.state import State


def equal(a: State, b: State) -> bool:
    """Return whether two states hold the same numbers."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Enough(Exception):
    """Ends a forward pass early: the layers below have seen what they need."""


class Moments:
    """Running weight, mean and sum of squared deviations by channel, in float64 (Chan et al., 1979).

    ``name`` is the layer that they belong to, for messages. While the weight is 0 there are no other moments.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 0.0

    def add(self, x: Tensor, weight: Tensor | None) -> None:  # x shape: (n_rows, n_channels, *positions)
        rows = x.detach().to(torch.float64).reshape(*x.shape[:2], -1)  # shape: (n_rows, n_channels, n_positions)
        w = row_weights(weight, rows, self.name)
        n = float(w.sum()) * rows.shape[2]
        if n == 0:
            return
        mean = torch.einsum("r,rcp->c", w, rows) / n
        self.pool(n, mean, torch.einsum("r,rcp->c", w, (rows - mean[:, None]).square()))

    def pool(self, n: float, mean: Tensor, square: Tensor) -> None:
        """Add the moments of further rows."""
        if not self.weight:
            self.weight, self.mean, self.square = n, mean, square
            return
        total = self.weight + n
        gap = mean - self.mean
        self.mean = self.mean + gap * (n / total)
        self.square = self.square + square + gap.square() * (self.weight * n / total)
        self.weight = total


def first_batch(objective: Objective) -> Batch:
    """Return a batch for a trial forward pass."""
    batch = next(iter(objective.batches()), None)
    if batch is None:
        raise ValueError("Repairing statistics needs at least one batch of inputs; the objective has none.")
    return batch


def calls_of(layers: dict[str, nn.Module], state: State, objective: Objective) -> list[str]:
    """Return which layers run in a forward pass, in order; one that runs twice is named twice."""
    calls: list[str] = []
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(lambda _m, _a, name=name: calls.append(name)))
        objective.forward(state, first_batch(objective).x)
    return calls
