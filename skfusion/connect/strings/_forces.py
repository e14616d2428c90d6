"""What moves a pivot of an elastic band: the slope across the band, and springs along it (Henkelman & Jónsson, 2000).

The weights of the two neighbours at an extremum are those of the paper: the larger one is on the side of the higher
neighbour. A widely used implementation has them the other way round.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skfusion.connect._chain import lengths
from skfusion.connect._parameters import is_number


def tangents(pivots: Tensor, losses: Tensor) -> Tensor:  # shapes: (n_pivots, n_numbers), (n_pivots,)
    """Return unit tangents at the inner pivots, shape (n_pivots - 2, n_numbers); zero where a pivot has no neighbour.

    They point to the higher neighbour where the loss rises or falls, and to both, by their heights, at an extremum.
    """
    rise = losses.diff()
    before, after = rise[:-1], rise[1:]
    low, high = torch.minimum(before.abs(), after.abs()), torch.maximum(before.abs(), after.abs())
    to_next = before + after > 0  # the next neighbour is the higher one
    back, ahead = torch.where(to_next, low, high), torch.where(to_next, high, low)
    level = before + after == 0
    back, ahead = torch.where(level, 1.0, back), torch.where(level, 1.0, ahead)
    slope = before * after > 0
    back, ahead = (torch.where(slope, chosen, kept) for chosen, kept in ((~to_next, back), (to_next, ahead)))
    steps = _units(pivots.diff(dim=0))
    return _units(back.to(pivots)[:, None] * steps[:-1] + ahead.to(pivots)[:, None] * steps[1:])


def across(gradients: Tensor, tangent: Tensor) -> Tensor:
    """Return gradients without their parts along the tangents; all have the shape (n_pivots - 2, n_numbers)."""
    return gradients - (gradients * tangent).sum(1, keepdim=True) * tangent


def springs(pivots: Tensor, spacing: Tensor, stiffness: float, tangent: Tensor) -> Tensor:
    """Return the gradients of springs between neighbours, along the tangents; ``spacing`` is where they rest."""
    stretched = lengths(pivots) - spacing
    return (stiffness * -stretched.diff()).to(pivots)[:, None] * tangent


def _units(rows: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(norm > 0, rows / norm, 0.0)


def is_rigid(stiffness: float) -> bool:
    """Return whether pivots are moved along the band to keep their distances, instead of springs."""
    return math.isinf(stiffness)


def check_spring(component: Any) -> None:
    """Raise an error where the stiffness ``spring`` is no number of at least 0, of which infinity is one."""
    if not is_number(component.spring):
        raise TypeError(f"spring must be a number; got {component.spring!r}.")
    if not component.spring >= 0:
        raise ValueError(f"spring must be at least 0, or infinite; got {component.spring!r}.")
