"""The mean of the losses of rows by their weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def weighted_mean(losses: Tensor, y: Tensor, weight: Tensor | None, criterion: Any) -> Tensor:
    """Return what the criterion's own mean is where whole-number weights of rows are repetitions.

    Parameters
    ----------
    losses : Tensor of shape (n_rows, ...)
        Of the criterion with ``reduction="none"``.
    y : Tensor of shape (n_rows, ...)
        Targets.
    weight : Tensor of shape (n_rows,) or None
        Of rows.
    criterion : nn.Module
        Whose mean may be by its weights of classes.
    """
    rows, counted = _by_row(losses), _counted(y, criterion)
    if counted is None:
        return rows.mean() if weight is None else (rows * weight).sum() / weight.sum()
    if weight is not None:
        rows, counted = rows * weight, counted * weight
    return rows.sum() / counted.sum()


def _counted(y: Tensor, criterion: Any) -> Tensor | None:
    """Return what each row counts for by its class, shape (n_rows,); None where all count alike."""
    if type(criterion).forward not in (nn.CrossEntropyLoss.forward, nn.NLLLoss.forward) or y.is_floating_point():
        return None
    kept = y != criterion.ignore_index
    if criterion.weight is None:
        return None if kept.all() else _by_row(kept.to(torch.float64))
    return _by_row(criterion.weight.to(y.device)[torch.where(kept, y, 0)] * kept)


def _by_row(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)
