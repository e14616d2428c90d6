"""Operations that rearrange positions: units keep their atoms, at other positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing.algebra import Axis, Label, fixed_axes, fixed_axis

ALONG_AXES = (
    *("permute", "permute_copy", "transpose", "transpose_copy", "swapaxes", "t", "numpy_T", "unsqueeze", "squeeze"),
    *("slice", "slice_copy", "narrow", "select", "select_copy", "unbind", "split", "split_with_sizes", "chunk"),
    *("split_with_sizes_copy", "unsafe_split", "unsafe_chunk", "tensor_split"),
)


@rule(*ALONG_AXES, view=True)
@rule("flip", "channel_shuffle", "native_channel_shuffle")
def moved(call: Call) -> Labelled:
    """Select and reorder axes and positions on them; the operation itself says which, applied to their numbers."""
    sizes = [axis.n for axis in call.label_of("self")]
    runs = []
    for d, n in enumerate(sizes):  # each entry is its position on this axis
        numbers = torch.arange(n, device="cpu").view(n, *[1] * (len(sizes) - 1 - d)).expand(sizes)
        out = call.func(numbers, *call.args[1:], **call.kwargs)
        runs.append(out if isinstance(out, (tuple, list)) else [out])
    return [_placed(call, [run[i].numpy() for run in runs], out.shape) for i, out in enumerate(call.outs)]


def _placed(call: Call, sources: Sequence[np.ndarray], shape: Sequence[int]) -> Label:
    """Return the label of an output, of which each entry has the positions ``sources`` on the axes of the input."""
    label, out = call.label_of("self"), fixed_axes(shape)
    if 0 in shape:
        return out
    homes: dict[int, int] = {}
    for d, source in enumerate(sources):
        lines = [np.moveaxis(source, e, -1)[(0,) * (len(shape) - 1)] for e in range(len(shape))]
        home = next((e for e, line in enumerate(lines) if (line != line[0]).any()), None)
        label = call.engine.take(label, d, source.reshape(-1)[:1] if home is None else lines[home])
        if home is not None:
            homes[home] = d
    return [label[homes[e]] if e in homes else axis for e, axis in enumerate(out)]


@rule("roll")
def roll(call: Call) -> Labelled:
    """Move positions in a circle; without axes, in the order of the whole tensor."""
    if call["dims"]:
        return moved(call)
    call.engine.pin_axes(call.label_of("self"), "moved in the order of the whole tensor")
    return fixed_axes(call.out.shape)


@rule(
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy", "flatten", "unflatten"),
    view=True,
)
def view(call: Call) -> Labelled:
    """Merge and cut axes."""
    shape = list(call.out.shape)
    return call.engine.normal(call.engine.view(call.label_of(call.tensors[0]), shape))


@rule("expand", "expand_copy", "broadcast_to", "repeat")
def copied(call: Call) -> Labelled:
    """Copy along axes: equal copies of one position may be exchanged, those of several follow one another."""
    shape, label = call.out.shape, call.label_of("self")
    label = [fixed_axis(1)] * (len(shape) - len(label)) + label
    return [_copies(call, axis, n) for axis, n in zip(label, shape, strict=True)]


def _copies(call: Call, axis: Axis, n: int) -> Axis:
    if axis.n == n:
        return axis
    return call.engine.fresh(n) if axis.n == 1 else call.engine.concat([axis] * (n // axis.n))


@rule("cat", "concat")
def cat(call: Call) -> Labelled:
    """Concatenate axes."""
    engine, shape = call.engine, list(call.out.shape)
    labels = [list(call.label_of(t)) for t in call["tensors"] if t.dim() == len(shape)]  # empty ones may have one axis
    dim = call["dim"] % len(shape)
    if len(labels) == 1:
        return labels[0]
    shape[dim] = 1
    others = [[*label[:dim], fixed_axis(1), *label[dim + 1 :]] for label in labels]
    out = engine.elementwise(others, shape)
    out = [engine.richer(axis, *(label[i] for label in labels)) if i != dim else axis for i, axis in enumerate(out)]
    out[dim] = engine.concat([label[dim] for label in labels])
    return engine.tidy(out)


@rule("stack")
def stack(call: Call) -> Labelled:
    """Add an axis; the others may move in another way for each of its positions, as families over its number."""
    engine, shape = call.engine, list(call.out.shape)
    labels = [call.label_of(t) for t in call["tensors"]]
    dim = call["dim"] % len(shape)
    n = shape.pop(dim)
    in_context = [engine.contexts(engine.resolve(axis)) for label in labels for axis in label]
    if any(in_context) or n == 1:
        out = list(engine.elementwise(labels, shape))
        out.insert(dim, fixed_axis(n))
        return out
    number = engine.new(n, (), pinned=True)
    out = [_stacked(call, [label[i] for label in labels], number.id) for i in range(len(shape))]
    ranged = any(number.id in engine.contexts(axis) for axis in out)
    out.insert(dim, engine.axis_of(number) if ranged else fixed_axis(n))
    return out


def _stacked(call: Call, axes: Label, number: int) -> Axis:
    """Return one axis for several: a family over their number, unless they are equal."""
    if all(axis.fixed for axis in axes):
        return fixed_axis(axes[0].n)
    if all(axis.same(axes[0]) for axis in axes):
        return axes[0]
    family = call.engine.new(axes[0].n, (number,))
    family.instances[number] = {i: (axis.paths, axis.tags) for i, axis in enumerate(axes)}
    return call.engine.axis_of(family)


@rule("as_strided")
def as_strided(call: Call) -> Labelled:
    """Follow a change of strides that leaves positions where they were, such as another memory format."""
    label, out = call.label_of("self"), call.out
    if [axis.n for axis in label] != list(out.shape):
        return None
    moved = any(a != b for a, b, n in zip(call.strides, out.stride(), out.shape, strict=True) if n > 1)
    return None if moved or call["storage_offset"] else label


@rule("view_as_real", view=True)
def view_as_real(call: Call) -> Labelled:
    """Add a last axis of real and imaginary parts."""
    return [*call.label_of("self"), fixed_axis(2)]
