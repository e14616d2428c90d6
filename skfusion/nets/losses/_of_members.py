"""Losses of a network that returns, in training, an output for each of its members: the mean of the members' losses.

An output of shape (n_samples, n_members, n_out) is compared with the targets member by member; one without the axis of
members, as in evaluation mode, by torch's own loss. With ``reduction="none"`` there is one loss a row, so that rows can
be weighed. The mean of the losses, and not the loss of the mean, makes each member learn the task by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from skfusion.nets.losses._smoothed import SmoothedCrossEntropyLoss


def mean_of_members(function: Callable[..., Tensor], out: Tensor, *more: Tensor) -> Tensor:
    """Return the mean over the members, if there are some, of what a function says of each row of an output.

    ``more`` are tensors of rows that the function takes too.
    """
    if out.ndim < 3:
        return function(out, *more)
    n, k = out.shape[:2]
    repeated = (t.unsqueeze(1).expand(n, k, *t.shape[1:]).flatten(0, 1) for t in more)
    values = function(out.flatten(0, 1), *repeated)
    return values.reshape(n, k, *values.shape[1:]).mean(1)


def _reduced(loss: Callable[..., Tensor], reduction: str, out: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the members of a loss of torch, with its reduction over rows."""
    if out.ndim < 3 or reduction == "none":
        return mean_of_members(loss, out, target)
    k = out.shape[1]
    targets = target.unsqueeze(1).expand(len(out), k, *target.shape[1:])
    losses = loss(out.flatten(0, 1), targets.flatten(0, 1))
    return losses / k if reduction == "sum" else losses


class MembersCrossEntropyLoss(nn.CrossEntropyLoss):
    """The cross-entropy of each member, for classes that exclude each other."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _reduced(super().forward, self.reduction, input, target)


class MembersSmoothedCrossEntropyLoss(MembersCrossEntropyLoss, SmoothedCrossEntropyLoss):
    """The same with smoothed targets."""


class MembersBCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """The binary cross-entropy of each member, for labels."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _reduced(super().forward, self.reduction, input, target)


class MembersMSELoss(nn.MSELoss):
    """The squared error of each member, for values."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the members' losses."""
        return _reduced(super().forward, self.reduction, input, target)


ALONE: dict[type[nn.Module], type[nn.Module]] = {
    MembersCrossEntropyLoss: nn.CrossEntropyLoss,
    MembersSmoothedCrossEntropyLoss: SmoothedCrossEntropyLoss,
    MembersBCEWithLogitsLoss: nn.BCEWithLogitsLoss,
    MembersMSELoss: nn.MSELoss,
}
"""The loss of one member by itself, by that of many."""

OF_MEMBERS = {alone: many for many, alone in ALONE.items()}
"""The other way round."""
