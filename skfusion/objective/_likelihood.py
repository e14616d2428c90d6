"""How a method reads what a network returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Likelihood:
    """What the outputs of a network say about a target.

    Parameters
    ----------
    kind : {"categorical", "bernoulli", "gaussian"}
        Classes that exclude each other; labels that do not; values with unit variance.
    logits : callable
        ``logits(output)``, of shape (n_rows, n_outputs): log-probabilities of classes up to a constant a row, log-odds
        of labels, or values. Gradients pass through it.
    """

    kind: Literal["categorical", "bernoulli", "gaussian"]
    logits: Callable[[Tensor], Tensor]

    def log_prob(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the log-probability of each row's target, up to a constant.

        Parameters
        ----------
        output : Tensor of shape (n_rows, ...)
            What the network returns.
        y : Tensor of shape (n_rows, ...)
            Class codes, labels of 0 and 1, or values.

        Returns
        -------
        Tensor of shape (n_rows,)
            In nats.
        """
        z = self.logits(output)
        if self.kind == "categorical":
            return F.log_softmax(z, dim=1).gather(1, y.reshape(-1, 1).long()).squeeze(1)
        y = y.reshape(z.shape).to(z.dtype)
        if self.kind == "bernoulli":
            return -F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
        return -0.5 * (z - y).square().sum(dim=1)

    def entropy(self, output: Tensor) -> Tensor:
        """Return the entropy of each row's prediction.

        Parameters
        ----------
        output : Tensor of shape (n_rows, ...)
            What the network returns.

        Returns
        -------
        Tensor of shape (n_rows,)
            In nats; of labels the sum over labels.

        Raises
        ------
        ValueError
            If values are predicted, which have none.
        """
        z = self.logits(output)
        if self.kind == "gaussian":
            raise ValueError("Values that are predicted have no entropy: this method is for classifiers.")
        if self.kind == "categorical":
            return -(F.softmax(z, dim=1) * F.log_softmax(z, dim=1)).sum(dim=1)
        return F.binary_cross_entropy_with_logits(z, z.sigmoid(), reduction="none").sum(dim=1)
