"""Losses that ask a network to predict the same for a row in spite of noise (Laine and Aila, 2017)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._rows import Inputs, Rows, Task
from skfusion.nets.losses._output import likelihood_of
from skfusion.nets.losses._soft import RowLosses, weights
from skfusion.objective import first_output


class Consistency(ABC):
    """The loss of labels, where there are some, and of how far a row's probabilities are from a target, for all rows.

    Parameters
    ----------
    labelled : ndarray of bool, shape (n_samples,)
        Which rows have labels.
    max_weight : float
        What the squared difference weighs in the end where all rows are labelled; times their share where not all are.
    n_ramp : float
        Epochs in which the weight grows to that.
    noise : ndarray or dict of ndarray
        Standard deviations of the noise that inputs are given in training, of the shape of a sample.
    row_weight : ndarray of shape (n_samples,), optional
        What rows weigh, also in the share of those that are labelled.
    """

    def __init__(
        self,
        labelled: np.ndarray,
        max_weight: float,
        n_ramp: float,
        noise: Inputs,
        row_weight: np.ndarray | None = None,
    ):
        self.labelled, self.noise = labelled, noise
        self.max_weight, self.n_ramp = max_weight * float(np.average(labelled, weights=row_weight)), n_ramp
        self.epoch = 0

    @abstractmethod
    def targets(self, net: Any, x: Any, index: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the targets of rows, and whether there are any yet.

        Parameters
        ----------
        net : skorch net
            In training.
        x : Tensor or dict of Tensor
            Inputs without noise.
        index : Tensor of int, shape (n_rows,)
            Positions of the rows.
        p : Tensor of shape (n_rows, n_classes)
            What the net predicts for them, without gradient.

        Returns
        -------
        targets : Tensor of shape (n_rows, n_classes)
            Constants.
        known : Tensor of shape (n_rows,)
            1 where there is a target, else 0.
        """

    def end_epoch(self) -> None:
        """Take note that an epoch has ended."""
        self.epoch += 1

    def weight(self) -> float:
        """Return what the squared difference weighs in the present epoch: nothing in the first one.

        Returns
        -------
        float
            The weight.
        """
        return self.max_weight * ramp(self.epoch, self.n_ramp)

    def columns(self, net: Any, task: Task, rows: Rows) -> np.ndarray:
        """Return for each row its weight, that in the loss of its label, and its position; see :meth:`Soft.columns`.

        Parameters
        ----------
        net : skorch net
            Initialised.
        task : {"classification"}
            What the targets are.
        rows : Rows
            All rows that the net is trained on.

        Returns
        -------
        ndarray of shape (n_samples, 3)
            What :meth:`install` reads, row by row.
        """
        return np.column_stack([*weights(net, task, rows, self.labelled), np.arange(len(rows))])

    def install(self, net: Any, current: list[Tensor | None], task: Task, weighted: bool) -> None:
        """Replace the ``get_loss`` of an initialised net, and give its inputs noise; see :meth:`Soft.install`."""
        rows, get_loss, infer, likelihood = RowLosses(net), net.get_loss, net.infer, likelihood_of(net, task)

        def probabilities(y_pred: Any) -> Tensor:
            out = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            return likelihood.logits(first_output(out)).softmax(1)

        def noisy(x: Any, **params: Any) -> Any:
            return infer(self._with_noise(x) if net.module_.training else x, **params)

        def consistent(y_pred: Any, y_true: Any, X: Any = None, training: bool = False, **kwargs: Any) -> Tensor:
            if not training or current[0] is None:
                return get_loss(y_pred, y_true, X=X, training=training, **kwargs)
            weight, own_weight, index = current[0].unbind(1)
            own = rows.mean(y_pred, y_true, own_weight, X=X, training=training, **kwargs)
            p = probabilities(y_pred)
            targets, known = self.targets(net, X, index.long(), p.detach())
            apart = (p - targets).square().mean(1) * known
            return own + self.weight() * (weight * apart).mean()

        self.probabilities = probabilities
        net.get_loss, net.infer = consistent, noisy

    def _with_noise(self, x: Any) -> Any:
        if isinstance(x, dict):
            return {k: _noised(v, self.noise[k]) for k, v in x.items()}
        return _noised(x, self.noise)


class Ensembled(Consistency):
    """Targets are the running means of what the net has predicted for the row in the epochs before.

    Parameters
    ----------
    momentum : float
        What the mean keeps of itself from one epoch to the next.
    n_classes : int
        Classes.
    **common : dict
        The parameters of :class:`Consistency`.
    """

    def __init__(self, momentum: float, n_classes: int, **common: Any):
        super().__init__(**common)
        n = len(self.labelled)
        self.momentum = momentum
        self.mean, self.latest = torch.zeros(n, n_classes), torch.zeros(n, n_classes)
        self.count, self.seen = torch.zeros(n), torch.zeros(n, dtype=torch.bool)

    def targets(self, net: Any, x: Any, index: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of the epochs before, freed of their start at zero; see :meth:`Consistency.targets`."""
        index = index.cpu()
        first = ~self.seen[index]  # later ones are of weights that an optimiser tries out within a step, as LBFGS does
        self.latest[index[first]] = p.cpu().to(self.latest.dtype)[first]
        self.seen[index] = True
        count = self.count[index]
        known = count > 0
        found = self.mean[index] / torch.where(known, 1 - self.momentum**count, 1.0)[:, None]
        return found.to(p), known.to(p)

    def end_epoch(self) -> None:
        """Let the predictions of the epoch enter the means of the rows that it had."""
        super().end_epoch()
        entered = self.momentum * self.mean + (1 - self.momentum) * self.latest
        self.mean = torch.where(self.seen[:, None], entered, self.mean)
        self.count += self.seen
        self.seen[:] = False


class Twice(Consistency):
    """Targets are what the net predicts for the row under other noise and another dropout.

    Parameters
    ----------
    labelled : ndarray of bool, shape (n_samples,)
        Which rows have labels.
    max_weight : float
        What the squared difference weighs in the end where all rows are labelled; times their share where not all are.
    n_ramp : float
        Epochs in which the weight grows to that.
    noise : ndarray or dict of ndarray
        Standard deviations of the noise that inputs are given in training, of the shape of a sample.
    row_weight : ndarray of shape (n_samples,), optional
        What rows weigh, also in the share of those that are labelled.
    """

    def targets(self, net: Any, x: Any, index: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions of a second pass; see :meth:`Consistency.targets`."""
        if not self.weight():
            return p, torch.zeros_like(p[:, 0])
        with torch.no_grad():
            return self.probabilities(net.infer(x)), torch.ones_like(p[:, 0])


def ramp(epoch: int, n_ramp: float) -> float:
    """Return what share of its largest value a weight has in an epoch, counted from 0: none in the first one."""
    if epoch == 0:
        return 0.0
    return math.exp(-5 * (1 - epoch / n_ramp) ** 2) if epoch < n_ramp else 1.0


def _noised(x: Tensor, std: np.ndarray) -> Tensor:
    if not x.is_floating_point() or not np.any(std):
        return x
    return x + torch.randn_like(x) * torch.as_tensor(std, dtype=x.dtype, device=x.device)
