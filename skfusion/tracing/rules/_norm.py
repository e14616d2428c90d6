"""Normalisations: which units share statistics, and which have weights."""

from __future__ import annotations

from torch import Tensor

from skfusion.tracing._axis import fixed_axis
from skfusion.tracing._call import Call, Labelled, rule

BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
OTHER_BATCH_NORMS = ("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update")
OF_CHANNELS = ("weight", "bias", "running_mean", "running_var")


@rule("batch_norm", *BATCH_NORMS, *OTHER_BATCH_NORMS)
def batch_norm(call: Call) -> Labelled:
    """Each channel has its statistics and weights."""
    engine, label = call.engine, call.label_of("input")
    for name in OF_CHANNELS:
        if isinstance(call[name], Tensor):
            engine.unify(label[1], call.label_of(name)[0])
    if not engine.resolve(label[1]).fixed:
        engine.restrict_axis(label[1], set())
    return [label, *[[label[1]]] * (len(call.outs) - 1)] if isinstance(call.out, (tuple, list)) else label


@rule("native_layer_norm", "layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(call: Call) -> Labelled:
    """The last axes share statistics, and may move if their weights do."""
    engine, x, n_lead = call.engine, call["input"], call["input"].dim() - len(call["normalized_shape"])
    out = engine.mix(call.label(x), range(n_lead, x.dim()))
    weights = [call.label_of(name) for name in ("weight", "bias") if isinstance(call[name], Tensor)]
    if weights:
        out = engine.elementwise([out, *weights], x.shape)
    if not isinstance(call.out, (tuple, list)):
        return out
    statistics = engine.tidy([*out[:n_lead], *[fixed_axis(1)] * (x.dim() - n_lead)])
    return [out, *[statistics] * (len(call.out) - 1)]


@rule("native_group_norm", "group_norm")
def group_norm(call: Call) -> Labelled:
    """The channels of a group share statistics: groups move as a whole, and channels within them."""
    engine = call.engine
    n_groups = call["group"] or call["num_groups"]
    label = call.label_of("input")
    channels, weights = label[1], [call.label_of(n)[0] for n in ("weight", "bias") if isinstance(call[n], Tensor)]
    sizes = [n_groups, channels.n // n_groups]
    if 1 < n_groups < channels.n:
        engine.factor(channels, sizes)
    for weight in weights:
        engine.unify(channels, weight)
    if weights and not engine.resolve(channels).fixed:
        engine.restrict_axis(channels, set())
    group = channels if n_groups == channels.n else engine.factor(channels, sizes)[0]
    return [label, [label[0], group], [label[0], group]] if isinstance(call.out, (tuple, list)) else label
