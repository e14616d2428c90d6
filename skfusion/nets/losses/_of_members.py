"""Losses of a network that returns, in training, an output for each of its members: the mean of the members' losses.

An output of shape (n_samples, n_members, n_out) is compared with the targets member by member; one without the axis of
members, as in evaluation mode, by torch's own loss. With ``reduction="none"`` there is one loss a row, so that rows can
be weighed. The mean of the losses, and not the loss of the mean, makes each member learn the task by itself.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def _by_member(loss: Any, reduction: str, out: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the axis of members, where there is one, of what torch's ``loss`` says."""
    if out.ndim < 3:
        result: Tensor = loss(out, target)
        return result
    n, k = out.shape[:2]
    losses: Tensor = loss(out.flatten(0, 1), target.unsqueeze(1).expand(n, k, *target.shape[1:]).flatten(0, 1))
    if reduction == "none":
        return losses.reshape(n, k, *losses.shape[1:]).mean(1)
    return losses / k if reduction == "sum" else losses


class MembersCrossEntropyLoss(nn.CrossEntropyLoss):
    """The cross-entropy of each member, for classes that exclude each other."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _by_member(super().forward, self.reduction, input, target)


class MembersBCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """The binary cross-entropy of each member, for labels."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _by_member(super().forward, self.reduction, input, target)


class MembersMSELoss(nn.MSELoss):
    """The squared error of each member, for values."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _by_member(super().forward, self.reduction, input, target)


ALONE: dict[type[nn.Module], type[nn.Module]] = {
    MembersCrossEntropyLoss: nn.CrossEntropyLoss,
    MembersBCEWithLogitsLoss: nn.BCEWithLogitsLoss,
    MembersMSELoss: nn.MSELoss,
}
"""The loss of one member by itself, by that of many."""

OF_MEMBERS = {alone: many for many, alone in ALONE.items()}
"""The other way round."""
