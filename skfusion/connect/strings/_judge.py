"""The loss of states on labelled rows that stay the same, with BatchNorm re-estimated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from skfusion._batches import size_of
from skfusion._random import seed_scope
from skfusion.connect._base import combined
from skfusion.connect._train import Settings, labelled
from skfusion.objective import Objective, evaluating
from skfusion.repair import Recalibrate
from skfusion.state import State


class TrainingLoss:
    """The mean loss of a state on one epoch of the rows that are trained on, the same ones each time.

    ``networks`` keep the statistics that their own training left them. Rows that judge are not asked, so that they can
    judge what is chosen here.
    """

    def __init__(self, settings: Settings, networks: Sequence[State], objective: Objective):
        self.settings, self.networks, self.objective = settings, networks, objective
        self._device = next(iter(networks[0].values())).device

    def __call__(self, state: State) -> float:
        objective, criterion = self.objective, self.objective.criterion
        assert criterion is not None
        state = Recalibrate(n_passes=1)(state, self.networks, objective)
        total = weight = 0.0
        with seed_scope(int(self.settings.random_state), self._device), torch.no_grad(), evaluating(objective.module):
            for batch in labelled(objective.training(), self.settings):
                n = size_of(batch)
                total += n * float(criterion(objective.forward(state, batch.x), batch))
                weight += n
        return _known(total / weight) if weight else math.inf


class HeldOutLoss:
    """The loss by which the objective judges a state, once its BatchNorm statistics are re-estimated."""

    def __init__(self, objective: Objective, networks: Sequence[State]):
        self.objective, self.networks = objective, networks

    def __call__(self, state: State) -> float:
        return _known(self.objective.loss(Recalibrate(n_passes=1)(state, self.networks, self.objective)))


def between(first: State, second: State, shares: Iterable[float]) -> Iterable[State]:
    """Iterate over the states at shares of the way from one state to another."""
    return (combined([first, second], [1 - s, s]) for s in shares)


def inner_shares(n_points: int) -> np.ndarray:
    """Return n equally spaced shares of a way, without its ends."""
    shares: np.ndarray = np.arange(1, n_points + 1) / (n_points + 1)
    return shares


def _known(loss: float) -> float:
    """Return a loss, infinity where it is NaN: a network that overflows is worse than all others."""
    return math.inf if math.isnan(loss) else loss
