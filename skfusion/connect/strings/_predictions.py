"""How far the predictions of neighbours in a chain are apart: outputs of many states, Jensen-Shannon divergences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from skfusion._batches import mapped
from skfusion.connect._together import Together
from skfusion.objective import Batch, Likelihood, Objective
from skfusion.state import State


def divergences(logits: Tensor, kind: str) -> Tensor:  # shape: (n_points, n_rows, n_outputs)
    """Return the Jensen-Shannon divergence, in nats, of each two neighbours on each row, shape (n_points - 1, n_rows).

    Of values with unit variance it is an eighth of the squared difference, which it is near to where they are close.
    """
    if kind == "gaussian":
        return logits.diff(dim=0).square().sum(2) / 8
    if kind == "bernoulli":
        log_p = torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)], dim=-1).flatten(2)
    else:
        log_p = F.log_softmax(logits, dim=2)
    p, q = log_p[:-1], log_p[1:]
    middle = torch.logaddexp(p, q) - math.log(2)
    return ((p.exp() * (p - middle) + q.exp() * (q - middle)) / 2).sum(2)


def of_links(outputs: Tensor, batch: Batch, likelihood: Likelihood) -> Tensor:
    """Return the mean divergence of each two neighbours on a batch, shape (n_points - 1,)."""
    logits = torch.stack([likelihood.logits(out) for out in outputs.unbind()])
    links = divergences(logits.flatten(2), likelihood.kind)
    return links.mean(1) if batch.weight is None else links @ (batch.weight / batch.weight.sum()).to(links)


class Outputs:
    """The outputs of several states of one module for the same rows, at once where the module allows it."""

    def __init__(self, together: Together, like: State, objective: Objective):
        self.together, self.objective, self._like = together, objective, like
        self.vectorized: bool | None = None if together.lends else False

    def __call__(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor]) -> Tensor:
        """Return outputs of shape (n_points, n_rows, ...) for rows of trained numbers, which gradients pass to.

        ``others`` has tensors that are not trained, of shape (n_points, ...), where points differ in them.
        """
        if self.vectorized is None:
            alone = self._in_turn(rows, batch, others)
            self.vectorized = self._agrees(rows, batch, others, alone.detach())
            return alone
        if self.vectorized:
            return self.together.outputs(self.together.cut(rows), batch, others)
        return self._in_turn(rows, batch, others)

    def _in_turn(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor]) -> Tensor:
        outputs = []
        for k, row in enumerate(rows):
            state = self.together.state(row, self._like | {name: t[k] for name, t in others.items()})
            outputs.append(self.objective.forward(state, mapped(batch.x, torch.clone)))
        return torch.stack(outputs)

    def _agrees(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor], alone: Tensor) -> bool:
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.filterwarnings("error", "There is a performance drop")
                return torch.allclose(self.together.outputs(self.together.cut(rows), batch, others), alone, 1e-4, 1e-5)
        except Exception:  # whatever a module may do that fails for many points; one by one, it raises its own errors
            return False
