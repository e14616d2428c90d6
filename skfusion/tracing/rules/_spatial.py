"""Operations that move or mix positions in space, and keep channels apart."""

from __future__ import annotations

import numpy as np

from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing.algebra import fixed_axes, fixed_axis

KINDS = (
    *("avg_pool", "max_pool", "_adaptive_avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "max_unpool"),
    *("fractional_max_pool", "reflection_pad", "replication_pad", "upsample_nearest", "_upsample_nearest_exact"),
)
# How many of the last axes are space.
IN_SPACE = {
    **{f"{kind}{n}d": n for n in (1, 2, 3) for kind in KINDS},
    **{f"max_pool{n}d_with_indices": n for n in (2, 3)},
    **{"upsample_linear1d": 1, "upsample_bilinear2d": 2, "upsample_bicubic2d": 2, "upsample_trilinear3d": 3},
    **{"_upsample_bilinear2d_aa": 2, "_upsample_bicubic2d_aa": 2},
    **{"mkldnn_max_pool2d": 2, "grid_sampler_2d": 2, "grid_sampler_3d": 3},
}


@rule(*IN_SPACE)
def space(call: Call) -> Labelled:
    """Pin space; the axes before it stay, and are unified with those of indices or a grid."""
    n, engine = IN_SPACE[call.name], call.engine
    labels = [list(call.label_of(t)) for t in call.tensors]
    if call.name.startswith("grid_sampler"):
        labels[1].insert(1, fixed_axis(1))  # a grid has no channels, and its coordinates are its last axis
        engine.pin_axis(labels[1].pop(), "coordinates")
    engine.pin_axes((a for label in labels for a in label[-n:]), "positions in space")
    leads = [label[:-n] for label in labels]
    shape = [axis.n for axis in leads[0]]
    lead = leads[0] if len(leads) == 1 else engine.elementwise(leads, shape)
    return engine.tidy([*lead, *fixed_axes(call.first.shape[-n:])])


@rule("pixel_shuffle", "col2im")
def channels_to_pixels(call: Call) -> Labelled:
    """Make each channel of the channels that hold the pixels of its cells, or of its patches (one axis of them)."""
    engine, label, n_space = call.engine, call.label_of("self"), 1 if call.name == "col2im" else 2
    *lead, channels = label[:-n_space]
    n = call.out.shape[-3]
    channels, pixels = engine.factor(channels, [n, channels.n // n])
    engine.pin_axes((pixels, *label[-n_space:]), "positions in space")
    return engine.tidy([*lead, channels, *fixed_axes(call.out.shape[-2:])])


@rule("pixel_unshuffle", "im2col")
def pixels_to_channels(call: Call) -> Labelled:
    """Make a channel of each pixel of a cell, or of a patch (one axis of them), for each channel."""
    engine, (*lead, channels, height, width) = call.engine, call.label_of("self")
    engine.pin_axes((height, width), "positions in space")
    n, *space = call.out.shape[len(lead) :]
    return engine.tidy([*lead, engine.product([channels, fixed_axis(n // channels.n)]), *fixed_axes(space)])


@rule("constant_pad_nd")
def constant_pad(call: Call) -> Labelled:
    """Put equal numbers before and after, or cut where widths are negative."""
    engine, label, widths = call.engine, list(call.label_of("self")), list(call["pad"])
    for i, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        d = len(label) - 1 - i
        if before < 0 or after < 0:
            label = engine.take(label, d, np.arange(max(0, -before), label[d].n - max(0, -after)))
        added = [max(before, 0), max(after, 0)]
        if engine.resolve(label[d]).fixed:
            label[d] = fixed_axis(label[d].n + sum(added))
        elif any(added):
            label[d] = engine.concat([engine.fresh(added[0]), label[d], engine.fresh(added[1])])
    return engine.tidy(label)
