"""Operations along some axes: reductions, for which order does not matter, and those for which it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from skfusion.tracing._axis import fixed_axes, fixed_axis
from skfusion.tracing._call import RULES, Call, Labelled, rule
from skfusion.tracing._engine import Label

SUMS = ("sum", "mean", "nansum", "prod", "any", "all", "count_nonzero", "amax", "amin", "aminmax", "logsumexp")
SPREADS = ("var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm")
EXTREMES = ("max", "min", "median", "nanmedian", "mode", "kthvalue")
INDICES = ("argmax", "argmin")
ORDERED = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "_fft_r2c", "_fft_c2r", "_fft_c2c")


def dims_of(dim: Any, n_axes: int) -> list[int]:
    """Return axes as numbers from 0; None and an empty list mean all of them."""
    dims = [dim] if isinstance(dim, int) else list(dim or range(n_axes))
    return sorted({d % n_axes for d in dims if n_axes})


def _without(call: Call, label: Sequence[Any], dims: Sequence[int], n_out: int) -> Label:
    """Return the label of a tensor of which some axes were reduced, to one position or to nothing."""
    keep = n_out == len(label)
    return call.engine.tidy(
        [fixed_axis(1) if i in dims else axis for i, axis in enumerate(label) if keep or i not in dims]
    )


@rule(*SUMS, *SPREADS)
def reduce(call: Call) -> Labelled:
    """The order along the axes does not matter."""
    label = call.label(call.tensors[0])
    return call.give(_without(call, label, dims_of(call["dim"], len(label)), call.first.dim()))


@rule(*EXTREMES, *INDICES)
def extreme(call: Call) -> Labelled:
    """The value does not depend on the order of positions; the index does."""
    if len(call.tensors) == 2:  # of two tensors, number by number
        return RULES["pointwise"].function(call)
    label = call.label_of("self")
    if isinstance(call.out, Tensor) and call.name not in INDICES:  # the value alone, of the whole tensor
        return _without(call, label, range(len(label)), 0)
    dims = dims_of(call["dim"], len(label))
    call.labels.reveals_order(call.outs[-1], [label[d] for d in dims])
    return call.give(_without(call, label, dims, call.first.dim()))


@rule("sort", "topk", "argsort", "msort")
def sort(call: Call) -> Labelled:
    """Sorted values do not depend on the order of positions; the indices do."""
    engine, label = call.engine, call.label_of("self")
    dims = dims_of(call["dim"], len(label)) if call["dim"] is not None else [0]
    for indices in call.outs[1:] if call.name != "argsort" else call.outs:
        call.labels.reveals_order(indices, [label[d] for d in dims])
    mixed = engine.mix(label, dims)
    out = engine.tidy([fixed_axis(call.first.shape[i]) if i in dims else axis for i, axis in enumerate(mixed)])
    return [out, fixed_axes(call.first.shape)] if len(call.outs) > 1 else out


@rule(*ORDERED, "diff")
def ordered(call: Call) -> Labelled:
    """The order along the axes matters, so they are pinned."""
    label = call.label_of("self")
    dims = dims_of(call["dim"], len(label))
    for d in dims:
        call.engine.pin_axis(label[d], "an operation in the order of positions")
    sizes = call.first.shape
    return call.give(call.engine.tidy([fixed_axis(sizes[i]) if i in dims else a for i, a in enumerate(label)]))


@rule("triu", "tril")
def triangle(call: Call) -> Labelled:
    """Rows and columns are compared by their positions."""
    *lead, rows, columns = call.label_of("self")
    call.engine.pin_axes((rows, columns), "an operation in the order of positions")
    return call.engine.tidy([*lead, rows, columns])


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax")
def softmax(call: Call) -> Labelled:
    """Positions along the axis are normalised together."""
    label = call.label_of("self")
    return call.engine.mix(label, dims_of(call["dim"], len(label)))
