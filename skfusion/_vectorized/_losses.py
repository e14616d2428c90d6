"""Kernels of losses, and of the softmax, for many members.

torch's softmax along the last axis takes each row by itself, and is slow where rows are shorter than the vectors of a
processor: ten classes take twenty times as long as the same numbers along another axis. Few classes are therefore put
in front of the rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from skfusion._vectorized._layers import UnitsFirst, units_of
from skfusion._vectorized._members import Members, kernel_of

_FEW = 32
"""Classes below which a softmax along the rows is faster than one along the classes."""


@kernel_of(F.mse_loss)
def _mse_loss(func: Any, input: Tensor, target: Tensor, *_: Any, reduction: str = "mean", **kwargs: Any) -> Any:
    """The mean over the numbers of each member."""
    if reduction != "mean" or any(v is not None for v in (*_, *kwargs.values())) or input.shape != target.shape:
        return NotImplemented
    if not (isinstance(input, Members) and isinstance(target, Members)):
        return NotImplemented
    a, b = input.value, target.value
    return F.mse_loss(a, b, reduction="none").reshape(len(a), -1).mean(1)


@kernel_of(F.cross_entropy, F.nll_loss)
def _of_codes(func: Any, input: Any, target: Any, weight: Any = None, *_: Any, **kwargs: Any) -> Any:
    """Rows of all members together, then the mean or the sum over those of each one."""
    asked = {name: value for name, value in kwargs.items() if value is not None}
    reduction = asked.pop("reduction", "mean")
    options = {name: asked.pop(name) for name in ("ignore_index", "label_smoothing") if name in asked}
    codes = isinstance(input, Members) and isinstance(target, Members) and input.dim() == 2 and target.dim() == 1
    if not codes or _ or asked or isinstance(weight, Members):
        return NotImplemented
    y = target.value
    if input.shape[1] < _FEW:
        rows = func(units_of(input), y, weight, reduction="none", **options)
    else:
        rows = func(input.value.flatten(0, 1), y.flatten(), weight, reduction="none", **options).view(y.shape)
    if reduction != "mean":
        return rows.sum(1) if reduction == "sum" else rows
    counted = y.ne(options.get("ignore_index", -100))
    share = counted if weight is None else weight[y * counted] * counted
    return rows.sum(1) / share.sum(1)


@kernel_of(F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax)
def _softmax(func: Any, input: Any, dim: int | None = None, *args: Any, **kwargs: Any) -> Any:
    """Along the last but one axis where there are few classes."""
    n_axes = input.dim()
    if dim is None or not -n_axes <= dim < n_axes:
        return NotImplemented
    axis = dim % n_axes
    if 1 <= axis == n_axes - 1 and input.shape[-1] < _FEW <= input.shape[-2]:
        return UnitsFirst(func(units_of(input), -2, *args, **kwargs))
    return func(input.value, axis + 1, *args, **kwargs)
