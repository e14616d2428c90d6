"""States as numpy arrays, which is how members are pickled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from skfusion._numbers import place_of
from skfusion.state import State


def to_numpy(state: State) -> dict[str, Any]:
    """Return the state as arrays; what numpy has no dtype for (bfloat16, float8) as the dtype's name and integers."""

    def array(t: torch.Tensor) -> Any:
        t = t.detach().resolve_conj().resolve_neg().cpu().contiguous()
        try:
            return t.numpy().copy()
        except TypeError:
            # A pickled tensor would hold its address, so that equal pools would have unlike hashes.
            whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[t.element_size()]
            return str(t.dtype).removeprefix("torch."), t.view(whole).numpy().copy()

    done: dict[tuple[Any, ...], Any] = {}
    arrays = {}
    for key, t in state.items():
        place = place_of(t)
        if place not in done or t.numel() == 0:
            done[place] = array(t)
        arrays[key] = done[place]
    return arrays


def to_torch(arrays: dict[str, Any]) -> State:
    """Return the state that :func:`to_numpy` made into arrays."""

    def tensor(a: Any) -> torch.Tensor:
        if isinstance(a, tuple):
            return torch.from_numpy(np.array(a[1])).view(getattr(torch, a[0]))
        return torch.from_numpy(np.array(a))

    done: dict[int, torch.Tensor] = {}
    out: State = {}
    for key, a in arrays.items():
        if id(a) not in done:
            done[id(a)] = tensor(a)
        out[key] = done[id(a)]
    return out
