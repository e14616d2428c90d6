"""Convolutions: plain, grouped, depthwise, transposed."""

from __future__ import annotations

from torch import Tensor

from skfusion.tracing._axis import Axis, fixed_axis
from skfusion.tracing._call import Call, Labelled, rule
from skfusion.tracing._engine import Engine, Label

CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")


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
