"""Train corners of a subspace by the mean loss of random points of it, several a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._random import seed_scope
from skfusion.connect._together import Together
from skfusion.connect._train import Settings, labelled, record, trained_names, untrained_names
from skfusion.objective import Batch, Objective
from skfusion.state import State, weighted_sum

Draw = Callable[[np.random.RandomState, Tensor], np.ndarray]
"""``draw(rng, values)`` gives the coefficients of the points of a step, shape (n_points, n_controls)."""
Pull = Callable[[np.random.RandomState, Tensor, Tensor], None]
"""``pull(rng, values, slope)`` adds the gradient, by the free rows, of what is added to the loss."""


class Descent:
    """Control states as rows of one matrix, of which those from ``first_free`` on are trained by SGD.

    ``given`` are networks that are trained already: what is equal in all of them stays as it is. Without them all
    parameters are trained.
    """

    def __init__(self, controls: Sequence[State], first_free: int, given: Sequence[State], objective: Objective):
        self._controls, self.objective, module = list(controls), objective, objective.module
        self.first_free = first_free
        free = range(len(controls)) if len(given) < 2 else range(first_free, len(controls))
        names = trained_names(controls, given or controls, free, module)
        if len(given) > 1 and not names:
            raise ValueError(f"The {len(given)} networks are equal, so no simplex can be grown between them.")
        names = sorted(names, key=lambda k: controls[0][k].dim() < 2)  # matrices first
        self.together = Together(names, controls[0], objective)
        self.n_weights = sum(controls[0][k].numel() for k in names if controls[0][k].dim() > 1)
        """Numbers of matrices and convolutions, which come first in each row."""
        self.values = self.together.rows(controls)  # shape: (n_controls, n_numbers)
        self.speed = torch.zeros_like(self.values[first_free:])
        others = untrained_names(names, controls, module)
        self._others = {k: torch.stack([s[k].detach() for s in controls]) for k in others}

    def columns_of_layers(self) -> tuple[Tensor, int]:
        """Return the number of the layer of each trained number, and how many layers there are."""
        layers: dict[str, int] = {}
        number = [layers.setdefault(k.rpartition(".")[0], len(layers)) for k in self.together.names]
        sizes = torch.tensor([self._controls[0][k].numel() for k in self.together.names])
        return torch.tensor(number).repeat_interleave(sizes), len(layers)

    def controls(self) -> list[State]:
        """Return the control states; those that are not free are the very states that were given."""
        rows = zip(self.values[self.first_free :], self._controls[self.first_free :], strict=True)
        return self._controls[: self.first_free] + [self.together.state(row.clone(), start) for row, start in rows]

    def train(
        self, settings: Settings, rng: np.random.RandomState, draw: Draw, pull: Pull | None = None
    ) -> list[float]:
        """Train by a cosine schedule, and return the mean loss of each epoch."""
        with self.together.training():
            return self._epochs(settings, rng, draw, pull)

    def _epochs(self, settings: Settings, rng: np.random.RandomState, draw: Draw, pull: Pull | None) -> list[float]:
        total, history = settings.n_epochs, list[float]()
        n_batches = 1
        for epoch in range(total):
            batches: Any = self.objective.training()
            if not epoch:  # no earlier epoch has shown how many batches there are
                batches = [*batches]
                n_batches = max(len(batches), 1)
            losses: list[Tensor] = []
            for batch in labelled(batches, settings):
                done = (epoch + min(len(losses) / n_batches, 1)) / total
                losses.append(
                    self._step(batch, settings, settings.lr * cosine(done), draw(rng, self.values), pull, rng)
                )
            n_batches = len(losses)
            record(history, settings, float(sum(losses)), n_batches)
        return history

    def _step(self, batch: Batch, settings: Settings, lr: float, c: np.ndarray, pull: Pull | None, rng: Any) -> Tensor:
        """Take a step by the mean loss of some points, and return it.

        Coefficients have the shape (n_points, n_controls), or (n_points, n_controls, n_numbers) by layers.
        """
        coefficients = torch.as_tensor(c).to(self.values)
        by_layer = coefficients.dim() == 3
        if by_layer:
            rows, of_point = (coefficients * self.values).sum(1), coefficients.mean(2)
        else:
            rows, of_point = coefficients @ self.values, coefficients
        others = {k: torch.tensordot(of_point.to(v), v, 1) for k, v in self._others.items()}
        losses, gradients = self.together.losses(rows, batch, others)
        own = coefficients[:, self.first_free :]
        if by_layer:
            slope = (own * gradients[:, None]).mean(0)
        else:
            slope = (own / len(rows)).T @ gradients
        if pull is not None:
            pull(rng, self.values, slope)
        free = self.values[self.first_free :]
        if settings.weight_decay:
            slope.add_(free, alpha=settings.weight_decay)
        self.speed.mul_(settings.momentum).add_(slope)
        free.add_(self.speed, alpha=-lr)
        return losses.mean()


def cosine(done: float) -> float:
    """Return the factor on the learning rate after a share of the training, from 1 to 0, with a short warm-up."""
    return min(1.0, 0.1 + done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))


WARM_UP = 1 / 32
"""Share of the training in which the learning rate rises: five epochs of 160."""


def seeded(settings: Settings, objective: Objective, like: State) -> Any:
    """Return the scope of a training, in which global generators start from its seed."""
    return seed_scope(int(settings.random_state), next(iter(like.values())).device)


def mean_of(states: Sequence[State]) -> State:
    """Return the mean of states."""
    return weighted_sum(states, [1 / len(states)] * len(states))
