"""Sums of products: matrix products, in which the axes that are summed over must move together."""

from __future__ import annotations

from skfusion.tracing._axis import fixed_axis
from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing._engine import Label

PRODUCTS = {
    "mm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "bmm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "_addmm_activation": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
}
"""The arguments that are multiplied."""
LINEAR = (*PRODUCTS, "linear")


@rule(*PRODUCTS)
def product(call: Call) -> Labelled:
    """Return the label of a product of matrices, to which something may be added.

    Each may be a batch of matrices; rows and columns may then depend on the index of the batch. The second may be a
    vector.
    """
    engine, name = call.engine, call.name.removesuffix("_")
    a, b = map(call.label_of, PRODUCTS[name])
    batch: Label = []
    if len(b) == 3:
        engine.unify(a[0], b[0])
        batch = [engine.richer(a[0], b[0])]
        engine.depend_only(batch)
    rows, columns, inner = a[-2], b[len(batch) + 1 :], b[len(batch)]
    engine.contract(a[-1], inner, batch)
    for axis in (rows, *columns):
        engine.depend_only([axis], batch)
    out = engine.tidy([*batch, rows, *columns])
    return engine.elementwise([out, call.label_of("self")], call.out.shape) if "add" in name else out


@rule("dot", "vdot")
def dot(call: Call) -> Labelled:
    """Sum over both vectors."""
    a, b = call.tensors
    call.engine.contract(call.label(a)[0], call.label(b)[0])
    return []


@rule("linear")
def linear(call: Call) -> Labelled:
    """Label a linear layer, which some backends run as one operation."""
    engine, x, weight = call.engine, call.label_of("input"), call.label_of("weight")
    engine.contract(x[-1], weight[1])
    engine.depend_only(x[:-1])
    engine.depend_only([weight[0]])
    out = engine.tidy([*x[:-1], weight[0]])
    return out if call["bias"] is None else engine.elementwise([out, call.label_of("bias")], call.out.shape)


@rule("_trilinear")
def trilinear(call: Call) -> Labelled:
    """Label products of three tensors, each broadcast along the axes that it lacks, and summed over some."""
    labels = []
    for i in (1, 2, 3):
        label = list(call.label_of(f"i{i}"))
        for dim in sorted(call[f"expand{i}"]):
            label.insert(dim, fixed_axis(1))
        labels.append(label)
    shape = [max(axes, key=lambda axis: axis.n).n for axes in zip(*labels, strict=True)]
    out = call.engine.elementwise(labels, shape)
    return call.engine.tidy([axis for i, axis in enumerate(out) if i not in call["sumdim"]])


@rule("_grouped_mm")
def grouped_mm(call: Call) -> Labelled:
    """Label a mixture of experts: rows are sorted by expert, so the orders of experts and of rows are pinned."""
    a, b = call.label_of("self"), call.label_of("mat2")
    if len(a) != 2 or len(b) != 3:
        return None
    call.engine.contract(a[1], b[1])
    call.engine.pin_axis(b[0], "the order of experts")
    call.engine.pin_axis(a[0], "rows in the order of experts")
    return call.engine.tidy([a[0], b[2]])
