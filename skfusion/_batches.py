"""Rows of batches: counted, taken, joined and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from skfusion.objective import Batch, Input


def n_rows(x: Input) -> int:
    """Return the number of rows of an input."""
    return len(x if isinstance(x, Tensor) else tensors_of(x)[0])


def size_of(batch: Batch) -> float:
    """Return the sum of the weights of the rows of a batch, or how many there are."""
    return float(n_rows(batch.x)) if batch.weight is None else float(batch.weight.sum())


def tensors_of(x: Input) -> list[Tensor]:
    """Return the tensors of an input; arguments by name may hold flags besides."""
    return [x] if isinstance(x, Tensor) else [t for t in x.values() if isinstance(t, Tensor)]


def take(batch: Batch, index: Tensor) -> Batch:
    """Return the rows of a batch at some positions."""
    weight = None if batch.weight is None else batch.weight[index.to(batch.weight.device)]
    return Batch(rows_at(batch.x, index), batch.y[index.to(batch.y.device)], weight)


def rows_at(x: Input, index: Tensor) -> Input:
    """Return the rows of an input at some positions."""
    return mapped(x, lambda t: t[index.to(t.device)])


def mapped(x: Input, function: Callable[[Tensor], Tensor]) -> Input:
    """Return an input with a function applied to its tensors."""
    if isinstance(x, Tensor):
        return function(x)
    return {k: function(t) if isinstance(t, Tensor) else t for k, t in x.items()}


def joined(batches: Sequence[Batch]) -> Batch:
    """Return batches as one; rows without a weight count 1 where others have one."""
    first = batches[0].x
    x: Input
    if isinstance(first, dict):
        parts = {k: [b.x[k] for b in batches if isinstance(b.x, dict)] for k in first}
        x = {k: torch.cat(some) if isinstance(some[0], Tensor) else some[0] for k, some in parts.items()}
    else:
        x = torch.cat([b.x for b in batches if isinstance(b.x, Tensor)])
    weights = [torch.ones(n_rows(b.x), device=b.y.device) if b.weight is None else b.weight for b in batches]
    weighted = any(b.weight is not None for b in batches)
    return Batch(x, torch.cat([b.y for b in batches]), torch.cat(weights) if weighted else None)


def counting(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Iterate over batches without the rows of weight zero, and without batches that have no others."""
    for batch in batches:
        if batch.weight is None or bool((batch.weight > 0).all()):
            yield batch
        elif bool((batch.weight > 0).any()):
            yield take(batch, (batch.weight > 0).nonzero()[:, 0])


def without_single_rows(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Iterate over batches, of which three are held at most; a single row joins the next one, the last row the last.

    BatchNorm cannot train on a single row, and torch has other kernels for it.
    """
    last: Batch | None = None
    single: Batch | None = None
    for batch in batches:
        more = batch if single is None else joined([single, batch])
        single = more if n_rows(more.x) == 1 else None
        if single is None:
            if last is not None:
                yield last
            last = more
    if single is not None:
        last = single if last is None else joined([last, single])
    if last is not None:
        yield last


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


def row_weights(weight: Tensor | None, x: Tensor, layer: str) -> Tensor:
    """Return the weight of each row that a layer sees: of each token, where samples are cut into tokens."""
    if weight is None:
        return torch.ones(len(x), dtype=torch.float64, device=x.device)
    n_tokens, rest = divmod(len(x), len(weight))
    if rest:
        raise ValueError(
            f"Layer {layer!r} sees {len(x)} rows where the batch has {len(weight)} weighted samples, so what a row "
            "weighs is not known. Sample weights need a module whose first axis, in every layer, is that of samples, "
            "or of samples times tokens in this order; one with tokens first, such as (T, B, F), cannot be weighted. "
            "Make it batch-first, or give whole-number weights as repetitions of the samples."
        )
    return weight.double().to(x.device).repeat_interleave(n_tokens)
