"""Rows that are drawn from batches, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from skfusion._batches import n_rows, take
from skfusion.objective import Batch


def drawn(batches: Callable[[], Iterable[Batch]], n: int | None, generator: torch.Generator) -> Iterator[Batch]:
    """Iterate over n rows of the data, drawn without replacement, in their order; over all where n is None.

    Data may be sorted by class, so the first n rows would not do. Rows are counted in a separate pass.
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


def mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of the rows' values by their weights."""
    return values.mean() if weight is None else (values * weight).sum() / weight.sum()
