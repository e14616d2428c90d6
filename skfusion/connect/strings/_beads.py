"""The training of beads, several at once, each until its loss is low enough."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skfusion.connect._together import Together
from skfusion.connect._train import Settings, labelled, rate, record, trained_names, untrained_names
from skfusion.connect.strings._judge import HeldOutLoss
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum


class Beads:
    """Trains beads of the string between two networks; ``history`` has the mean loss of those of each epoch."""

    def __init__(self, settings: Settings, ends: Sequence[State], objective: Objective, loss: HeldOutLoss):
        self.settings, self.objective, self.loss = settings, objective, loss
        names = trained_names(ends, ends, [], objective.module)
        self.together = Together(names, weighted_sum(ends, [0.5, 0.5]), objective)
        self.device = ends[0][names[0]].device
        self.history: list[float] = []
        self._followed = untrained_names(names, ends, objective.module)

    def train(self, starts: Sequence[State], enough: float) -> list[tuple[State, float]]:
        """Return the best bead from each start, and its held-out loss; at a loss of ``enough``, its training ends."""
        best = [(state, self.loss(state)) for state in starts]
        rows = self.together.rows(starts)
        speed = torch.zeros_like(rows)
        for epoch in range(self.settings.n_epochs):
            going = [k for k, (_, loss) in enumerate(best) if not loss <= enough]
            if not going:
                break
            others = {name: torch.stack([starts[k][name] for k in going]) for name in self._followed}
            self._epoch(rows, speed, going, others, self.settings.lr * rate(epoch / self.settings.n_epochs))
            for k in going:
                state = self.together.state(rows[k].clone(), starts[k])
                best[k] = min(best[k], (state, self.loss(state)), key=lambda bead: bead[1])
        return best

    def _epoch(self, rows: Tensor, speed: Tensor, going: list[int], others: dict[str, Tensor], lr: float) -> None:
        """Train the rows of the beads that are ``going`` for an epoch."""
        settings, total, n = self.settings, 0.0, 0
        row, velocity = rows[going], speed[going]
        for batch in labelled(self.objective.training(), settings):
            losses, gradients = self.together.losses(row, batch, others)
            velocity.mul_(settings.momentum).add_(gradients + settings.weight_decay * row)
            row -= lr * velocity
            total, n = total + float(losses.mean()), n + 1
        rows[going], speed[going] = row, velocity
        record(self.history, settings, total, n)
