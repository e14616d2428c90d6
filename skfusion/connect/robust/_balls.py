"""Balls of the norms l_inf, l2 and l1 around the rows of a batch: steepest steps in them, and projections on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Room = tuple[Tensor, Tensor]
"""The least and the largest change of each number that leave it in the range of the data."""
_SHARE = 0.01
"""Of the numbers of a row, those that a step in the l1 ball goes along."""


def projected(change: Tensor, p: float, radius: float, room: Room) -> Tensor:
    """Return the changes nearest to some in the ball of a norm around no change, and then in the range of the data.

    The latter only makes each number of a change smaller, so that it stays in the ball.
    """
    flat = change.flatten(1)
    if p == math.inf:
        flat = flat.clamp(-radius, radius)
    elif p == 2:
        length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        flat = flat * (radius / length.clamp(min=radius))
    else:
        flat = _on_l1_ball(flat, radius)
    return flat.view_as(change).clamp(*room)


def _on_l1_ball(flat: Tensor, radius: float) -> Tensor:
    """Return the nearest points of the l1 ball: numbers shrink by one amount a row, down to 0 (Duchi et al., 2008)."""
    sizes = flat.abs()
    falling = sizes.sort(dim=1, descending=True).values
    count = torch.arange(1, flat.shape[1] + 1, device=flat.device)
    amounts = (falling.cumsum(1) - radius) / count
    last = (falling > amounts).sum(dim=1, keepdim=True).clamp(min=1)
    amount = amounts.gather(1, last - 1).clamp(min=0)
    return flat.sign() * (sizes - amount).clamp(min=0)


def _step_l_inf(slope: Tensor, change: Tensor, room: Room) -> Tensor:
    return slope.sign()


def _step_l2(slope: Tensor, change: Tensor, room: Room) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return slope / length.clamp(min=torch.finfo(slope.dtype).tiny).view(-1, *[1] * (slope.dim() - 1))


def _step_l1(slope: Tensor, change: Tensor, room: Room) -> Tensor:
    """Return steps along the numbers with the largest slopes, of those that the range of the data lets go on."""
    free = torch.where(slope > 0, change < room[1], change > room[0])
    sizes = (slope.abs() * free).flatten(1)
    n = max(1, math.ceil(_SHARE * sizes.shape[1]))
    top = sizes.topk(n, dim=1)
    step = torch.zeros_like(sizes).scatter_(1, top.indices, (top.values > 0).to(sizes))
    along = (step / step.sum(dim=1, keepdim=True).clamp(min=1)).view_as(slope)
    return along * slope.sign()


STEPS: Mapping[float, Callable[[Tensor, Tensor, Room], Tensor]] = {
    math.inf: _step_l_inf,
    2.0: _step_l2,
    1.0: _step_l1,
}
"""By norm: the step of length one by which a linear loss rises most, for slopes, changes so far, and the room left."""
