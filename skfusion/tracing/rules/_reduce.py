"""Operations along some axes: reductions and normalisations, for which order does not matter, and those with an order.

A reduced axis has one position or is dropped; normalised axes keep their units, which may move if their weights do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from skfusion.tracing._call import RULES, Call, Labelled, rule
from skfusion.tracing.algebra import Label, fixed_axes, fixed_axis

SUMS = ("sum", "mean", "nansum", "prod", "any", "all", "count_nonzero", "amax", "amin", "aminmax", "logsumexp")
SPREADS = ("var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm")
EXTREMES = ("max", "min", "median", "nanmedian", "mode", "kthvalue")
INDICES = ("argmax", "argmin")
CUMULATIVE = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "diff", "_fft_r2c", "_fft_c2r", "_fft_c2c")
ORDERED = {
    **dict.fromkeys(CUMULATIVE, ("dim",)),
    "unfold": ("dimension",),
    "diagonal": ("dim1", "dim2"),
    "view_as_complex": (),
}
"""By name, the arguments that are axes along which the order matters; the last axis where there are none."""

BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
OTHER_BATCH_NORMS = ("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update")
OF_CHANNELS = ("weight", "bias", "running_mean", "running_var")


def dims_of(dim: Any, n_axes: int) -> list[int]:
    """Return axes as numbers from 0; None and an empty list mean all of them."""
    dims = [dim] if isinstance(dim, int) else list(dim or range(n_axes))
    return sorted({d % n_axes for d in dims if n_axes})


def along(call: Call, label: Label, dims: Iterable[int]) -> Label:
    """Return the label of the first output, on which some axes of the input are dropped, or nothing moves on them."""
    shape = call.first.shape
    dropped = {*dims} if len(shape) < len(label) else set()
    out = [fixed_axis(shape[i]) if i in dims else axis for i, axis in enumerate(label) if i not in dropped]
    return call.engine.tidy([*out, *fixed_axes(shape[len(out) :])])


@rule(*SUMS, *SPREADS)
def reduce(call: Call) -> Labelled:
    """The order along the axes does not matter."""
    label = call.label_of(call.tensors[0])
    return along(call, label, dims_of(call["dim"], len(label)))


@rule(*EXTREMES, *INDICES)
def extreme(call: Call) -> Labelled:
    """The value does not depend on the order of positions; the index does."""
    if len(call.tensors) == 2:  # of two tensors, number by number
        return RULES["pointwise"].function(call)
    label = call.label_of("self")
    dims = dims_of(call["dim"], len(label))
    if len(call.outs) > 1 or call.name in INDICES:
        call.labels.reveals_order(call.outs[-1], [label[d] for d in dims])
    return along(call, label, dims)


@rule("sort", "topk", "argsort", "msort")
def sort(call: Call) -> Labelled:
    """Sorted values do not depend on the order of positions; the indices do."""
    label = call.label_of("self")
    dims = dims_of(call["dim"], len(label)) if call["dim"] is not None else [0]
    for indices in call.outs[1:] if call.name != "argsort" else call.outs:
        call.labels.reveals_order(indices, [label[d] for d in dims])
    return [along(call, call.engine.mix(label, dims), dims), fixed_axes(call.first.shape)]


@rule(*ORDERED)
def ordered(call: Call) -> Labelled:
    """The order along the axes matters, so they are pinned."""
    label, arguments = call.label_of("self"), ORDERED[call.name.removesuffix("_")]
    given = [call[name] for name in arguments]
    dims = dims_of(given[0] if len(given) == 1 else given or -1, len(label))
    call.engine.pin_axes((label[d] for d in dims), "an operation in the order of positions")
    return along(call, label, dims)


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


# ------------------------------------------------------------------------------------------------------ normalisations


@rule("batch_norm", *BATCH_NORMS, *OTHER_BATCH_NORMS)
def batch_norm(call: Call) -> Labelled:
    """Each channel has its statistics and weights."""
    engine, label = call.engine, call.label_of("input")
    for weight in _weights(call, OF_CHANNELS):
        engine.unify(label[1], weight[0])
    if not engine.resolve(label[1]).fixed:
        engine.restrict_axis(label[1], set())
    return [label, *[[label[1]]] * (len(call.outs) - 1)]


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(call: Call) -> Labelled:
    """The last axes share statistics, and may move if their weights do."""
    engine, x, n_lead = call.engine, call["input"], call["input"].dim() - len(call["normalized_shape"])
    out, weights = engine.mix(call.label_of(x), range(n_lead, x.dim())), _weights(call)
    if weights:
        out = engine.elementwise([out, *weights], x.shape)
    statistics = engine.tidy([*out[:n_lead], *[fixed_axis(1)] * (x.dim() - n_lead)])
    return [out, statistics, statistics]


@rule("native_group_norm", "group_norm")
def group_norm(call: Call) -> Labelled:
    """The channels of a group share statistics: groups move as a whole, and channels within them."""
    engine, label, weights = call.engine, call.label_of("input"), _weights(call)
    channels, n_groups = label[1], call["group"] or call["num_groups"]
    sizes = [n_groups, channels.n // n_groups]
    if 1 < n_groups < channels.n:
        engine.factor(channels, sizes)
    for weight in weights:
        engine.unify(channels, weight[0])
    if weights and not engine.resolve(channels).fixed:
        engine.restrict_axis(channels, set())
    group = channels if n_groups == channels.n else engine.factor(channels, sizes)[0]
    return [label, [label[0], group], [label[0], group]]


def _weights(call: Call, names: Sequence[str] = ("weight", "bias")) -> list[Label]:
    """Return the labels of those weights that a normalisation has."""
    return [call.label_of(name) for name in names if isinstance(call[name], Tensor)]
