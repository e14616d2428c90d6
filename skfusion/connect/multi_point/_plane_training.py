"""Train the three vectors of a plane by the losses of its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from skfusion._random import seed_scope
from skfusion.connect._together import Together
from skfusion.connect._train import rate
from skfusion.connect.multi_point._cells import Cells
from skfusion.objective import Batch, Objective

_AT_ONCE = 16
"""Cells whose gradients are kept at once, where they are computed together."""


class Settings(Protocol):
    """How to train; the connector that has these parameters is named in messages."""

    n_cells: int
    bad_weight: float
    ceiling: float
    n_epochs: int
    lr: float
    max_norm: float
    random_state: int


def train_plane(
    settings: Settings,
    cells: Cells,
    vectors: Tensor,  # shape: (3, n_numbers)
    together: Together,
    objective: Objective,
) -> tuple[Tensor, list[float]]:
    """Return the origin and the two axes after the training, and the mean loss of good cells in each epoch."""
    with seed_scope(int(settings.random_state), vectors.device):
        run = _Run(settings, cells, vectors, together)
        for _ in range(settings.n_epochs):
            run.epoch(objective)
    return run.vectors.detach(), run.history


def orthogonalised(axes: Tensor) -> Tensor:  # shape: (2, n_numbers)
    """Return the nearest two vectors that are orthogonal and equally long.

    They are the polar factor of the given ones, times the mean of their singular values, so that none comes first.
    """
    gram = (axes.double() @ axes.double().T).cpu()
    if not bool(torch.isfinite(gram).all()):  # which is reported after the epoch
        return axes
    squares, turned = torch.linalg.eigh(gram)
    if not float(squares[0]) > 1e-12 * float(squares[1]):
        raise ValueError(
            "The two axes of the plane are parallel, or one of them is zero, so they span no plane: give three "
            "different networks, or one, whose axes are drawn at random."
        )
    sizes = squares.sqrt()
    mixed: Tensor = (turned * (sizes.mean() / sizes) @ turned.T).to(axes) @ axes
    return mixed


class _Run:
    """A training, epoch by epoch."""

    def __init__(self, settings: Settings, cells: Cells, vectors: Tensor, together: Together):
        self.settings, self.together = settings, together
        self.history: list[float] = []
        self.vectors = vectors.clone().requires_grad_()
        self._optimizer = torch.optim.Adam([self.vectors], lr=settings.lr)
        self._rng = np.random.RandomState(settings.random_state)
        mask = np.asarray(cells.mask)
        self._kinds = [np.argwhere(mask == kind) - cells.center(3) for kind in (1, -1)]  # steps from the origin
        self._n_batches = math.inf  # of an epoch, as the last one had them

    def epoch(self, objective: Objective) -> None:
        """Go through the rows once."""
        settings, n, total = self.settings, 0, 0.0
        batches = objective.training()
        if settings.n_epochs == 1:  # no earlier epoch has shown how many batches there are
            batches = [*batches]
            self._n_batches = len(batches)
        for batch in batches:
            done = (len(self.history) + n / self._n_batches) / settings.n_epochs
            total += self._step(batch, settings.lr * rate(done))
            n += 1
        if not n:
            raise ValueError(f"{type(settings).__name__} trains on labelled rows, and the objective has none.")
        self._n_batches = n
        self.history.append(total / n)
        if not math.isfinite(self.history[-1]):
            raise ValueError(
                f"The training of {type(settings).__name__} diverged in epoch {len(self.history)}: the loss of good "
                f"cells is {self.history[-1]}. Give it a smaller lr than {settings.lr}."
            )

    def _step(self, batch: Batch, lr: float) -> float:
        """Take a step, and return the mean loss of the good cells that were drawn."""
        if batch.y is None:
            raise ValueError(
                f"{type(self.settings).__name__} trains on labelled rows, and the labels are missing: a batch of the "
                "objective has y=None. Give its batches (or training=) labels."
            )
        drawn = [self._drawn(of_kind) for of_kind in self._kinds]
        gradient = torch.zeros_like(self.vectors, requires_grad=False)
        losses = [self._add(steps, sign, batch, gradient) for steps, sign in zip(drawn, (1, -1), strict=True)]
        self.vectors.grad = gradient
        torch.nn.utils.clip_grad_norm_([self.vectors], self.settings.max_norm)
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()
        with torch.no_grad():
            self.vectors[1:] = orthogonalised(self.vectors[1:])
        return losses[0]

    def _drawn(self, steps: np.ndarray) -> np.ndarray:
        """Return some cells of a kind, all different."""
        n = min(self.settings.n_cells, len(steps))
        drawn: np.ndarray = steps[self._rng.choice(len(steps), n, replace=False)] if n else steps
        return drawn

    def _add(self, steps: np.ndarray, sign: int, batch: Batch, gradient: Tensor) -> float:
        """Add the gradient of the mean loss of cells; of bad ones, of what it lacks to the ceiling. Return the mean."""
        losses: list[float] = []
        while len(losses) < len(steps):
            size = 1 if self.together.vectorized is False else _AT_ONCE
            some = torch.from_numpy(steps[len(losses) : len(losses) + size]).to(gradient)
            c = torch.cat([torch.ones_like(some[:, :1]), some], dim=1)
            found, slopes = self.together.losses(c @ self.vectors.detach(), batch)
            share = torch.full_like(found, 1 / len(steps))
            if sign < 0:
                share = torch.where(found < self.settings.ceiling, -self.settings.bad_weight * share, 0.0)
            gradient += (c * share[:, None].to(c)).T @ slopes
            losses += found.tolist()
        return float(np.mean(losses)) if losses else math.nan


def drawn_axes(start: Tensor, sizes: Sequence[int], n: int, random_state: int) -> Tensor:
    """Return n random vectors, each of whose tensors, with so many numbers, is as long as that of a vector."""
    generator = torch.Generator().manual_seed(random_state)
    noise = torch.randn(n, start.numel(), generator=generator, dtype=torch.float64).to(start)
    parts = zip(torch.split(start, [*sizes]), torch.split(noise, [*sizes], dim=1), strict=True)
    scaled = [part * (kept.norm() / part.norm(dim=1, keepdim=True)) for kept, part in parts]
    return torch.cat(scaled, dim=1)
