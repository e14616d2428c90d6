r"""Doubly stochastic matrices of free ones, by Sinkhorn's iteration, with the gradient of where the iteration ends.

With :math:`S = \mathrm{diag}(u) \exp(X / \tau)\, \mathrm{diag}(v)`, whose rows and columns sum to 1, a change of X is
followed by changes of log u and log v that keep the sums, which are the solution of a linear system of 2n - 1 unknowns
(the last of v follows from the others). The gradient is that of one such system, however many steps were taken.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_FAR = 40.0
"""The largest logarithm of a factor that is safe, in single precision too."""


class _Sinkhorn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, free: Tensor, tau: float, n_iter: int) -> Tensor:
        """Return the matrices."""
        plan = iterated(free / tau, n_iter)
        ctx.save_for_backward(plan)
        ctx.tau = tau
        return plan

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient by the free matrices."""
        (plan,) = ctx.saved_tensors
        weighted = plan * gradient
        left, right = potentials(plan, weighted.sum(-1), weighted.sum(-2))
        return (weighted - plan * (left.unsqueeze(-1) + right.unsqueeze(-2))) / ctx.tau, None, None


def sinkhorn_layer(free: Tensor, tau: float, n_iter: int) -> Tensor:
    """Return doubly stochastic matrices, shape (..., n, n); those of a small ``tau`` are near to permutations."""
    result: Tensor = _Sinkhorn.apply(free, tau, n_iter)  # type: ignore[no-untyped-call]
    return result


def iterated(logits: Tensor, n_iter: int) -> Tensor:
    """Return the exponentials of matrices, scaled until rows and columns sum to 1.

    After a step in the log domain the numbers are safe, and the other steps multiply them by factors; where these do
    not stay safe, all steps are taken in the log domain. Gradients pass through the steps.
    """
    logits = _step(logits)
    plan = logits.exp()
    v = torch.ones_like(plan[..., :1, :])
    for _ in range(n_iter - 1):
        u = 1 / (plan @ v.mT)
        v = 1 / (u.mT @ plan)
    if n_iter == 1:
        return plan
    if bool((u.detach().log().abs() < _FAR).all() & (v.detach().log().abs() < _FAR).all()):
        return u * plan * v
    for _ in range(n_iter - 1):
        logits = _step(logits)
    return logits.exp()


def _step(logits: Tensor) -> Tensor:
    logits = logits - logits.logsumexp(-1, keepdim=True)
    return logits - logits.logsumexp(-2, keepdim=True)


def potentials(plan: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return a and b with :math:`D_r a + S b = r` and :math:`S^\top a + D_c b = c`, the last of b being 0.

    D has the sums of S on its diagonal. Of the 2n - 1 unknowns a is eliminated, which leaves n - 1.
    """
    per_row, per_column = plan.sum(-1), plan.sum(-2)
    scaled = plan / per_row.unsqueeze(-1)
    reduced = (torch.diag_embed(per_column) - plan.mT @ scaled)[..., :-1, :-1]
    wanted = (columns - (scaled.mT @ rows.unsqueeze(-1)).squeeze(-1))[..., :-1]
    # where the matrix is nearly a permutation the system is nearly singular, and so is what it has to solve for
    tiny = torch.finfo(plan.dtype).eps * plan.shape[-1]
    ridge = torch.eye(reduced.shape[-1], dtype=plan.dtype, device=plan.device) * tiny
    right = torch.linalg.solve(reduced + ridge, wanted.unsqueeze(-1)).squeeze(-1)
    right = torch.cat([right, torch.zeros_like(rows[..., :1])], -1)
    return (rows - (plan @ right.unsqueeze(-1)).squeeze(-1)) / per_row, right
