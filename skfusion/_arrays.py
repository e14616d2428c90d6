"""States as NumPy arrays: members and estimators are pickled in this form, which joblib hashes and maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import place_of

_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


def to_numpy(state: dict[str, Tensor]) -> dict[str, Any]:
    """Return a state as arrays; a dtype that NumPy lacks (bfloat16, float8) becomes its name and integers.

    Names of tied tensors share one array, so that pickle writes it once and :func:`to_torch` ties them again.
    """
    arrays: dict[str, Any] = {}
    first_name: dict[tuple[object, ...], str] = {}
    for name, tensor in state.items():
        place = place_of(tensor)
        tied = place in first_name and tensor.numel() > 0
        arrays[name] = arrays[first_name[place]] if tied else _array(tensor)
        first_name.setdefault(place, name)
    return arrays


def _array(tensor: Tensor) -> Any:
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    try:
        return tensor.numpy().copy()
    except TypeError:
        # A pickled tensor would hold its address, so equal pools would have different hashes.
        integers = tensor.view(_SAME_SIZE[tensor.element_size()])
        return str(tensor.dtype).removeprefix("torch."), integers.numpy().copy()


def to_torch(arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state that :func:`to_numpy` made into arrays."""
    unique = {id(array): array for array in arrays.values()}
    tensors = {key: _tensor(array) for key, array in unique.items()}
    return {name: tensors[id(array)] for name, array in arrays.items()}


def _tensor(array: Any) -> Tensor:
    if isinstance(array, tuple):
        dtype, integers = array
        return torch.from_numpy(np.array(integers)).view(getattr(torch, dtype))
    return torch.from_numpy(np.array(array))
