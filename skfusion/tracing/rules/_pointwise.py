"""Operations on single numbers, with broadcasting, whose operands must move together; and those that create tensors."""

from __future__ import annotations

import numpy as np

from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing.algebra import fixed_axes, fixed_axis

UNIFORM = ("zeros", "ones", "full", "empty", "empty_strided", "scalar_tensor")
RANDOM = ("normal", "uniform", "bernoulli", "random", "exponential", "cauchy", "log_normal", "geometric")
# Pointwise operations that PyTorch does not tag as such.
UNTAGGED = (
    *("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "where", "clamp", "lerp", "addcmul", "addcdiv"),
    *("hardswish", "hardsigmoid", "hardtanh", "hardshrink", "softshrink", "threshold", "rrelu", "rrelu_with_noise"),
    *("mish", "softplus", "elu", "celu", "selu", "gelu", "silu", "leaky_relu", "relu6", "logit", "nan_to_num"),
    *("log_sigmoid_forward", "masked_fill", "copy_", "fill", "zero_", "positive", "native_dropout"),
)


@rule("pointwise", *UNTAGGED)
def pointwise(call: Call) -> Labelled:
    """Unify all axes that are not broadcast."""
    labels = [call.label_of(t) for t in call.tensors if t.dim()]
    shape = list(call.first.shape)
    if len(labels) == 1 and [axis.n for axis in labels[0]] == shape:
        return labels[0]
    return call.engine.elementwise(labels, shape) if labels else fixed_axes(shape)


@rule(
    *("clone", "alias", "detach", "contiguous", "_to_copy", "to", "lift_fresh", "lift_fresh_copy", "requires_grad_"),
    *("_conj", "resolve_conj", "resolve_neg", "to_dense"),
    view=True,
)
def same(call: Call) -> Labelled:
    """Keep numbers and positions."""
    return call.label_of(call.tensors[0])


@rule("prelu", "_prelu_kernel")
def prelu(call: Call) -> Labelled:
    """Multiply by one slope for each channel, or for all."""
    x, slope = call.tensors
    label, slopes = call.label_of(x), call.label_of(slope)
    if slope.dim() == 1 and slope.numel() > 1 and x.dim() > 1:
        slopes = [fixed_axis(1), *slopes, *[fixed_axis(1)] * (x.dim() - 2)]  # the second axis of x has the channels
    return call.engine.elementwise([label, slopes], x.shape)


@rule("glu")
def glu(call: Call) -> Labelled:
    """Gate the first half by the second."""
    x = call["self"]
    label, dim, half = call.label_of(x), call["dim"] % x.dim(), x.shape[call["dim"]] // 2
    halves = [call.engine.take(label, dim, part) for part in np.split(np.arange(2 * half), 2)]
    return call.engine.elementwise(halves, call.out.shape)


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(call: Call) -> Labelled:
    """Scale a direction by a length."""
    label = call.engine.elementwise([call.label_of("v"), call.label_of("g")], call["v"].shape)
    return [label, call.label_of("g")]


# ------------------------------------------------------------------------------------------------------ created tensors


@rule(*UNIFORM, *(f"new_{n}" for n in UNIFORM), *(f"{n}_like" for n in UNIFORM))
def uniform(call: Call) -> Labelled:
    """Equal numbers are the same in any order: each axis may move, in another way for each index of those before it."""
    label, seen = [], frozenset[int]()
    for n in call.out.shape:
        axis = call.engine.fresh(n, context=seen)
        seen |= set(axis.atoms)
        label.append(axis)
    return label


@rule(
    *("arange", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "_efficientzerotensor"),
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
)
def numbered(call: Call) -> Labelled:
    """Every position has another number, so nothing may move."""
    return fixed_axes(call.out.shape)


@rule(*RANDOM)
def random(call: Call) -> Labelled:
    """Noise is drawn in the order of positions, so units that get it cannot be exchanged."""
    for tensor in call.tensors:
        call.engine.pin_axes(call.label_of(tensor), "random numbers")
    return fixed_axes(call.out.shape)
