"""Random networks with hidden units whose order is known, and what their alignment maximises."""

from itertools import pairwise

import numpy as np
import torch

from skfusion.symmetry import Block, Group, Symmetry

ATTENTION = {"heads": 3, "inner": 4, "read": 2}


def perceptron(*widths, seed=0, dtype=torch.float64):
    """Return a random state of a perceptron and its symmetry."""
    generator = torch.Generator().manual_seed(seed)
    state, axes = {}, {}
    for k, (n, m) in enumerate(pairwise(widths)):
        state[f"{k}.weight"] = torch.randn(m, n, generator=generator, dtype=dtype)
        state[f"{k}.bias"] = torch.randn(m, generator=generator, dtype=dtype)
        before = f"h{k}" if k else None
        after = f"h{k + 1}" if k < len(widths) - 2 else None
        axes |= {f"{k}.weight": (after, before), f"{k}.bias": (after,)}
    return state, Symmetry.of_axes(axes, state)


def attention(layout, seed=0):
    """Return a random state of attention, behind and ahead of a residual stream, and its symmetry."""
    h, d, r, n = ATTENTION["heads"], ATTENTION["inner"], ATTENTION["read"], 6
    generator = torch.Generator().manual_seed(seed)
    stream = (Block(("stream",), np.arange(n)[None]),)

    def on(*groups):
        sizes = [ATTENTION[g] for g in groups]
        return (Block(groups, np.arange(np.prod(sizes)).reshape(1, *sizes)),)

    if layout == "rows":
        axes = {k: (on("heads", "inner"), stream) for k in ("q", "k")}
        axes |= {"v": (on("heads", "read"), stream), "o": (stream, on("heads", "read"))}
        shapes = {"q": (h * d, n), "k": (h * d, n), "v": (h * r, n), "o": (n, h * r)}
    else:
        axes = {k: (on("heads"), stream, on("inner")) for k in ("q", "k")}
        axes |= {"v": (on("heads"), stream, on("read")), "o": (on("read"), stream, on("heads"))}
        shapes = {"q": (h, n, d), "k": (h, n, d), "v": (h, n, r), "o": (r, n, h)}
    axes |= {"first": (stream, ()), "last": ((), stream)}
    shapes |= {"first": (n, 3), "last": (2, n)}
    state = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    groups = [Group("heads", h), Group("inner", d, ("heads",)), Group("read", r, ("heads",)), Group("stream", n)]
    return state, Symmetry(groups, axes, shapes)


PROBLEMS = {
    "one layer": lambda seed=0: perceptron(3, 20, 2, seed=seed),
    "three layers": lambda seed=0: perceptron(3, 30, 20, 30, 2, seed=seed),
    "rows": lambda seed=0: attention("rows", seed),
    "axes": lambda seed=0: attention("axes", seed),
}


def noisy(state, size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {k: v + size * torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in state.items()}


def objective(symmetry, a, b):
    return sum(float((a[k] * b[k]).sum()) for k in symmetry.parameters)
