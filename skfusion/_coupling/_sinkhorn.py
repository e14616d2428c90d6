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


def exact(cost: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return a plan with the least total cost, shape (n, m), for costs of that shape and the masses of both sides.

    As many units on both sides with equal masses are an assignment problem: the plan is a permutation, divided by n
    (Birkhoff), and the identity where nothing is better. Others are a linear program.
    """
    n, m = cost.shape
    if n == m and np.ptp(sent) <= 1e-12 * sent[0] and np.ptp(received) <= 1e-12 * received[0]:
        plan = np.zeros((n, n))
        plan[assigned(-cost.T), np.arange(n)] = sent[0]
        return plan
    return rounded(_linear_program(cost, sent, received), sent, received)


def _linear_program(cost: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return a plan with the least cost, from the cheap pairs alone as long as the prices show that it needs no other.

    A pair whose cost is below the sum of the prices of its two units would make the plan cheaper, and is added.
    """
    n, m = cost.shape
    scale = float(np.abs(cost).max()) or 1.0
    c = cost / scale
    used = _corner(sent, received) > 0  # so that there is a plan at all
    for axis in (0, 1):
        cheap = np.argpartition(c, min(_CHEAP, c.shape[axis]) - 1, axis=axis)
        np.put_along_axis(used, np.take(cheap, range(min(_CHEAP, c.shape[axis])), axis=axis), True, axis=axis)
    while True:
        i, j = np.nonzero(used)
        k = np.arange(len(i))
        sums = sparse.csr_array((np.ones(2 * len(i)), (np.concatenate([i, n + j]), np.concatenate([k, k]))))
        solved = linprog(c[i, j], A_eq=sums[:-1], b_eq=np.concatenate([sent, received])[:-1], method="highs")
        if solved.x is None:
            raise ValueError(f"No plan of transport was found for masses of {n} and {m} units: {solved.message}")
        prices = np.append(solved.eqlin.marginals, 0.0)  # the last sum follows from the others
        gain = prices[:n, None] + prices[n:] - c
        gain[used] = 0
        worst = np.argpartition(gain, -min(_CHEAP, m), axis=1)[:, -min(_CHEAP, m) :]
        more = np.take_along_axis(gain, worst, 1) > 1e-9
        if not more.any():
            plan = np.zeros((n, m))
            plan[i, j] = np.maximum(solved.x, 0)
            return plan
        rows = np.broadcast_to(np.arange(n)[:, None], worst.shape)
        used[rows[more], worst[more]] = True


def _corner(sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return the plan that sends to one unit after the other what is left (the north-west corner rule)."""
    ends = [np.append(0, np.cumsum(masses)) for masses in (sent, received)]
    ends = [e / e[-1] for e in ends]
    shared = np.minimum(ends[0][1:, None], ends[1][1:]) - np.maximum(ends[0][:-1, None], ends[1][:-1])
    plan: np.ndarray = np.maximum(shared, 0)
    return plan


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
