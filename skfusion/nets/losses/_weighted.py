"""The mean of the losses of rows by their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion.nets.losses._of_members import MembersCrossEntropyLoss

_BY_CLASS = nn.CrossEntropyLoss.forward, nn.NLLLoss.forward, MembersCrossEntropyLoss.forward
"""Losses in which rows may count by weights of their classes."""


def weighted_mean(losses: Tensor, y: Tensor, weight: Tensor | None, criterion: Any) -> Tensor:
    """Return what the criterion's own mean is where whole-number weights of rows are repetitions.

    ``losses`` are those of the criterion with ``reduction="none"``; its mean may be by weights of classes.
    """
    rows, counts = _by_row(losses), counted(y, criterion)
    if counts is None:
        return rows.mean() if weight is None else (rows * weight).sum() / weight.sum()
    if weight is not None:
        rows, counts = rows * weight, counts * weight
    return rows.sum() / counts.sum()


def weigh(
    net: Any, weight: np.ndarray, y: np.ndarray, current: list[Tensor | None], held: list[Tensor | None], remedy: str
) -> np.ndarray:
    r"""Make the net's loss the criterion's own mean with weights of rows; return what the loaders hand out.

    Where rows count :math:`c_i` by their classes, 1 without weights of classes, the loss of a batch B is

    .. math:: s \sum_{i \in B} w_i c_i \ell_i \Big/ \sum_{i \in B} c_i, \qquad s = \sum_i c_i \Big/ \sum_i w_i c_i

    with s from all rows, so that weights of 1 change nothing, and in a batch of all rows whole-number weights are
    repetitions. A batch is not divided by its own weights, for then rows would count more among rows that count less.
    A criterion that adds losses up adds up weighted ones.

    The ``get_loss`` of the initialised net is replaced. Weights have the mean 1. What is returned are weights, and what
    rows count by their classes where that differs; for the rows of the present batch it stands in ``current[0]`` in
    training, and in ``held[0]`` in validation, so that early stopping judges by what is learnt. Where nothing stands
    there, as for rows of another dataset, the loss is the criterion's. ``remedy`` is what to give where a criterion has
    no losses of rows.
    """
    rows = RowLosses(net, remedy)
    criterion, get_loss = rows.criterion, rows.get_loss
    scaled, counts = scaled_by_classes(weight, y, criterion)

    def weighted(y_pred: Any, y_true: Any, *args: Any, training: bool = False, **kwargs: Any) -> Tensor:
        given = (current if training else held)[0]
        if given is None:
            return get_loss(y_pred, y_true, *args, training=training, **kwargs)
        losses = rows.each(y_pred, y_true, *args, training=training, **kwargs)
        if criterion.reduction == "sum":
            return (losses.reshape(len(losses), -1).sum(1) * given).sum()
        if counts is None:
            return mean_in_batch(losses, given, None)
        return mean_in_batch(losses, *given.unbind(1))

    net.get_loss = weighted
    return scaled if counts is None else np.column_stack([scaled, counts])


class RowLosses:
    """The losses of a net's criterion in training, row by row; its reduction stays as it is."""

    def __init__(self, net: Any, remedy: str):
        self.criterion, self.get_loss = net.criterion_, net.get_loss
        if not hasattr(self.criterion, "reduction"):
            raise ValueError(
                f"The criterion {type(self.criterion).__name__} has no reduction='none', so rows cannot count "
                f"differently. Give {remedy}, or a criterion with a reduction."
            )
        if self.criterion.reduction == "none":
            self.criterion.reduction = "mean"

    def each(self, y_pred: Any, y: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the losses of rows, shape (n_rows, ...); the parameters are those of a net's ``get_loss``."""
        reduction, self.criterion.reduction = self.criterion.reduction, "none"
        try:
            losses: Tensor = self.get_loss(y_pred, y, *args, **kwargs)
        finally:
            self.criterion.reduction = reduction
        return losses


def scaled_by_classes(weight: np.ndarray, y: np.ndarray, criterion: Any) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Return weights of rows that let weights of classes change no more than they do in the criterion's own mean.

    The weights are multiplied by :math:`\bar w \sum_i c_i / \sum_i w_i c_i`, with :math:`\bar w` their mean. What rows
    count by their classes is returned too; None where all count the same, or where losses are added up.
    """
    by_class = None if getattr(criterion, "reduction", None) == "sum" else counted(torch.as_tensor(y), criterion)
    if by_class is None:
        return weight, None
    counts = by_class.cpu().double().numpy()
    total = (weight * counts).sum()
    return weight * (weight.mean() * counts.sum() / total if total else 1.0), counts


def mean_in_batch(losses: Tensor, weight: Tensor, counts: Tensor | None) -> Tensor:
    """Return the mean loss of a batch, which is not divided by the batch's weights.

    ``weight`` and ``counts`` are those that :func:`scaled_by_classes` returned for these rows.
    """
    rows = _by_row(losses) * weight
    return rows.mean() if counts is None else rows.sum() / counts.sum()


def counted(y: Tensor, criterion: Any) -> Tensor | None:
    """Return what each row counts for by its class, shape (n_rows,); None where all count the same."""
    if type(criterion).forward not in _BY_CLASS or y.is_floating_point():
        return None
    kept = y != criterion.ignore_index
    if criterion.weight is None:
        return None if kept.all() else _by_row(kept.to(torch.float64))
    return _by_row(criterion.weight.to(y.device)[torch.where(kept, y, 0)] * kept)


def _by_row(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)
