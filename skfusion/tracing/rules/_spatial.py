"""Operations that move or mix positions in space, and keep channels apart."""

from __future__ import annotations

import numpy as np

from skfusion.tracing._axis import fixed_axes, fixed_axis
from skfusion.tracing._call import Call, Labelled, rule

# How many of the last axes are space.
IN_SPACE = {
    **{
        f"{kind}_pool{n}d": n
        for kind in ("avg", "max", "_adaptive_avg", "adaptive_max", "adaptive_avg")
        for n in (1, 2, 3)
    },
    **{f"max_pool{n}d_with_indices": n for n in (2, 3)},
    **{f"max_unpool{n}d": n for n in (2, 3)},
    **{f"fractional_max_pool{n}d": n for n in (2, 3)},
    **{f"{kind}_pad{n}d": n for kind in ("reflection", "replication") for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": n for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": n for n in (1, 2, 3)},
    **{"upsample_linear1d": 1, "upsample_bilinear2d": 2, "upsample_bicubic2d": 2, "upsample_trilinear3d": 3},
    **{"_upsample_bilinear2d_aa": 2, "_upsample_bicubic2d_aa": 2},
    **{"mkldnn_max_pool2d": 2, "grid_sampler_2d": 2, "grid_sampler_3d": 3},
}


@rule(*IN_SPACE)
def space(call: Call) -> Labelled:
    """Pin space; the axes before it stay, and are unified with those of indices or a grid."""
    n, engine = IN_SPACE[call.name], call.engine
    labels = [list(call.label(t)) for t in call.tensors]
    if call.name.startswith("grid_sampler"):
        labels[1].insert(1, fixed_axis(1))  # a grid has no channels, and its coordinates are its last axis
        engine.pin_axis(labels[1].pop(), "coordinates")
    engine.pin_axes((a for label in labels for a in label[-n:]), "positions in space")
    leads = [label[:-n] for label in labels]
    shape = [axis.n for axis in leads[0]]
    lead = leads[0] if len(leads) == 1 else engine.elementwise(leads, shape)
    return call.give(engine.tidy([*lead, *fixed_axes(call.first.shape[-n:])]))


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Labelled:
    """Make each channel of the channels that hold the cells of its pixels."""
    engine, (*lead, channels, height, width) = call.engine, call.label_of("self")
    cells = call["upscale_factor"] ** 2
    channels, cell = engine.factor(channels, [channels.n // cells, cells])
    engine.pin_axes((cell, height, width), "positions in space")
    return engine.tidy([*lead, channels, *fixed_axes(call.out.shape[-2:])])


@rule("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Labelled:
    """Make a channel of each pixel in a cell, for each channel."""
    engine, (*lead, channels, height, width) = call.engine, call.label_of("self")
    engine.pin_axes((height, width), "positions in space")
    channels = engine.product([channels, fixed_axis(call["downscale_factor"] ** 2)])
    return engine.tidy([*lead, channels, *fixed_axes(call.out.shape[-2:])])


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call) -> Labelled:
    """Write channels in rows and read them in columns."""
    label, n = call.label_of("self"), call["groups"]
    order = np.arange(label[1].n).reshape(n, -1).T.reshape(-1)
    return [label[0], call.engine.resolve(label[1]).at(order), *label[2:]]


@rule("im2col")
def im2col(call: Call) -> Labelled:
    """Make a channel of each pixel of a patch, for each channel."""
    engine, (*lead, channels, height, width) = call.engine, call.label_of("self")
    engine.pin_axes((height, width), "positions in space")
    patch = call.out.shape[-2] // channels.n
    return engine.tidy([*lead, engine.product([channels, fixed_axis(patch)]), fixed_axis(call.out.shape[-1])])


@rule("col2im")
def col2im(call: Call) -> Labelled:
    """Make each channel of the channels that hold the pixels of its patches."""
    engine, (*lead, channels, patches) = call.engine, call.label_of("self")
    n = call.out.shape[-3]
    channels, pixels = engine.factor(channels, [n, channels.n // n])
    engine.pin_axes((pixels, patches), "positions in space")
    return engine.tidy([*lead, channels, *fixed_axes(call.out.shape[-2:])])


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
