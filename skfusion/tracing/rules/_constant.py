"""Operations that create tensors."""

from __future__ import annotations

from skfusion.tracing._axis import fixed_axes
from skfusion.tracing._call import Call, Labelled, rule

UNIFORM = ("zeros", "ones", "full", "empty", "empty_strided", "scalar_tensor")
RANDOM = ("normal", "uniform", "bernoulli", "random", "exponential", "cauchy", "log_normal", "geometric")


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
        call.engine.pin_axes(call.label(tensor), "random numbers")
    return fixed_axes(call.out.shape)
