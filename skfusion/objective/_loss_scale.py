"""The unit of a loss of values, by which what is trained does not depend on the units of the targets."""

from __future__ import annotations

import math

import torch

from skfusion.objective._base import Objective


def loss_scale(objective: Objective) -> float:
    """Return the loss of the mean target for all rows, the variance if it is squared; 1 where that is no number."""
    assert objective.criterion is not None
    targets = [(batch.y, batch.weight) for batch in objective.batches()]
    if any(y is None for y, _ in targets):
        return 1.0
    y = torch.cat([y for y, _ in targets])
    weight = torch.cat([torch.ones(len(y), device=y.device) if w is None else w for y, w in targets]).double()
    mean = (torch.tensordot(weight, y.double(), 1) / weight.sum()).to(y.dtype)
    total = 0.0
    try:
        with torch.no_grad():
            for batch in objective.batches():
                share = len(batch.y) if batch.weight is None else float(batch.weight.sum())
                total += share * float(objective.criterion(mean.expand_as(batch.y), batch))
    except Exception:  # whatever a criterion of outputs that are no values may do with values
        return 1.0
    scale = total / float(weight.sum())
    return scale if math.isfinite(scale) and scale > 0 else 1.0
