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


def _are_few(scores: Members) -> bool:
    """Return whether a processor is slow along the last axis; a GPU is not."""
    return scores.device.type == "cpu" and scores.shape[-1] < _FEW


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
    ignored = options.get("ignore_index", -100)
    counted = y.ne(ignored) if reduction == "mean" else None
    share = counted if weight is None or counted is None else weight[y * counted] * counted
    few = _are_few(input)
    if few and func is F.cross_entropy and share is not None and not options.get("label_smoothing"):
        return _MeanOfCodes.apply(units_of(input), y, weight, share, ignored)  # type: ignore[no-untyped-call]
    if few:
        rows = func(units_of(input), y, weight, reduction="none", **options)
    else:
        rows = func(input.value.flatten(0, 1), y.flatten(), weight, reduction="none", **options).view(y.shape)
    if share is not None:
        return rows.sum(1) / share.sum(1)
    return rows.sum(1) if reduction == "sum" else rows


class _MeanOfCodes(torch.autograd.Function):
    """The mean cross-entropy of each member, of scores of the shape (n_members, n_classes, n_rows).

    ``share`` is what rows count by their classes, zero where they are ignored. The gradient of a row is its
    probabilities, less one for the true class, times its share of the mean.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, y: Tensor, weight: Tensor | None, share: Tensor, ignored: int) -> Tensor:
        logs, total = scores.log_softmax(1), share.sum(1)
        ctx.save_for_backward(scores, logs, y, weight, share, total)
        ctx.ignored = ignored
        return F.nll_loss(logs, y, weight, ignore_index=ignored, reduction="none").sum(1) / total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (scores, logs, y, weight, share, total) = grads, ctx.saved_tensors
        if torch.is_grad_enabled():  # as it is where gradients of gradients are asked for
            loss = F.cross_entropy(scores, y, weight, ignore_index=ctx.ignored, reduction="none").sum(1) / total
            return *torch.autograd.grad(loss, scores, grad, create_graph=True), None, None, None, None
        scale = (share * (grad / total).unsqueeze(1)).unsqueeze(1)
        out = logs.exp().mul_(scale).scatter_add_(1, (y * (share != 0)).unsqueeze(1), -scale)
        return out, None, None, None, None


@kernel_of(F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax)
def _softmax(func: Any, input: Any, dim: int | None = None, *args: Any, **kwargs: Any) -> Any:
    """Along the last but one axis where there are few classes."""
    n_axes = input.dim()
    if dim is None or not -n_axes <= dim < n_axes:
        return NotImplemented
    axis = dim % n_axes
    if 1 <= axis == n_axes - 1 and _are_few(input) and input.shape[-2] >= _FEW:
        return UnitsFirst(func(units_of(input), -2, *args, **kwargs))
    return func(input.value, axis + 1, *args, **kwargs)
