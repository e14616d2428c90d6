"""The loss of values in units of their spread, so that a learning rate does not depend on the units of the targets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skfusion.objective import Batch, Objective, Wrapper


def loss_scale(objective: Objective) -> float:
    """Return the loss of the mean target as the prediction for all rows: the variance, if the loss is a squared error.

    It is 1 where the criterion takes no such prediction, such as one of distributions, or finds nothing wrong with it.
    """
    assert objective.criterion is not None
    targets = [(batch.y, batch.weight) for batch in objective.batches()]
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


class InUnit(Wrapper):
    """An objective whose criterion, by which something is trained, is in another unit."""

    def __init__(self, objective: Objective, unit: float):
        super().__init__(objective)
        self._unit = unit
        self.criterion = self._in_unit

    def _in_unit(self, out: Tensor, batch: Batch) -> Tensor:
        assert self.objective.criterion is not None
        return self.objective.criterion(out, batch) / self._unit
