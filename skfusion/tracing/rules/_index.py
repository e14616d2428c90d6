"""Lookups and writes by index: a constant index selects positions, one that is computed pins the axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing.algebra import Ints, Label, fixed_axes, fixed_axis

BY_INDEX = "positions are looked up by number"


@rule("embedding")
def embedding(call: Call) -> Labelled:
    """Look up rows of a table."""
    rows, width = call.label_of("weight")
    call.engine.pin_axis(rows, BY_INDEX)
    return call.engine.tidy([*call.label_of("indices"), width])


@rule("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> Labelled:
    """Sum rows of a table."""
    rows, width = call.label_of("weight")
    call.engine.pin_axes((rows, *(a for t in call.tensors[1:] for a in call.label_of(t))), BY_INDEX)
    return [call.engine.tidy([fixed_axis(call.first.shape[0]), width])]


@rule("index", "_unsafe_index", "index_select")
def index(call: Call) -> Labelled:
    """Look up positions of some axes."""
    one_axis = call.name == "index_select"
    indices = [*[None] * (call["dim"] % call["self"].dim()), call["index"]] if one_axis else call["indices"]
    return _looked_up(call, indices, call.out.shape)


@rule("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(call: Call) -> Labelled:
    """Write values to positions of some axes."""
    x, indices = call["self"], call["indices"]
    start, used, _ = _layout(indices)
    rest = [n for i, n in enumerate(x.shape) if i not in used]
    shape = [*rest[:start], *np.broadcast_shapes(*(indices[i].shape for i in used)), *rest[start:]]
    picked = _looked_up(call, indices, shape, static=False)
    if picked is None:
        return None
    call.engine.elementwise([picked, call.label_of("values")], shape)
    return call.label_of(x)


def _layout(indices: Sequence[Tensor | None]) -> tuple[int, list[int], int]:
    """Return where the axes of the index are in the result, which axes are indexed, and how many replace them."""
    used = [i for i, t in enumerate(indices) if t is not None]
    adjacent = used == list(range(used[0], used[-1] + 1))
    return used[0] if adjacent else 0, used, max(t.dim() for t in indices if t is not None)


def _looked_up(call: Call, indices: Sequence[Tensor | None], shape: Sequence[int], static: bool = True) -> Label | None:
    """Return the label of a lookup: a selection where the index is a constant, else the axes are pinned."""
    label = list(call.label_of("self"))
    start, used, n_index = _layout(indices)
    tensors = [t for t in indices if t is not None]
    if any(t.dtype in (torch.bool, torch.uint8) for t in tensors):
        return None  # how many positions a mask selects depends on its numbers
    if static and len(used) == 1:
        constant = _constant(call, tensors[0], label[used[0]].n)
        if constant is not None:
            return call.engine.take(label, used[0], constant)
    call.engine.pin_axes((*(label[i] for i in used), *(axis for t in tensors for axis in call.label_of(t))), BY_INDEX)
    rest = [axis for i, axis in enumerate(label) if i not in used]
    looked_up = fixed_axes(shape[start : start + n_index])
    return call.engine.tidy([*rest[:start], *looked_up, *rest[start:]])


def _constant(call: Call, tensor: Tensor, n: int) -> Ints | None:
    """Return a constant index without duplicates."""
    value = call.labels.value(tensor) if tensor.dim() == 1 and tensor.numel() else None
    if value is None:
        return None
    positions: Ints = value.astype(np.int64) % n
    # a position that is taken twice would be one unit in two places, which no label of a selection says
    return positions if len(np.unique(positions)) == len(positions) else None


@rule("index_add", "index_copy", "index_reduce")
def index_add(call: Call) -> Labelled:
    """Write rows to positions of one axis."""
    x, source = call["self"], call["source"]
    dim = call["dim"] % x.dim()
    label, rows = list(call.label_of(x)), list(call.label_of(source))
    call.engine.pin_axes((label[dim], rows[dim], *call.label_of("index")), BY_INDEX)
    shape = [1 if i == dim else n for i, n in enumerate(x.shape)]
    others = [[*part[:dim], fixed_axis(1), *part[dim + 1 :]] for part in (label, rows)]
    call.engine.elementwise(others, shape)
    return call.label_of(x)


@rule("gather", "scatter", "scatter_add", "scatter_reduce")
def gather(call: Call) -> Labelled:
    """Look up positions along one axis, for each index of the others."""
    x, engine = call["self"], call.engine
    dim = call["dim"] % max(x.dim(), 1)
    first, *others = [call.label_of(t) for t in call.tensors if t.dim()]
    for label in (first, *others):
        for i, axis in enumerate(label):
            if i == dim or axis.n != first[i].n:
                engine.pin_axis(axis, BY_INDEX)
                engine.pin_axis(first[i], BY_INDEX)
    shape = [1 if i == dim else axis.n for i, axis in enumerate(first)]
    wide = [
        [fixed_axis(1) if shape[i] == 1 or a.n != shape[i] else a for i, a in enumerate(l)] for l in (first, *others)
    ]
    met = engine.elementwise(wide, shape)
    sizes = call.out.shape
    return engine.tidy([a if a.n == sizes[i] and i != dim else fixed_axis(sizes[i]) for i, a in enumerate(met)])
