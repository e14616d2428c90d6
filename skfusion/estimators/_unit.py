"""The loss of values in units of their spread, so that a learning rate does not depend on the units of the targets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from skfusion.objective import Batch, Objective


def unit_of_loss(objective: Objective) -> float:
    """Return the loss of the mean target as the prediction for all rows: the variance, if the loss is a squared error.

    It is 1 where the criterion takes no such prediction, such as one of distributions, or finds nothing wrong with it.
    """
    batches = [batch._replace(x={}) for batch in objective.batches()]
    y = torch.cat([batch.y for batch in batches])
    weight = None if batches[0].weight is None else torch.cat([b.weight for b in batches if b.weight is not None])
    wide = y.double()
    mean = wide.mean(0) if weight is None else torch.tensordot(weight.double(), wide, 1) / weight.sum()
    assert objective.criterion is not None
    try:
        with torch.no_grad():
            found = float(objective.criterion(mean.to(y.dtype).expand_as(y), Batch({}, y, weight)))
    except Exception:  # whatever a criterion of outputs that are no values may do with values
        return 1.0
    return found if math.isfinite(found) and found > 0 else 1.0


def in_unit(objective: Objective, unit: float) -> Objective:
    """Return an objective whose criterion, by which something is trained, is in another unit."""

    def criterion(out: Any, batch: Batch) -> Tensor:
        assert objective.criterion is not None
        return objective.criterion(out, batch) / unit

    return replace(objective, criterion=criterion)
