"""The loss of a network that learns from labels and from what another one predicts (Hinton et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from skfusion.nets._link import likelihood_of
from skfusion.objective import first_output
from skfusion.rows import Task


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

    def columns(self, task: Task, weight: np.ndarray | None) -> np.ndarray:
        """Return for each row its weight, whether it is labelled, and what it is to learn from the teacher.

        Parameters
        ----------
        task : {"classification", "multilabel", "regression"}
            What the targets are.
        weight : ndarray of shape (n_samples,) or None
            Weights of the rows.

        Returns
        -------
        ndarray of shape (n_samples, 2 + n_outputs)
            What :meth:`install` reads, row by row.
        """
        n = len(self.targets)
        ones = np.ones(n)
        first = [ones if weight is None else weight, ones if self.labelled is None else self.labelled]
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
        by_row = weighted or self.labelled is not None
        if by_row:
            judge_rows(net)
        get_loss = net.get_loss
        likelihood = None if task == "regression" else likelihood_of(net, task)

        def of_teacher(y_pred: Any, targets: Tensor, args: Any, kwargs: Any) -> Tensor:
            if likelihood is None:
                return get_loss(y_pred, targets, *args, training=True, **kwargs)
            out = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            return divergence(likelihood.logits(first_output(out)), targets, self.temperature, task)

        def softened(y_pred: Any, y_true: Any, *args: Any, training: bool = False, **kwargs: Any) -> Tensor:
            own = get_loss(y_pred, y_true, *args, training=training, **kwargs)
            if not training or current[0] is None:
                return own.mean()
            weight, labelled, targets = current[0][:, 0], current[0][:, 1], current[0][:, 2:]
            terms = []
            if self.alpha > 0:  # a term that does not count may be infinite
                terms.append(self.alpha * (losses_of_rows(own) * labelled if by_row else own))
            if self.alpha < 1:
                taught = of_teacher(y_pred, targets, args, kwargs)
                terms.append((1 - self.alpha) * (losses_of_rows(taught) if by_row else taught.mean()))
            total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
            return (weight * total).mean() if by_row else total

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


def judge_rows(net: Any) -> None:
    """Make the criterion of an initialised net give a loss for each row."""
    if not hasattr(net.criterion_, "reduction"):
        raise ValueError(
            f"The criterion {type(net.criterion_).__name__} has no reduction='none', so rows cannot count differently. "
            "Give only labelled rows without weights, or a criterion with a reduction."
        )
    net.criterion_.reduction = "none"


def losses_of_rows(losses: Tensor) -> Tensor:
    """Return the mean loss of each row, shape (n_rows,)."""
    return losses.reshape(len(losses), -1).mean(1)
