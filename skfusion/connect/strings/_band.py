"""An elastic band between two networks: its pivots, the steps that relax it, and the loss along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from skfusion.connect import _train
from skfusion.connect._base import Connector, check_ends
from skfusion.connect._chain import lengths, redistributed
from skfusion.connect._together import Together
from skfusion.connect._train import check_labelled, labelled, record, trained_names, untrained_names
from skfusion.connect.strings._forces import across, is_rigid, springs, tangents
from skfusion.connect.strings._judge import TrainingLoss, between, inner_shares
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum


class Settings(_train.Settings, Protocol):
    """How to relax a band; the connector that has these parameters is named in messages."""

    spring: float


class Band:
    """Pivots between two networks, which are its ends and stay; ``spacing`` has the lengths that links are to have.

    ``history`` has the mean loss of the pivots in each epoch.
    """

    def __init__(self, settings: Settings, ends: Sequence[State], objective: Objective):
        self.settings, self.ends, self.objective = settings, list(ends), objective
        names = trained_names(ends, ends, [], objective.module)
        self.together = Together(names, weighted_sum(self.ends, [0.5, 0.5]), objective)
        self.pivots = self.together.rows(self.ends)  # shape: (n_pivots, n_numbers)
        self.spacing = lengths(self.pivots).cpu().numpy()
        self.history: list[float] = []
        self._followed = untrained_names(names, ends, objective.module)
        self._judge = TrainingLoss(settings, self.ends, objective)

    @property
    def shares(self) -> np.ndarray:
        """How far along the band each pivot is to be, from 0 to 1."""
        passed = np.concatenate([[0.0], np.cumsum(self.spacing)])
        shares: np.ndarray = passed / passed[-1]
        return shares

    @property
    def controls(self) -> list[State]:
        """The pivots as states; the ends are the very states that were given."""
        inner = [
            self.together.state(row.clone(), weighted_sum(self.ends, [1 - s, s]))
            for row, s in zip(self.pivots[1:-1], self.shares[1:-1].tolist(), strict=True)
        ]
        return [self.ends[0], *inner, self.ends[1]]

    def insert(self, places: Sequence[tuple[int, float]]) -> None:
        """Put pivots on links, each of which is given by its position and by the share of it that is before the pivot.

        A link has one pivot at most. Links share its length in the same way.
        """
        for k, share in sorted(places, reverse=True):
            new = torch.lerp(self.pivots[k], self.pivots[k + 1], share)[None]
            self.pivots = torch.cat([self.pivots[: k + 1], new, self.pivots[k + 1 :]])
            parts = self.spacing[k] * np.array([share, 1 - share])
            self.spacing = np.concatenate([self.spacing[:k], parts, self.spacing[k + 1 :]])

    def insert_evenly(self, n: int) -> None:
        """Put n equally spaced pivots on the only link."""
        for left in range(n, 0, -1):
            self.insert([(len(self.pivots) - 2, 1 / (left + 1))])

    def relax(self, n_epochs: int, rate: Callable[[float], float]) -> None:
        """Let the pivots go downhill across the band for some epochs; ``rate`` gives the factor on the learning rate.

        It is given the share of the epochs that are over.
        """
        speed = torch.zeros_like(self.pivots[1:-1])
        spacing = torch.from_numpy(self.spacing).to(self.pivots.device)
        others = self._others()
        for epoch in range(n_epochs):
            total, n = 0.0, 0
            for batch in labelled(self.objective.training(), self.settings):
                self._spread()
                losses, gradients = self.together.losses(self.pivots, batch, others)
                force = self._force(losses, gradients[1:-1], spacing)
                speed.mul_(self.settings.momentum).add_(force)
                self.pivots[1:-1] -= self.settings.lr * rate(epoch / n_epochs) * speed
                total, n = total + float(losses.mean()), n + 1
            record(self.history, self.settings, total, n)
        self._spread()

    def profile(self, n_points: int) -> np.ndarray:
        """Return the loss at each pivot and at points of the link after it, shape (n_pivots, n_points + 1).

        Those of the last pivot are NaN but for its own.
        """
        controls, found = self.controls, []
        for a, b in pairwise(controls):
            found.append([self._judge(state) for state in (a, *between(a, b, inner_shares(n_points)))])
        return np.array([*found, [self._judge(controls[-1]), *[math.nan] * n_points]])

    def _force(self, losses: Tensor, gradients: Tensor, spacing: Tensor) -> Tensor:
        """Return the gradients by which the inner pivots are moved."""
        tangent = tangents(self.pivots, losses)
        force = across(gradients + self.settings.weight_decay * self.pivots[1:-1], tangent)
        if is_rigid(self.settings.spring):
            return force
        return force + springs(self.pivots, spacing, self.settings.spring, tangent)

    def _spread(self) -> None:
        if is_rigid(self.settings.spring):
            self.pivots = redistributed(self.pivots, self.spacing)

    def _others(self) -> dict[str, Tensor]:
        """Return the tensors that are not trained, and differ between the ends, at each pivot."""
        shares = self.shares.tolist()
        rest = [weighted_sum(self.ends, [1 - s, s]) for s in shares] if self._followed else []
        return {name: torch.stack([state[name] for state in rest]) for name in self._followed}


def trainable(connector: Connector, states: Sequence[State], objective: Objective | None) -> Objective | None:
    """Return the objective if there is anything to train between two states; raise where there is none to train by."""
    check_ends(connector, states)
    connector.check()
    objective = check_labelled(connector, objective)
    return objective if trained_names(states, states, [], objective.module) else None
