"""Plans of transport with entropy, by Sinkhorn's iteration in the log domain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skfusion._coupling._exact import rounded

_STEPS = 20
"""Steps between two looks at the sums, and for each strength of the entropy on the way to the one that is asked for."""
_LEAST = 1e-9
"""The least strength of the entropy, as a share of the spread of costs: the plan is the exact one up to rounding."""
_FAR = 50.0
"""The largest logarithm of a factor for which products are safe."""


def sinkhorn(
    cost: np.ndarray, sent: np.ndarray, received: np.ndarray, reg: float, max_iter: int, tol: float
) -> tuple[np.ndarray, float]:
    """Return the plan with the least cost minus ``reg`` times its entropy, and how far its sums were from the masses.

    The iteration is that of potentials, in the log domain, from a strong entropy down to the one that was asked for,
    so that a small ``reg`` gives no zeros to divide by. It ends when the sums are no further than ``tol`` off, in
    total; the plan that is returned is rounded to the masses in any case.
    """
    c, a, b = (torch.from_numpy(np.array(x, np.float64)) for x in (cost, sent, received))
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    spread, error = float(c.max() - c.min()), float("inf")
    reg = max(reg, _LEAST * spread)
    strengths = [reg]
    while strengths[0] < spread:
        strengths.insert(0, 2 * strengths[0])
    for eps in strengths:
        done, enough = 0, max_iter if eps == reg else _STEPS
        while done < enough:
            f, g, error = _several_steps(f, g, c, a, b, eps)
            done += _STEPS
            if error <= tol:
                break
    return rounded(plan_of(f, g, c, reg).numpy(), sent, received), error


def _several_steps(f: Tensor, g: Tensor, c: Tensor, a: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor, float]:
    """Return potentials after some steps, and how far the sums of rows are off in total; the columns are right.

    After one step in the log domain the plan is well scaled, and products of it with factors near 1 do the rest
    (Schmitzer, 2019); where a factor is not near 1 they are not used, and all steps are taken in the log domain.
    """

    def step(f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        f = eps * (a.log() - torch.logsumexp((g - c) / eps, 1))
        return f, eps * (b.log() - torch.logsumexp((f[:, None] - c) / eps, 0))

    f, g = step(f, g)
    plan = plan_of(f, g, c, eps)
    u, v = torch.ones_like(a), torch.ones_like(b)
    for _ in range(_STEPS - 1):
        u = a / (plan @ v)
        v = b / (u @ plan)
    if bool((u.log().abs() < _FAR).all() & (v.log().abs() < _FAR).all()):
        error = float((u * (plan @ v) - a).abs().sum())
        return f + eps * u.log(), g + eps * v.log(), error
    for _ in range(_STEPS - 1):
        f, g = step(f, g)
    return f, g, float((plan_of(f, g, c, eps).sum(1) - a).abs().sum())


def plan_of(f: Tensor, g: Tensor, cost: Tensor, eps: float) -> Tensor:
    """Return the plan of potentials."""
    return ((f[:, None] + g - cost) / eps).exp()
