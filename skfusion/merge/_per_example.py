"""Squared gradients of single examples, which a gradient of their mean does not tell."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from skfusion.merge._examples import mapped, n_rows, take
from skfusion.objective import Batch, Input, Likelihood, Objective
from skfusion.state import State

_BUDGET = 2**22  # numbers that the gradients of a piece may have
_MOST_ROWS = 256


@dataclass(frozen=True)
class Gradients:
    """What is needed to differentiate the outputs of a state by some of its tensors, row by row.

    Parameters
    ----------
    objective : Objective
        What runs the state.
    likelihood : Likelihood
        How its outputs are read.
    state : State
        The tensors of the network.
    owner : dict of str to str
        The first name of each name's tensor; tied tensors are differentiated as one.
    names : sequence of str
        First names of the tensors by which to differentiate.
    """

    objective: Objective
    likelihood: Likelihood
    state: State
    owner: dict[str, str]
    names: tuple[str, ...]

    def logits(self, params: State, x: Input) -> Tensor:
        """Return the logits of one row, shape (n_outputs,), with ``params`` in the places of the named tensors."""
        state = {key: params.get(self.owner[key], value) for key, value in self.state.items()}
        out = self.objective.forward(state, mapped(x, lambda t: t.unsqueeze(0)))
        return self.likelihood.logits(out)[0]

    def squares(self, x: Input, pulls: Tensor, together: bool) -> State:  # pulls, shape: (n_rows, n_pulls, n_outputs)
        """Return the squared gradients of ``pulls · logits``, summed over rows and pulls, in float64."""
        return _together(self, x, pulls) if together else _one_by_one(self, x, pulls)


def mean_squares(gradients: Gradients, batches: Iterable[Batch], expectation: str, generator: torch.Generator) -> State:
    """Return the diagonal Fisher of a state: the mean over rows of the expected squared gradient of the log-likelihood.

    Rows are differentiated together by ``torch.func``; where the module does not allow that, one by one.

    Parameters
    ----------
    gradients : Gradients
        What to differentiate.
    batches : iterable of Batch
        Rows; their weights count.
    expectation : {"exact", "sampled", "empirical"}
        Over all labels, over one label drawn from the prediction, or at the label that is given.
    generator : torch.Generator
        Source of the labels that are drawn.

    Returns
    -------
    State
        In float64, non-negative.
    """
    total = {name: torch.zeros_like(gradients.state[name], dtype=torch.float64) for name in gradients.names}
    mass, together = 0.0, True
    for batch in batches:
        weight = torch.ones(n_rows(batch.x)) if batch.weight is None else batch.weight
        mass += float(weight.double().sum())
        with torch.no_grad():
            z = gradients.likelihood.logits(gradients.objective.forward(gradients.state, batch.x))
        for rows, n_pulls in _pieces(z, gradients, expectation):
            piece = take(batch, rows)
            pull = cotangents(gradients.likelihood.kind, z[rows], piece.y, expectation, generator)
            pull = (pull * weight[rows].to(pull).sqrt()[:, None, None]).to(z.dtype)
            for few in torch.split(pull, n_pulls, dim=1):
                try:
                    found = gradients.squares(piece.x, few, together)
                except (RuntimeError, UserWarning):
                    if not together:
                        raise
                    together = False
                    found = gradients.squares(piece.x, few, together)
                for name, value in found.items():
                    total[name] += value
    if not mass > 0:
        raise ValueError("Fisher information needs rows of positive weight, and the objective has none.")
    return {name: value / mass for name, value in total.items()}


def cotangents(
    kind: str, z: Tensor, y: Tensor, expectation: str, generator: torch.Generator
) -> Tensor:  # z, shape: (n_rows, n_outputs)
    r"""Return vectors :math:`v` with :math:`\sum_v (v^\top \partial z)^2` the Fisher of a row, in float64.

    For given labels v is the gradient of the log-likelihood by the logits, ``y - p``. The expectation over classes
    takes one vector a class, scaled by the root of its probability; over independent labels or values, one each.

    Returns
    -------
    Tensor
        Shape (n_rows, n_vectors, n_outputs).
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


def _pieces(z: Tensor, gradients: Gradients, expectation: str) -> Iterator[tuple[Tensor, int]]:
    """Yield rows and how many of their pulls to take at a time, so that memory is bounded."""
    d = sum(gradients.state[name].numel() for name in gradients.names)
    n_pulls = z.shape[1] if expectation == "exact" else 1
    room = max(1, _BUDGET // max(1, d))
    size = min(max(1, room // max(1, n_pulls)), _MOST_ROWS)
    for start in range(0, len(z), size):
        yield torch.arange(start, min(start + size, len(z))), min(room, n_pulls)


def _together(gradients: Gradients, x: Input, pulls: Tensor) -> State:
    params = {name: gradients.state[name].detach() for name in gradients.names}

    def of_row(row: Input, pull: Tensor) -> State:
        back = vjp(lambda p: gradients.logits(p, row), params)[1]
        found: State = vmap(back)(pull)[0]
        return found

    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):  # other kernels of attention run row by row
        warnings.filterwarnings("error", message="There is a performance drop")
        found = vmap(of_row)(x, pulls)
    return {name: g.flatten(0, 1).square_().sum(0).double() for name, g in found.items()}


def _one_by_one(gradients: Gradients, x: Input, pulls: Tensor) -> State:
    params = {name: gradients.state[name].detach().clone().requires_grad_() for name in gradients.names}
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in params.items()}
    for i, pull in enumerate(pulls):
        z = gradients.logits(params, mapped(x, lambda t: t[i]))  # noqa: B023  called at once
        for v in pull:
            found = torch.autograd.grad(z, [*params.values()], v, retain_graph=True, allow_unused=True)
            for name, g in zip(params, found, strict=True):
                if g is not None:
                    total[name] += g.double().square()
    return total
