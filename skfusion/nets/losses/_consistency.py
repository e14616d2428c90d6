"""Losses that ask a network to predict the same for a row in spite of noise (Laine and Aila, 2017)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._rows import Inputs, Rows, Task
from skfusion.nets._runner import likelihood_of
from skfusion.nets.losses._of_members import mean_of_members
from skfusion.nets.losses._soft import LABELLED, mean_of_known, weights
from skfusion.nets.losses._weighted import RowLosses
from skfusion.objective import first_output


class Consistency(ABC):
    """The loss of labels, where there are some, and of how far a row's probabilities are from a target, for all rows.

    The weight of the squared difference grows within ``n_ramp`` epochs to ``max_weight`` times the share of rows that
    are ``labelled``, in which rows count by ``row_weight``. ``noise`` has the standard deviations of the noise that
    inputs get in training, of the shape of a sample.
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
        """Return the targets of rows, shape (n_rows, n_classes), as constants, and 1 where there is one yet, else 0.

        ``x`` are the inputs without noise, ``index`` the positions of the rows, and ``p`` their predictions, without
        gradient.
        """

    def end_epoch(self) -> None:
        """Count an epoch."""
        self.epoch += 1

    def weight(self) -> float:
        """Return the weight of the squared difference in the present epoch: nothing in the first one."""
        return self.max_weight * ramp(self.epoch, self.n_ramp)

    def columns(self, net: Any, task: Task, rows: Rows) -> np.ndarray:
        """Return for each row its weight, its weight in the loss of its label, and its position; see :class:`Soft`."""
        return np.column_stack([*weights(net, task, rows, self.labelled), np.arange(len(rows))])

    def install(self, net: Any, current: list[Tensor | None], task: Task, weighted: bool) -> None:
        """Replace the ``get_loss`` of an initialised net, and give its inputs noise; see :meth:`Soft.install`."""
        rows, get_loss, infer, likelihood = RowLosses(net, LABELLED), net.get_loss, net.infer, likelihood_of(net, task)

        def probabilities(y_pred: Any) -> Tensor:
            out = first_output(first_output(y_pred))
            return mean_of_members(lambda z: likelihood.logits(z).softmax(1), out)

        def noisy(x: Any, **params: Any) -> Any:
            return infer(self._with_noise(x) if net.module_.training else x, **params)

        def consistent(y_pred: Any, y_true: Any, X: Any = None, training: bool = False, **kwargs: Any) -> Tensor:
            if not training or current[0] is None:
                return get_loss(y_pred, y_true, X=X, training=training, **kwargs)
            weight, own_weight, index = current[0].unbind(1)
            of_labels = mean_of_known(rows, y_pred, y_true, own_weight, X=X, training=training, **kwargs)
            p = probabilities(y_pred)
            targets, known = self.targets(net, X, index.long(), p.detach())
            apart = (p - targets).square().mean(1) * known
            return of_labels + self.weight() * (weight * apart).mean()

        self.probabilities = probabilities
        net.get_loss, net.infer = consistent, noisy

    def _with_noise(self, x: Any) -> Any:
        if isinstance(x, dict):
            return {k: _noised(v, self.noise[k]) for k, v in x.items()}
        return _noised(x, self.noise)


class Ensembled(Consistency):
    """Targets are running means of the net's predictions in earlier epochs (temporal ensembling).

    ``momentum`` is what the mean keeps of itself from one epoch to the next.
    """

    def __init__(self, momentum: float, n_classes: int, **common: Any):
        super().__init__(**common)
        n = len(self.labelled)
        self.momentum = momentum
        self.mean, self.latest = torch.zeros(n, n_classes), torch.zeros(n, n_classes)
        self.count, self.seen = torch.zeros(n), torch.zeros(n, dtype=torch.bool)

    def targets(self, net: Any, x: Any, index: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of the epochs before, corrected for their start at zero; see :meth:`Consistency.targets`."""
        index = index.cpu()
        first = ~self.seen[index]  # later ones come from weights that an optimiser tries within a step, as LBFGS does
        self.latest[index[first]] = p.cpu().to(self.latest.dtype)[first]
        self.seen[index] = True
        count = self.count[index]
        known = count > 0
        targets = self.mean[index] / torch.where(known, 1 - self.momentum**count, 1.0)[:, None]
        return targets.to(p), known.to(p)

    def end_epoch(self) -> None:
        """Add the predictions of the epoch to the means of its rows."""
        super().end_epoch()
        entered = self.momentum * self.mean + (1 - self.momentum) * self.latest
        self.mean = torch.where(self.seen[:, None], entered, self.mean)
        self.count += self.seen
        self.seen[:] = False


class Twice(Consistency):
    """Targets are the net's predictions for the row under other noise and another dropout mask (the Pi model)."""

    def targets(self, net: Any, x: Any, index: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions of a second pass; see :meth:`Consistency.targets`."""
        if not self.weight():
            return p, torch.zeros_like(p[:, 0])
        with torch.no_grad():
            return self.probabilities(net.infer(x)), torch.ones_like(p[:, 0])


def ramp(epoch: int, n_ramp: float) -> float:
    """Return the share of its largest value that a weight has in an epoch, counted from 0: none in the first one."""
    if epoch == 0:
        return 0.0
    return math.exp(-5 * (1 - epoch / n_ramp) ** 2) if epoch < n_ramp else 1.0


def _noised(x: Tensor, std: np.ndarray) -> Tensor:
    if not x.is_floating_point() or not np.any(std):
        return x
    return x + torch.randn_like(x) * torch.as_tensor(std, dtype=x.dtype, device=x.device)
