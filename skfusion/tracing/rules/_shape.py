"""Operations that rearrange positions: units keep their atoms, at other positions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from skfusion.tracing._axis import Axis, fixed_axis
from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing._engine import Label
from skfusion.tracing.rules._reduce import dims_of


@rule(
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy", "flatten", "unflatten"),
    view=True,
)
def view(call: Call) -> Labelled:
    """Merge and cut axes."""
    shape = list(call.out.shape)
    return call.engine.normal(call.engine.view(call.label(call.tensors[0]), shape))


@rule("permute", "permute_copy", view=True)
def permute(call: Call) -> Labelled:
    """Reorder axes."""
    label = call.label_of("self")
    return [label[d] for d in call["dims"]]


@rule("transpose", "transpose_copy", "swapaxes", view=True)
def transpose(call: Call) -> Labelled:
    """Exchange two axes."""
    label, names = list(call.label_of("self")), ("axis0", "axis1") if call.name == "swapaxes" else ("dim0", "dim1")
    i, j = (call[name] for name in names)
    label[i], label[j] = label[j], label[i]
    return label


@rule("t", "numpy_T", view=True)
def reverse(call: Call) -> Labelled:
    """Reverse the order of axes."""
    return list(reversed(call.label_of("self")))


@rule("unsqueeze", view=True)
def unsqueeze(call: Call) -> Labelled:
    """Add an axis of one position."""
    label = list(call.label_of("self"))
    label.insert(call["dim"] % (len(label) + 1), fixed_axis(1))
    return label


@rule("squeeze", view=True)
def squeeze(call: Call) -> Labelled:
    """Drop axes of one position."""
    label = call.label_of("self")
    dims = dims_of(call["dim"], len(label))
    return [axis for i, axis in enumerate(label) if axis.n != 1 or i not in dims]


@rule("expand", "expand_copy", "broadcast_to")
def expand(call: Call) -> Labelled:
    """Copy along axes of one position; equal copies may be exchanged."""
    shape, label = call.out.shape, call.label_of("self")
    label = [fixed_axis(1)] * (len(shape) - len(label)) + label
    return [call.engine.fresh(n) if axis.n == 1 else axis for axis, n in zip(label, shape, strict=True)]


@rule("repeat")
def repeat(call: Call) -> Labelled:
    """Concatenate copies."""
    label, times = call.label_of("self"), call["repeats"]
    label = [fixed_axis(1)] * (len(times) - len(label)) + label
    return [_repeated(call, axis, n) for axis, n in zip(label, times, strict=True)]


def _repeated(call: Call, axis: Axis, times: int) -> Axis:
    if times == 1:
        return axis
    return call.engine.fresh(times) if axis.n == 1 else call.engine.concat([axis] * times)


@rule("slice", "slice_copy", view=True)
def slice_(call: Call) -> Labelled:
    """Select some positions of an axis."""
    x = call["self"]
    dim = call["dim"] % x.dim()
    index = np.arange(x.shape[dim])[slice(call["start"], call["end"], call["step"])]
    return call.engine.take(call.label(x), dim, index)


@rule("narrow", view=True)
def narrow(call: Call) -> Labelled:
    """Select some positions of an axis, given by their number."""
    dim = call["dim"] % call["self"].dim()
    start = call["start"] % call["self"].shape[dim]
    return call.engine.take(call.label_of("self"), dim, np.arange(start, start + call["length"]))


@rule("select", "select_copy", view=True)
def select(call: Call) -> Labelled:
    """Select one position of an axis, which is dropped."""
    x = call["self"]
    dim = call["dim"] % x.dim()
    return _selected(call, dim, call["index"] % x.shape[dim])


def _selected(call: Call, dim: int, index: int) -> Label:
    label = call.engine.take(call.label_of("self"), dim, np.array([index]))
    return call.engine.tidy([axis for i, axis in enumerate(label) if i != dim])


@rule("unbind", view=True)
def unbind(call: Call) -> Labelled:
    """Select all positions of an axis, one by one."""
    dim = call["dim"] % call["self"].dim()
    return [_selected(call, dim, i) for i in range(len(call.out))]


@rule(
    *("split", "split_with_sizes", "split_with_sizes_copy", "chunk", "unsafe_split", "unsafe_chunk", "tensor_split"),
    view=True,
)
def split(call: Call) -> Labelled:
    """Cut an axis into parts."""
    dim = call["dim"] % call["self"].dim()
    bounds = np.cumsum([0, *(out.shape[dim] for out in call.out)])
    parts = [np.arange(a, b) for a, b in pairwise(bounds)]
    return [call.engine.take(call.label_of("self"), dim, part) for part in parts]


@rule("cat", "concat")
def cat(call: Call) -> Labelled:
    """Concatenate axes."""
    engine, shape = call.engine, list(call.out.shape)
    labels = [list(call.label(t)) for t in call["tensors"] if t.dim() == len(shape)]  # an empty one may have one axis
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
    labels = [call.label(t) for t in call["tensors"]]
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


@rule("flip")
def flip(call: Call) -> Labelled:
    """Reverse the order of positions."""
    label = list(call.label_of("self"))
    for d in dims_of(call["dims"], len(label)):
        label[d] = call.engine.resolve(label[d]).at(np.arange(label[d].n)[::-1])
    return label


@rule("roll")
def roll(call: Call) -> Labelled:
    """Move positions in a circle; without axes, in the order of the whole tensor."""
    label, shifts, dims = list(call.label_of("self")), call["shifts"], call["dims"]
    if not dims:
        call.engine.pin_axes(label, "moved in the order of the whole tensor")
        return [fixed_axis(axis.n) for axis in label]
    for shift, d in zip(shifts, dims, strict=True):
        label[d] = call.engine.resolve(label[d]).at(np.roll(np.arange(label[d].n), shift))
    return label


@rule("as_strided")
def as_strided(call: Call) -> Labelled:
    """Follow a change of strides that leaves positions where they were, such as another memory format."""
    label, out = call.label_of("self"), call.out
    if [axis.n for axis in label] != list(out.shape):
        return None
    moved = any(a != b for a, b, n in zip(call.strides, out.stride(), out.shape, strict=True) if n > 1)
    return None if moved or call["storage_offset"] else label


@rule("view_as_complex")
def view_as_complex(call: Call) -> Labelled:
    """Read the last axis as real and imaginary parts."""
    *lead, parts = call.label_of("self")
    call.engine.pin_axis(parts, "real and imaginary parts")
    return call.engine.tidy(lead)


@rule("view_as_real", view=True)
def view_as_real(call: Call) -> Labelled:
    """Add a last axis of real and imaginary parts."""
    return [*call.label_of("self"), fixed_axis(2)]


@rule("unfold")
def unfold(call: Call) -> Labelled:
    """Cut windows along an axis, whose positions become a last axis."""
    label = list(call.label_of("self"))
    dim = call["dimension"] % len(label)
    call.engine.pin_axis(label[dim], "windows of positions")
    label[dim] = fixed_axis(call.out.shape[dim])
    return call.engine.tidy([*label, fixed_axis(call["size"])])


@rule("diagonal")
def diagonal(call: Call) -> Labelled:
    """Select positions with equal numbers on two axes."""
    label = call.label_of("self")
    dims = [call[name] % len(label) for name in ("dim1", "dim2")]
    for d in dims:
        call.engine.pin_axis(label[d], "positions on a diagonal")
    rest = [axis for i, axis in enumerate(label) if i not in dims]
    return call.engine.tidy([*rest, fixed_axis(call.out.shape[-1])])
