"""Rows out of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from skfusion.objective import Batch, Input


def drawn(batches: Callable[[], Iterable[Batch]], n: int | None, generator: torch.Generator) -> Iterator[Batch]:
    """Iterate over n rows of the data, drawn without replacement, in their order; over all where n is None.

    Data may be sorted by class, so the first n rows would not do. They are counted in a pass of their own.

    Parameters
    ----------
    batches : callable
        ``batches()`` iterates over the data, alike every time.
    n : int or None
        Rows to draw, at least 1.
    generator : torch.Generator
        Source of randomness; not used where all rows are taken.

    Yields
    ------
    Batch
        Rows that lie in one batch of the data.
    """
    if n is not None and n < 1:
        raise ValueError(f"The number of rows to draw must be at least 1, or None for all; got {n}.")
    total = 0 if n is None else sum(n_rows(batch.x) for batch in batches())
    if n is None or n >= total:
        yield from batches()
        return
    chosen, start = torch.randperm(total, generator=generator)[:n].sort().values, 0
    for batch in batches():
        stop = start + n_rows(batch.x)
        here = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(here):
            yield take(batch, here)
        start = stop


def n_rows(x: Input) -> int:
    """Return the number of rows of an input."""
    return len(next(iter(x.values())) if isinstance(x, dict) else x)


def take(batch: Batch, index: Tensor) -> Batch:
    """Return the rows of a batch at some positions."""

    weight = None if batch.weight is None else batch.weight[index.to(batch.weight.device)]
    return Batch(rows_at(batch.x, index), batch.y[index.to(batch.y.device)], weight)


def rows_at(x: Input, index: Tensor) -> Input:
    """Return the rows of an input at some positions."""
    return mapped(x, lambda t: t[index.to(t.device)])


def mapped(x: Input, function: Callable[[Tensor], Tensor]) -> Input:
    """Return an input with a function applied to its tensors."""
    return {k: function(t) for k, t in x.items()} if isinstance(x, dict) else function(x)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return batches as one; they all have weights, or none."""
    first = batches[0].x
    x: Input
    if isinstance(first, dict):
        x = {k: torch.cat([b.x[k] for b in batches if isinstance(b.x, dict)]) for k in first}
    else:
        x = torch.cat([b.x for b in batches if isinstance(b.x, Tensor)])
    weights = [b.weight for b in batches if b.weight is not None]
    return Batch(x, torch.cat([b.y for b in batches]), torch.cat(weights) if weights else None)


def mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of the rows' values by their weights."""
    return values.mean() if weight is None else (values * weight).sum() / weight.sum()
