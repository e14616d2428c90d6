"""Gradient clipping of many members, each by its own norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skfusion._vectorized._optim import Part


def clip_(grad: Tensor | Sequence[Part], max_norm: float, norm_type: float = 2.0) -> None:
    """Scale each member's gradient down to a norm, in place; torch's ``clip_grad_norm_`` for every row.

    Parameters
    ----------
    grad : Tensor of shape (n_members, n_parameters), or sequence of (slice, Tensor)
        Gradients, whole or in parts.
    max_norm : float
        Largest norm.
    norm_type : float, default=2.0
        Order of the norm.
    """
    parts = [grad] if isinstance(grad, Tensor) else [part for _, part in grad]
    norms = [torch.linalg.vector_norm(part, norm_type, dim=[*range(1, part.dim())]) for part in parts]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), norm_type, dim=0)
    share = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for part in parts:
        part.mul_(share.view(-1, *[1] * (part.dim() - 1)))
