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
from skfusion.nets._runner import likelihood_of
from skfusion.nets.losses._of_members import mean_of_members
from skfusion.nets.losses._weighted import RowLosses, counted, mean_in_batch, scaled_by_classes
from skfusion.objective import first_output

LABELLED = "only labelled rows without weights"
"""What helps where rows without labels or with weights are given to a criterion that cannot tell rows apart."""


@dataclass(frozen=True, eq=False)
class Soft:
    """What a teacher predicts for the rows that a network is trained on: the loss of knowledge distillation.

    ``targets`` are probabilities of classes or labels, or values, shape (n_samples, n_outputs); ``labelled`` tells
    which rows have targets of their own (all when None). ``alpha`` is the share of the loss of these; the rest is that
    of the teacher's targets. The logits of both are divided by ``temperature``, which does nothing to values.
    """

    targets: np.ndarray
    labelled: np.ndarray | None
    alpha: float
    temperature: float

    def columns(self, net: Any, task: Task, rows: Rows) -> np.ndarray:
        """Return for each row its weight, its weight in the loss of its own target, and the teacher's target.

        :meth:`install` reads them row by row.
        """
        first = weights(net, task, rows, self.labelled)
        soft = self.targets if task == "regression" else tempered(self.targets, self.temperature, task)
        return np.column_stack([*first, soft])

    def install(self, net: Any, current: list[Tensor | None], task: Task, weighted: bool) -> None:
        """Replace the ``get_loss`` of an initialised net by that of the rows' own targets and of the teacher's.

        The columns of the present batch stand in ``current[0]``. Where the net validates, its loss is that of the
        targets alone.
        """
        get_loss = net.get_loss
        rows = RowLosses(net, LABELLED) if weighted or self.labelled is not None else None
        likelihood = None if task == "regression" else likelihood_of(net, task)

        def of_targets(y_pred: Any, y: Tensor, weight: Tensor, given: dict[str, Any]) -> Tensor:
            return get_loss(y_pred, y, **given) if rows is None else mean_of_known(rows, y_pred, y, weight, **given)

        def taught(y_pred: Any, targets: Tensor, weight: Tensor, given: dict[str, Any]) -> Tensor:
            if likelihood is None:
                return of_targets(y_pred, targets, weight, given)

            def nats(out: Tensor, targets: Tensor) -> Tensor:
                return divergence(likelihood.logits(out), targets, self.temperature, task)

            return (weight * mean_of_members(nats, first_output(first_output(y_pred)), targets)).mean()

        def softened(y_pred: Any, y_true: Any, X: Any = None, training: bool = False, **kwargs: Any) -> Tensor:
            given = {"X": X, "training": training, **kwargs}
            if not training or current[0] is None:
                return get_loss(y_pred, y_true, **given)
            weight, own_weight, targets = current[0][:, 0], current[0][:, 1], current[0][:, 2:]
            total = 0  # a term that does not count may be infinite
            if self.alpha > 0:
                total = self.alpha * of_targets(y_pred, y_true, own_weight, given)
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

    ``targets`` are what :func:`tempered` returned. The result has the shape (n_samples,), in nats; the divergences of
    labels are averaged.
    """
    z = logits / temperature
    if task == "multilabel":
        nats = F.kl_div(F.logsigmoid(z), targets, reduction="none")
        nats = (nats + F.kl_div(F.logsigmoid(-z), 1 - targets, reduction="none")).mean(1)
    else:
        nats = F.kl_div(F.log_softmax(z, 1), targets, reduction="none").sum(1)
    return temperature**2 * nats


def weights(net: Any, task: Task, rows: Rows, labelled: np.ndarray | None) -> list[np.ndarray]:
    """Return the weights of all rows, and those in the loss of their own targets: 0 where a row has no target."""
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    kept = np.ones(len(rows), bool) if labelled is None else np.asarray(labelled, bool)
    of_targets = np.zeros(len(rows))
    if kept.any():
        of_targets[kept], _ = scaled_by_classes(weight[kept], targets(net, rows.y, task)[kept], net.criterion_)
    return [weight, of_targets]


def mean_of_known(rows: RowLosses, y_pred: Any, y: Tensor, weight: Tensor, X: Any = None, **kwargs: Any) -> Tensor:
    """Return the mean loss of the rows of a batch that have targets, times their share of the batch.

    The mean is that of :func:`~skfusion.nets.losses._weighted.weigh`; a criterion that adds losses up adds up weighted
    ones. Rows of weight 0 have no target, and what stands there is not read. ``X`` and ``kwargs`` are for a net's
    ``get_loss``. 0 where no row counts.
    """
    kept = weight > 0
    share = kept.sum().item() / len(y)
    counts = counted(y[kept], rows.criterion) if kept.any() else None
    if counts is not None:
        kept = torch.zeros_like(kept).masked_scatter(kept, counts > 0)
        counts = counts[counts > 0]
    if not kept.any():
        return first_output(first_output(y_pred))[:0].sum()  # which has a gradient
    losses = rows.each(_taken(y_pred, kept), _taken(y, kept), X=_taken(X, kept), **kwargs)
    if rows.criterion.reduction == "sum":
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
