"""The loss of a network that learns from labels and from what another one predicts (Hinton et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from skfusion._rows import Rows, Task
from skfusion.nets._prepare import targets
from skfusion.nets.losses._output import likelihood_of
from skfusion.nets.losses._weighted import counted, mean_in_batch, scaled_by_classes
from skfusion.objective import first_output


@dataclass(frozen=True, eq=False)
class Soft:
    """What a teacher predicts for the rows that a network is trained on.

    Parameters
    ----------
    targets : ndarray of shape (n_samples, n_outputs)
        Probabilities of classes or labels, or values.
    labelled : ndarray of bool, shape (n_samples,), optional
        Which rows have targets of their own; all when omitted.
    alpha : float
        Share of the loss of the rows' own targets; the rest is that of the teacher's.
    temperature : float
        What the logits of both are divided by; it does nothing to values.
    """

    targets: np.ndarray
    labelled: np.ndarray | None
    alpha: float
    temperature: float

    def columns(self, net: Any, task: Task, rows: Rows) -> np.ndarray:
        """Return for each row its weight, that in the loss of its own target, and what it learns from the teacher.

        Parameters
        ----------
        net : skorch net
            Initialised.
        task : {"classification", "multilabel", "regression"}
            What the targets are.
        rows : Rows
            All rows that the net is trained on.

        Returns
        -------
        ndarray of shape (n_samples, 2 + n_outputs)
            What :meth:`install` reads, row by row.
        """
        first = weights(net, task, rows, self.labelled)
        soft = self.targets if task == "regression" else tempered(self.targets, self.temperature, task)
        return np.column_stack([*first, soft])

    def install(self, net: Any, current: list[Tensor | None], task: Task, weighted: bool) -> None:
        """Make the net's loss in training that of the rows' own targets and of the teacher's.

        Parameters
        ----------
        net : skorch net
            Initialised; its ``get_loss`` is replaced. Where it validates, its loss is that of the targets alone.
        current : list
            The columns of the present batch stand in its only place.
        task : {"classification", "multilabel", "regression"}
            What the targets are.
        weighted : bool
            Whether rows have weights.
        """
        get_loss = net.get_loss
        rows = RowLosses(net) if weighted or self.labelled is not None else None
        likelihood = None if task == "regression" else likelihood_of(net, task)

        def own(y_pred: Any, y: Tensor, weight: Tensor, given: dict[str, Any]) -> Tensor:
            return get_loss(y_pred, y, **given) if rows is None else rows.mean(y_pred, y, weight, **given)

        def taught(y_pred: Any, targets: Tensor, weight: Tensor, given: dict[str, Any]) -> Tensor:
            if likelihood is None:
                return own(y_pred, targets, weight, given)
            out = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            return (weight * divergence(likelihood.logits(first_output(out)), targets, self.temperature, task)).mean()

        def softened(y_pred: Any, y_true: Any, X: Any = None, training: bool = False, **kwargs: Any) -> Tensor:
            given = {"X": X, "training": training, **kwargs}
            if not training or current[0] is None:
                return get_loss(y_pred, y_true, **given)
            weight, own_weight, targets = current[0][:, 0], current[0][:, 1], current[0][:, 2:]
            total = 0  # a term that does not count may be infinite
            if self.alpha > 0:
                total = self.alpha * own(y_pred, y_true, own_weight, given)
            if self.alpha < 1:
                total = total + (1 - self.alpha) * taught(y_pred, targets, weight, given)
            return total

        net.get_loss = softened


def tempered(p: np.ndarray, temperature: float, task: Task) -> np.ndarray:
    """Return probabilities of which the logits are divided by a temperature, shape (n_samples, n_outputs)."""
    p = p.astype(np.float64)
    if task == "multilabel":
        yes, no = p ** (1 / temperature), (1 - p) ** (1 / temperature)
        return yes / (yes + no)
    p = (p / p.max(axis=1, keepdims=True)) ** (1 / temperature)
    return p / p.sum(axis=1, keepdims=True)


def divergence(logits: Tensor, targets: Tensor, temperature: float, task: Task) -> Tensor:
    """Return the squared temperature times the Kullback-Leibler divergence from tempered targets to tempered logits.

    Parameters
    ----------
    logits : Tensor of shape (n_samples, n_outputs)
        Log-probabilities of classes up to a constant a row, or log-odds of labels.
    targets : Tensor of shape (n_samples, n_outputs)
        What :func:`tempered` returned.
    temperature : float
        The same one.
    task : {"classification", "multilabel"}
        Whether classes exclude each other; the divergences of labels are averaged.

    Returns
    -------
    Tensor of shape (n_samples,)
        In nats.
    """
    z = logits / temperature
    if task == "multilabel":
        found = F.kl_div(F.logsigmoid(z), targets, reduction="none")
        found = (found + F.kl_div(F.logsigmoid(-z), 1 - targets, reduction="none")).mean(1)
    else:
        found = F.kl_div(F.log_softmax(z, 1), targets, reduction="none").sum(1)
    return temperature**2 * found


def weights(net: Any, task: Task, rows: Rows, labelled: np.ndarray | None) -> list[np.ndarray]:
    """Return what rows weigh, and what they weigh in the loss of their own targets, as in ordinary training.

    Parameters
    ----------
    net : skorch net
        Initialised.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    rows : Rows
        All rows that the net is trained on.
    labelled : ndarray of bool, shape (n_samples,), or None
        Which of them have targets of their own; all where None.

    Returns
    -------
    list of ndarray of shape (n_samples,)
        The weights; then those for :meth:`RowLosses.mean`, 0 where a row has no target.
    """
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    kept = np.ones(len(rows), bool) if labelled is None else np.asarray(labelled, bool)
    own = np.zeros(len(rows))
    if kept.any():
        own[kept], _ = scaled_by_classes(weight[kept], targets(net, rows.y, task)[kept], net.criterion_)
    return [weight, own]


class RowLosses:
    """The losses of a net's own criterion in training, of some rows and by their weights.

    Parameters
    ----------
    net : skorch net
        Initialised. Its criterion keeps the reduction that it has.
    """

    def __init__(self, net: Any):
        self.criterion, self.get_loss = net.criterion_, net.get_loss
        if not hasattr(self.criterion, "reduction"):
            raise ValueError(
                f"The criterion {type(self.criterion).__name__} has no reduction='none', so rows cannot count "
                "differently. Give only labelled rows without weights, or a criterion with a reduction."
            )
        if self.criterion.reduction == "none":
            self.criterion.reduction = "mean"

    def mean(self, y_pred: Any, y: Tensor, weight: Tensor, X: Any = None, **kwargs: Any) -> Tensor:
        """Return the mean loss of the rows of a batch that have targets, times their share of the batch.

        The mean is that of ordinary training: see :func:`~skfusion.nets.losses._weighted.weigh`. A criterion that adds
        losses up adds up weighted ones.

        Parameters
        ----------
        y_pred : Tensor or tuple
            What the module returned for the batch.
        y : Tensor of shape (n_rows, ...)
            Targets.
        weight : Tensor of shape (n_rows,)
            What :func:`weights` returned; 0 where a row has no target, and what stands there is not read.
        X : Tensor or dict of Tensor
            Inputs, which a net's own ``get_loss`` may read.
        **kwargs : dict
            For ``get_loss`` too.

        Returns
        -------
        Tensor
            A scalar; 0 where no row counts.
        """
        kept = weight > 0
        share = kept.sum().item() / len(y)
        counts = counted(y[kept], self.criterion) if kept.any() else None
        if counts is not None:
            kept = torch.zeros_like(kept).masked_scatter(kept, counts > 0)
            counts = counts[counts > 0]
        if not kept.any():
            out = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            return first_output(out)[:0].sum()  # which has a gradient
        own, self.criterion.reduction = self.criterion.reduction, "none"
        try:
            losses = self.get_loss(_taken(y_pred, kept), _taken(y, kept), X=_taken(X, kept), **kwargs)
        finally:
            self.criterion.reduction = own
        if own == "sum":
            return (weight[kept] * losses.reshape(len(losses), -1).sum(1)).sum()
        return share * mean_in_batch(losses, weight[kept], counts)


def _taken(data: Any, kept: Tensor) -> Any:
    """Return the rows of tensors that are kept; tensors that are not of rows stay as they are."""
    if kept.all():
        return data
    if isinstance(data, dict):
        return {k: _taken(v, kept) for k, v in data.items()}
    if isinstance(data, (tuple, list)):
        return type(data)([_taken(v, kept) for v in data])
    of_rows = isinstance(data, Tensor) and data.ndim > 0 and len(data) == len(kept)
    return data[kept.to(data.device)] if of_rows else data
