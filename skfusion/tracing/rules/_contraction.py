"""Contractions: sums of products, in which the axes that are summed over must move together.

Matrix products, convolutions (plain, grouped, depthwise, transposed), and scaled dot-product attention, as the one
operation that torch runs it as.
"""

from __future__ import annotations

from torch import Tensor

from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing.algebra import Axis, Engine, Label, fixed_axis

PRODUCTS = {
    **dict.fromkeys(("mm", "bmm"), ("self", "mat2")),
    **dict.fromkeys(("addmm", "_addmm_activation"), ("mat1", "mat2")),
    "mv": ("self", "vec"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "linear": ("input", "weight"),
}
"""The arguments that are multiplied; those of some backends are layers as a whole."""
DOTS = {"dot": ("self", "tensor"), "vdot": ("self", "other")}
CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")
KERNELS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention", "attention_math")
OTHER_KERNELS = ("fused_attention_overrideable", "attention_math_for_mps")
ATTENTION = ("scaled_dot_product_attention", *(f"_scaled_dot_product_{kernel}" for kernel in KERNELS + OTHER_KERNELS))
CONTRACTIONS = frozenset({*PRODUCTS, *CONVOLUTIONS, *ATTENTION})
"""Operations that read and write units: their outputs, and the activations that they take, are sites."""


def contracted(call: Call) -> list[tuple[Tensor, int]]:
    """Return the axes, each with its tensor, over which an operation sums; none for an operation that is no product."""
    name = call.name.removesuffix("_")
    if name in PRODUCTS or name in DOTS:
        a, b = (call[argument] for argument in {**PRODUCTS, **DOTS}[name])
        return [(a, a.dim() - 1), (b, b.dim() - (1 if name == "linear" or b.dim() == 1 else 2))]
    if name in CONVOLUTIONS:
        weight = call["weight"]
        return [(call["input"], call["input"].dim() - weight.dim() + 1), (weight, 0 if call["transposed"] else 1)]
    if name == "_grouped_mm":
        return [(call["self"], 1), (call["mat2"], 1)]
    if name == "_trilinear":
        return [(call[f"i{i}"], d) for i in (1, 2, 3) for d in _summed(call, i)]
    return []


def _summed(call: Call, i: int) -> list[int]:
    """Return the axes of a factor of a product of three tensors that are summed over."""
    n = call[f"i{i}"].dim() + len(call[f"expand{i}"])
    there = [d for d in range(n) if d not in call[f"expand{i}"]]
    return [there.index(d) for d in call["sumdim"] if d in there]


def matched(call: Call, tensor: Tensor) -> list[int]:
    """Return the axes of a factor whose units each meet one unit of the other factor, and are not summed over."""
    name = call.name.removesuffix("_")
    if name in CONVOLUTIONS and tensor is call["weight"] and call["groups"] > 1:
        return [0]
    return [0] if name in PRODUCTS and tensor.dim() == 3 else []


@rule(*PRODUCTS, *DOTS)
def product(call: Call) -> Labelled:
    """Return the label of a product of matrices, to which something may be added.

    Each may be a batch of matrices; rows and columns may then depend on the index of the batch. Either may be a vector.
    """
    engine, name = call.engine, call.name.removesuffix("_")
    a, b = map(call.label_of, {**PRODUCTS, **DOTS}[name])
    b = b[::-1] if name == "linear" else b
    batch: Label = []
    if len(b) == 3:
        engine.unify(a[0], b[0])
        batch = [engine.richer(a[0], b[0])]
        engine.depend_only(batch)
    rows, inner, columns = a[len(batch) : -1], b[len(batch)], b[len(batch) + 1 :]
    engine.contract(a[-1], inner, batch)
    engine.depend_only(rows, batch)
    engine.depend_only(columns, batch)
    out = engine.tidy([*batch, *rows, *columns])
    added = call["bias"] if name == "linear" else call["self"] if "add" in name else None
    return out if added is None else engine.elementwise([out, call.label_of(added)], call.out.shape)


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


# --------------------------------------------------------------------------------------------------------- convolutions


@rule(*CONVOLUTIONS)
def convolution(call: Call) -> Labelled:
    """Sums over the channels of each group; the positions of the kernel are pinned."""
    engine, x, weight = call.engine, call.label_of("input"), call.label_of("weight")
    n_groups, transposed = call["groups"], call["transposed"]
    lead, channels, space = x[: -len(weight) + 1], x[-len(weight) + 1], x[-len(weight) + 2 :]
    engine.pin_axes(weight[2:], "positions of a kernel")
    space = _space(call, space, call["weight"], list(call.out.shape[-len(space) :]))
    if n_groups == 1:
        inner, out = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
        engine.contract(channels, inner)
        engine.depend_only([out])
    else:
        out = (_grouped_transposed if transposed else _grouped)(engine, channels, weight, n_groups)
    engine.depend_only([*lead, *(a for a in space if not a.fixed)])
    if isinstance(call["bias"], Tensor):
        engine.unify(out, call.label_of("bias")[0])
        engine.restrict_axis(out, set())
    return engine.tidy([*lead, engine.resolve(out), *space])


def _space(call: Call, space: Label, weight: Tensor, sizes: list[int]) -> Label:
    """Return the labels of space: a kernel of one position treats all positions in the same way, others pin them."""
    out = []
    for i, axis in enumerate(space):
        stride, padding = (call[name][i if len(call[name]) > 1 else 0] for name in ("stride", "padding"))
        if weight.shape[2 + i] == 1 and stride == 1 and padding == 0 and not call["transposed"]:
            out.append(axis)
        else:
            call.engine.pin_axis(axis, "positions in space")
            out.append(fixed_axis(sizes[i]))
    return out


def _grouped(engine: Engine, channels: Axis, weight: Label, n_groups: int) -> Axis:
    """Weights of shape (groups x outputs, inputs of a group, ...)."""
    if channels.n == weight[0].n == n_groups:
        engine.unify(channels, weight[0])
        return channels
    group, _ = engine.factor(channels, [n_groups, channels.n // n_groups])
    group_out, _ = engine.factor(weight[0], [n_groups, weight[0].n // n_groups])
    engine.unify(group, group_out)
    # Unifying the groups may have split or refined their atoms, so both axes are cut again.
    group, inner = engine.factor(channels, [n_groups, channels.n // n_groups])
    engine.contract(inner, weight[1], batch=[group])
    group_out, outer = engine.factor(weight[0], [n_groups, weight[0].n // n_groups])
    if not engine.resolve(outer).fixed:
        engine.restrict_axis(outer, engine.atoms_of([group_out]))
    return weight[0]


def _grouped_transposed(engine: Engine, channels: Axis, weight: Label, n_groups: int) -> Axis:
    """Weights of shape (groups x inputs, outputs of a group, ...)."""
    engine.unify(channels, weight[0])
    group, inner = engine.factor(channels, [n_groups, channels.n // n_groups])
    engine.depend_only([group])
    engine.depend_only([inner], [group])
    engine.depend_only([weight[1]], [group])
    return engine.product([group, weight[1]])


# ------------------------------------------------------------------------------------------------------------ attention


@rule(*ATTENTION)
def attention(call: Call) -> Labelled:
    """Sums over the channels of queries and keys, and over the tokens of keys and values; heads are a batch."""
    engine = call.engine
    query, key, value = (list(call.label_of(name)) for name in ("query", "key", "value"))
    batch_q, batch = query[:-2], key[:-2]
    _meet(engine, batch_q, batch, value[:-2])
    batch = [engine.richer(k, v) for k, v in zip(batch, value[:-2], strict=True)]
    shared = batch_q[-1:] == [] or batch_q[-1].n == batch[-1].n  # not so in grouped-query attention
    if shared:
        batch = batch_q = [engine.richer(k, q) for k, q in zip(batch, batch_q, strict=True)]
    engine.depend_only(batch)
    if not shared:
        engine.depend_only(batch_q)
    engine.contract(query[-1], key[-1], batch=batch)
    engine.contract(key[-2], value[-2], batch=batch)
    engine.depend_only([query[-2]], batch_q)
    engine.depend_only([value[-1]], batch)
    _mask(call, [*batch_q, query[-2], key[-2]])
    out = engine.tidy([*batch_q, query[-2], value[-1]])
    return [out]


def _meet(engine: Engine, query: Label, key: Label, value: Label) -> None:
    """Unify the axes of the batch; where several heads of queries share one of keys, groups of them."""
    for q, k, v in zip(query, key, value, strict=True):
        if q.n == k.n:
            engine.unify(q, k)
        engine.unify(k, v)
    if query and query[-1].n != key[-1].n:
        groups, _ = engine.factor(query[-1], [key[-1].n, query[-1].n // key[-1].n])
        engine.unify(groups, key[-1])


def _mask(call: Call, scores: list[Axis]) -> None:
    """Unify the axes of a mask with those of the scores, to which it is added; a causal one pins the tokens."""
    engine = call.engine
    if call["is_causal"]:
        for tokens in scores[-2:]:
            engine.pin_axis(tokens, "a causal mask")
    mask = call["attn_mask"] if call["attn_mask"] is not None else call["attn_bias"]
    if isinstance(mask, Tensor) and mask.dim() >= 2:
        engine.elementwise([scores, call.label_of(mask)], [axis.n for axis in scores])
