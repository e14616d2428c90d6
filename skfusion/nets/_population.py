"""Populations: networks that take their steps together, so that they can act on each other's weights between two steps.

A :class:`Population` says what they do. Networks that are vectorized are rows of one matrix, and others are stacked for
the moment in which it acts: it sees both as tensors with a member axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skfusion.state import State

FAR_LARGER = 100
"""By how much the norm of a member's weights exceeds that of the median member where it is taken to have diverged."""


@dataclass(frozen=True)
class Together:
    """Networks of a population after an optimiser step; those that have ended or diverged are no longer among them.

    Parameters
    ----------
    step : int
        Steps that each has taken.
    steps_per_epoch : int
        How many of them an epoch has.
    tensors : list of Tensor
        Trained parameters and BatchNorm's statistics, each of shape (n_members, ...), to be changed in place.
    rates : list of float
        The learning rate of each at this step, as a share of its highest so far.
    state_of : callable
        Returns the state of the member at a place, of tensors that the next step overwrites.
    """

    step: int
    steps_per_epoch: int
    tensors: list[Tensor]
    rates: list[float]
    state_of: Callable[[int], State]

    def without_diverged(self) -> list[int]:
        """Return the places of members without NaN and infinity, and none of which is far larger than the others.

        A member that diverges has finite weights for some steps, which would drag the others along.
        """
        n = self.tensors[0].shape[0]
        parts = (torch.linalg.vector_norm(t.reshape(n, -1), dim=1).tolist() for t in self.tensors)
        norms = [math.hypot(*of_member) for of_member in zip(*parts, strict=True)]
        finite = sorted(norm for norm in norms if math.isfinite(norm))
        if not finite:
            return []
        limit = FAR_LARGER * finite[(len(finite) - 1) // 2] or math.inf
        return [k for k, norm in enumerate(norms) if norm <= limit]  # NaN compares as false


class Population(ABC):
    """What networks that are trained in lock-step do to each other.

    Attributes
    ----------
    n_acts : int
        How often it has acted in the latest training.
    """

    n_acts: int = 0

    def begin(self) -> None:  # noqa: B027  most keep nothing
        """Forget what was kept of a training that had to be given up, and begins again."""

    @abstractmethod
    def acts_after(self, step: int, steps_per_epoch: int, n_steps: int) -> bool:
        """Return whether it acts after a step, counted from 1; ``n_steps`` are those of a run that nothing ends."""

    @abstractmethod
    def act(self, together: Together) -> None:
        """Change tensors of the members in place."""


class LockStep:
    """Counts the steps that members take together, and lets their population act."""

    def __init__(self, population: Population):
        population.begin()
        self.population, self.step = population, 0
        population.n_acts = 0
        self._highest: dict[int, float] = {}

    def after_step(
        self,
        nets: Sequence[Any],
        steps_per_epoch: int,
        tensors: Callable[[], list[Tensor]],
        state_of: Callable[[int], State],
    ) -> bool:
        """Let the population act after a step of some nets, where it is time to; return whether it has."""
        self.step += 1
        rates = [self._share_of_highest(net) for net in nets]
        if not self.population.acts_after(self.step, steps_per_epoch, steps_per_epoch * nets[0].max_epochs):
            return False
        self.population.n_acts += 1
        with torch.no_grad():
            self.population.act(Together(self.step, steps_per_epoch, tensors(), rates, state_of))
        return True

    def _share_of_highest(self, net: Any) -> float:
        rate = float(net.optimizer_.param_groups[0]["lr"])
        highest = self._highest[id(net)] = max(rate, self._highest.get(id(net), 0.0))
        return rate / highest if highest else 0.0
