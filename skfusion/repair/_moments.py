"""What layers see: their order in a forward pass, and the moments of activations by channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from skfusion.objective import Batch, Input, Objective
from skfusion.state import State


def equal(a: State, b: State) -> bool:
    """Return whether two states hold the same numbers."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Enough(Exception):
    """Ends a forward pass early: the layers below have seen what they need."""


class Moments:
    """Running weight, mean and sum of squared deviations by channel, in float64 (Chan et al., 1979).

    Parameters
    ----------
    name : str
        The layer that they belong to, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight: float = 0.0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def add(self, x: Tensor, weight: Tensor | None) -> None:  # x shape: (n_rows, n_channels, *positions)
        rows = x.detach().to(torch.float64).reshape(*x.shape[:2], -1)  # shape: (n_rows, n_channels, n_positions)
        w = (
            torch.ones(len(rows), dtype=torch.float64, device=x.device)
            if weight is None
            else self._each(weight, len(rows))
        )
        n = float(w.sum()) * rows.shape[2]
        if n == 0:
            return
        mean = torch.einsum("r,rcp->c", w, rows) / n
        square = torch.einsum("r,rcp->c", w, (rows - mean[:, None]).square())
        if self.mean is None or self.square is None:
            self.weight, self.mean, self.square = n, mean, square
            return
        total = self.weight + n
        gap = mean - self.mean
        self.mean = self.mean + gap * (n / total)
        self.square = self.square + square + gap.square() * (self.weight * n / total)
        self.weight = total

    def _each(self, weight: Tensor, n_rows: int) -> Tensor:
        """Return the weight of each row that the layer sees: of each token, where samples are cut into tokens."""
        n_tokens, rest = divmod(n_rows, len(weight))
        if rest or not n_tokens:
            raise ValueError(
                f"Layer {self.name!r} sees {n_rows} rows where the batch has {len(weight)} weighted samples, so what "
                "a row weighs is not known. Sample weights need a module whose first axis, in every layer, is that of "
                "samples, or of samples times tokens in this order; one with tokens first, such as (T, B, F), cannot "
                "be weighted. Make it batch-first, or give whole-number weights as repetitions of the samples."
            )
        return weight.double().repeat_interleave(n_tokens)


def first_batch(objective: Objective) -> Batch:
    """Return a batch to look at a forward pass with."""
    batch = next(iter(objective.batches()), None)
    if batch is None:
        raise ValueError("Repairing statistics needs at least one batch of inputs; the objective has none.")
    return batch


def calls_of(layers: dict[str, nn.Module], state: State, objective: Objective) -> Counter[str]:
    """Return how often each layer runs in a forward pass, in the order in which they first run."""
    seen: Counter[str] = Counter()
    hooks = [m.register_forward_pre_hook(lambda _m, _a, name=name: seen.update([name])) for name, m in layers.items()]
    try:
        with torch.no_grad():
            objective.forward(state, first_batch(objective).x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def n_rows(batch: Batch) -> int:
    """Return how many rows a batch has."""
    return len(next(iter(batch.x.values())) if isinstance(batch.x, dict) else batch.x)


def without_single_rows(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Iterate over batches; one of a single row, on which BatchNorm cannot train, joins the one before it."""
    last: Batch | None = None
    for batch in batches:
        if last is not None and n_rows(batch) == 1:
            last = _joined(last, batch)
            continue
        if last is not None:
            yield last
        last = batch
    if last is not None:
        yield last


def _joined(a: Batch, b: Batch) -> Batch:
    if isinstance(a.x, dict) and isinstance(b.x, dict):
        x: Input = {k: torch.cat([v, b.x[k]]) for k, v in a.x.items()}
    else:
        assert isinstance(a.x, Tensor) and isinstance(b.x, Tensor)  # noqa: PT018
        x = torch.cat([a.x, b.x])
    weighted = a.weight is not None or b.weight is not None
    weights = [torch.ones(n_rows(c), device=c.y.device) if c.weight is None else c.weight for c in (a, b)]
    return Batch(x, torch.cat([a.y, b.y]), torch.cat(weights) if weighted else None)
