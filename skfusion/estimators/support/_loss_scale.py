"""The loss of values in units of their spread, so that a learning rate does not depend on the units of the targets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from skfusion.objective import Batch, Objective


def loss_scale(objective: Objective) -> float:
    """Return the loss of the mean target as the prediction for all rows: the variance, if the loss is a squared error.

    It is 1 where the criterion takes no such prediction, such as one of distributions, or finds nothing wrong with it.
    """
    assert objective.criterion is not None
    known = [(batch.y, batch.weight) for batch in objective.batches()]
    y = torch.cat([y for y, _ in known])
    weight = torch.cat([torch.ones(len(y), device=y.device) if w is None else w for y, w in known]).double()
    mean = (torch.tensordot(weight, y.double(), 1) / weight.sum()).to(y.dtype)
    total = 0.0
    try:
        with torch.no_grad():
            for batch in objective.batches():
                share = len(batch.y) if batch.weight is None else float(batch.weight.sum())
                total += share * float(objective.criterion(mean.expand_as(batch.y), batch))
    except Exception:  # whatever a criterion of outputs that are no values may do with values
        return 1.0
    found = total / float(weight.sum())
    return found if math.isfinite(found) and found > 0 else 1.0


def in_unit(objective: Objective, unit: float) -> Objective:
    """Return an objective whose criterion, by which something is trained, is in another unit."""

    def criterion(out: Any, batch: Batch) -> Tensor:
        assert objective.criterion is not None
        return objective.criterion(out, batch) / unit

    return replace(objective, criterion=criterion)
