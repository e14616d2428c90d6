"""The diagonal Fisher information of a state, from squared gradients of single rows."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from skfusion._batches import n_rows, take
from skfusion.merge.statistics._squares import Gradients, Squares
from skfusion.objective import Batch
from skfusion.state import State

_MOST_ROWS = 256
_MOST_PULLS = 2**22  # numbers that the vectors of a piece may have


def mean_squares(gradients: Gradients, batches: Iterable[Batch], expectation: str, generator: torch.Generator) -> State:
    """Return the diagonal Fisher of a state: the mean over rows of the expected squared gradient of the log-likelihood.

    The expectation is "exact", over all labels; "sampled", over one that is drawn from the prediction; or "empirical",
    at the label that the row has. The result is in float64.
    """
    total = {name: torch.zeros_like(gradients.state[name], dtype=torch.float64) for name in gradients.names}
    squares, mass = Squares(gradients), 0.0
    for batch in batches:
        weight = torch.ones(n_rows(batch.x)) if batch.weight is None else batch.weight
        mass += float(weight.double().sum())
        with torch.no_grad():
            z = gradients.logits({}, batch.x)
        width = z.shape[1] ** 2 if expectation == "exact" else z.shape[1]
        for index in torch.split(torch.arange(len(z)), min(_MOST_ROWS, max(1, _MOST_PULLS // width))):
            piece = take(batch, index)
            pulls = cotangents(gradients.likelihood.kind, z[index], piece.y, expectation, generator)
            pulls = pulls * weight[index].to(pulls).sqrt()[:, None, None]
            for name, value in squares(piece.x, pulls.to(z.dtype)).items():
                total[name] += value
    if not mass > 0:
        raise ValueError("Fisher information needs rows of positive weight, and the objective has none.")
    return {name: value / mass for name, value in total.items()}


def cotangents(
    kind: str, z: Tensor, y: Tensor, expectation: str, generator: torch.Generator
) -> Tensor:  # z, shape: (n_rows, n_outputs)
    r"""Return vectors :math:`v` with :math:`\sum_v (v^\top \partial z)^2` the Fisher of a row, in float64.

    For given labels v is the gradient of the log-likelihood by the logits, ``y - p``. The expectation over classes
    takes one vector a class, scaled by the root of its probability; over independent labels or values, one each. The
    shape is (n_rows, n_vectors, n_outputs).
    """
    z = z.detach().double()
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    p = z.softmax(1) if kind == "categorical" else z.sigmoid() if kind == "bernoulli" else z
    if expectation == "exact":
        if kind == "categorical":
            return p.sqrt()[:, :, None] * (eye - p[:, None, :])
        spread = p * (1 - p) if kind == "bernoulli" else torch.ones_like(p)
        return torch.diag_embed(spread.sqrt())
    if expectation == "empirical":
        target = eye[y.reshape(-1).long()] if kind == "categorical" else y.reshape(p.shape).to(p)
    else:
        target = _sample(kind, p.cpu(), generator).to(p)
    return (target - p)[:, None]


def _sample(kind: str, p: Tensor, generator: torch.Generator) -> Tensor:
    if kind == "categorical":
        return torch.eye(p.shape[1])[torch.multinomial(p, 1, generator=generator).squeeze(1)]
    if kind == "bernoulli":
        return torch.bernoulli(p, generator=generator)
    return p + torch.randn(p.shape, generator=generator, dtype=p.dtype)
