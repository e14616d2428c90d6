"""Tensors of any dtype: which share memory, whether they are finite, how they are added, compared, and pickled.

States hold whatever torch can hold densely. Floating-point tensors of all sizes, eight bits included, and complex ones
are added; all others, the unsigned integers of 16 to 64 bits included, are only compared. The same holds in memory and
in files. Members and estimators are pickled with NumPy arrays in the place of tensors, which joblib hashes and maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def place_of(tensor: Tensor) -> tuple[object, ...]:
    """Return a key that is equal for names of one tensor: its memory, and how the numbers are read from it."""
    how = (tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
    return tensor.data_ptr(), tensor.device, *how


def is_summed(tensor: Tensor) -> bool:
    """Return whether a tensor is summed in a merge: one of floating-point or complex numbers."""
    return tensor.is_floating_point() or tensor.is_complex()


def kind_of(tensor: Tensor) -> str:
    """Return what all states must agree on: real or complex for floating-point numbers, and the dtype of others."""
    return "floating" if tensor.is_floating_point() else "complex" if tensor.is_complex() else str(tensor.dtype)


def is_stored_only(tensor: Tensor) -> bool:
    """Return whether torch can hold numbers of this dtype, but hardly compute with them."""
    unsigned = tensor.dtype in (torch.uint16, torch.uint32, torch.uint64)
    return unsigned or (tensor.is_floating_point() and tensor.element_size() == 1)


def addable(tensor: Tensor) -> Tensor:
    """Return a tensor in a dtype that torch can add or compare: no eight-bit float, no unsigned integer but 64 bits."""
    if not is_stored_only(tensor) or tensor.dtype == torch.uint64:
        return tensor
    return tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)


def wide(tensor: Tensor) -> Tensor:
    """Return a detached tensor in double precision if it is summed, and in its dtype otherwise."""
    dtype = torch.complex128 if tensor.is_complex() else torch.float64 if is_summed(tensor) else tensor.dtype
    return tensor.detach().to(dtype)


def real(tensor: Tensor) -> Tensor:
    """Return floating-point numbers as they are, and complex ones as pairs along a new last axis; detached."""
    known = addable(tensor.detach().resolve_neg())
    return torch.view_as_real(known.resolve_conj()) if known.is_complex() else known


def largest(tensors: Sequence[Tensor]) -> Tensor:
    """Return the elementwise maximum of tensors that are not summed, in the dtype of the first."""
    first = tensors[0]
    if first.dtype == torch.uint64:  # shifted by half of their range, they are ordered as signed numbers are
        half = torch.iinfo(torch.int64).min
        signed = torch.stack([t.view(torch.int64) ^ half for t in tensors])
        return (signed.amax(dim=0) ^ half).view(torch.uint64)
    return torch.stack([addable(t.detach().to(first.device)) for t in tensors]).amax(dim=0).to(first.dtype)


def sum_of(tensors: Sequence[Tensor], coefficients: Sequence[float], buffer: Tensor | None = None) -> Tensor:
    """Return the sum of floating-point or complex tensors with their coefficients, in double precision.

    Tensors are added in their order. Those whose coefficient is zero are left out. With a ``buffer`` in double
    precision, of two rows with a number for each of the tensors' at least, the sum of real numbers is in its memory.
    """
    first = tensors[0]
    if buffer is None or first.is_complex():
        double = torch.complex128 if first.is_complex() else torch.float64
        total = torch.zeros(first.shape, dtype=double, device=first.device)
        term = torch.empty_like(total)
    else:
        total, term = (row[: first.numel()].view(first.shape) for row in buffer)
        total.zero_()
    for tensor, coefficient in zip(tensors, coefficients, strict=True):
        if coefficient != 0:
            known = tensor.detach()
            same = known.dtype == total.dtype and known.device == total.device
            total.add_(known if same else term.copy_(known), alpha=coefficient)
    return total


def is_finite(tensor: Tensor) -> bool:
    """Return whether there is no NaN and no infinity among the numbers of a tensor."""
    if not is_summed(tensor):
        return True
    if tensor.dtype in (torch.float32, torch.float64) and math.isfinite(float(tensor.detach().sum())):
        return True  # a sum with either of them is not finite; one without may be too large, so that it does not tell
    return _size(tensor) < math.inf


def narrowed(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Return a merged tensor in the dtype of the result, or raise ``ValueError`` where a number is too large for it."""
    if is_summed(tensor):
        size, end = _size(tensor), torch.finfo(dtype).max
        limit = end * (1 + 1e-9)  # the mean of the largest numbers may exceed them by rounding
        if not (size <= limit and size < math.inf):
            raise ValueError(
                f"The merged tensor {name!r} reaches {size:.3g}, and {dtype} ends at {end:.3g}. Give a first member of "
                "a wider dtype, or go less far from the base."
            )
    return tensor.to(dtype)


def _size(tensor: Tensor) -> float:
    """Return the largest absolute value among the real numbers of a tensor; infinity where one is NaN."""
    if not tensor.numel():
        return 0.0
    low, high = map(float, real(tensor).aminmax())  # both are NaN where one number is
    return max(-low, high) if low == low else math.inf


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
