"""Several weighted sums of the same states, which are read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import narrowed
from skfusion.state import State, owners, weighted_sum

_CHUNK = 2**13
"""Numbers of each state that are summed at a time, so that they stay in the processor's cache."""


def weighted_sums(states: Sequence[State], weights: np.ndarray) -> list[State]:  # weights, shape: (n_sums, n_states)
    """Return the sum of the states by each row of weights, as :func:`skfusion.state.weighted_sum` does by one."""
    names = [key for key, owner in owners(states).items() if owner == key]
    real = [key for key in names if states[0][key].is_floating_point()]
    others = [{key: s[key] for key in names if key not in real} for s in states]
    sums = [weighted_sum(others, [*row]) for row in weights]
    for key in real:
        for made, tensor in zip(sums, _sums([s[key].detach() for s in states], weights, key), strict=True):
            made[key] = tensor
    return [{key: made[owner] for key, owner in owners(states).items()} for made in sums]


def _sums(tensors: Sequence[Tensor], weights: np.ndarray, name: str) -> list[Tensor]:
    first = tensors[0]
    flat = [t.to(first.device).reshape(-1) for t in tensors]
    by = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64)).to(first.device)
    out = [torch.empty(len(flat[0]), dtype=first.dtype, device=first.device) for _ in weights]
    width, limit = min(_CHUNK, len(flat[0])), torch.finfo(first.dtype).max
    part, sums = by.new_empty(len(flat), width), by.new_empty(len(out), width)  # memory that all parts use in turn
    for start in range(0, len(flat[0]), _CHUNK):
        here = slice(start, min(start + _CHUNK, len(flat[0])))
        some, made = part[:, : here.stop - start], sums[:, : here.stop - start]
        for row, values in zip(some, flat, strict=True):
            row.copy_(values[here])
        torch.mm(by, some, out=made)
        if max(abs(float(end)) for end in made.aminmax()) > limit:
            narrowed(made, first.dtype, name)  # which raises an error that names the tensor
        for result, values in zip(out, made, strict=True):
            result[here].copy_(values)
    return [result.view(first.shape) for result in out]
