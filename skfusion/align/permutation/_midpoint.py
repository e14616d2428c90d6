"""The loss halfway between two networks on the rows to fit on, by which permutations are learned and judged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from skfusion._batches import counting, size_of, without_single_rows
from skfusion.objective import Batch, Objective, evaluating
from skfusion.state import State, weighted_sum


def midpoint_loss(objective: Objective, reference: State, state: State) -> float:
    """Return the mean loss of the mean of two states on the rows to fit on, BatchNorm in the module's present mode."""
    middle = weighted_sum([reference, state], [0.5, 0.5])
    total = weight = 0.0
    with torch.no_grad():
        for batch in without_single_rows(counting(objective.batches())):
            share = size_of(batch)
            total, weight = total + share * float(loss_of(objective, middle, batch)) if share else total, weight + share
    return total / weight if weight else math.nan


def loss_of(objective: Objective, state: State, batch: Batch) -> Tensor:
    """Return the loss of a batch, or raise ``ValueError`` where it has no labels."""
    if batch.y is None:
        raise ValueError(
            "The loss of the midpoint needs labels, and a batch of the objective has y=None: give its batches (or "
            "training=) labels."
        )
    assert objective.criterion is not None
    return objective.criterion(objective.forward(state, batch.x), batch)


@contextmanager
def by_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, but its BatchNorm layers, and restore the modes of its parts afterwards."""
    with evaluating(module):
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.training = True
        yield
