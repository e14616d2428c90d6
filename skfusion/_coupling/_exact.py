"""Plans of transport between two sets of units with the least total cost.

A plan T has as row sums the masses of the units that are sent, and as column sums those of the units that receive.
"""

from __future__ import annotations

import numpy as np

from skfusion._coupling._assign import assigned

_CHEAP = 20
"""Pairs of each unit with which a linear program begins, and that are added at a time."""
_GAP = 1e-10
"""How far the total may be from the least one, as a share of it."""


def exact(cost: np.ndarray, sent: np.ndarray | None = None, received: np.ndarray | None = None) -> np.ndarray:
    """Return a plan with the least total cost, shape (n, m), for costs of that shape and the masses of both sides.

    Masses are all the same, and sum to 1, where they are omitted. As many units on both sides with equal masses are an
    assignment problem: the plan is a permutation, divided by n (Birkhoff), and the identity where nothing is better.
    Others are a linear program, in which units that cost the same everywhere are one unit.
    """
    n, m = cost.shape
    a = np.full(n, 1 / n) if sent is None else sent
    b = np.full(m, 1 / m) if received is None else received
    if n == m and np.ptp(a) <= 1e-12 * a[0] and np.ptp(b) <= 1e-12 * b[0]:
        plan = np.zeros((n, n))
        plan[assigned(-cost.T, slack=_GAP), np.arange(n)] = a[0]
        return plan
    reduced, scale = _reduced(cost, a, b)
    (rows, row), (columns, column) = (_alike(reduced / scale, axis) for axis in (0, 1))
    merged = reduced[np.ix_(rows, columns)] / scale
    plan = _linear_program(merged, np.bincount(row, a), np.bincount(column, b))
    if plan.shape != cost.shape:
        plan = _split(plan, row, column, a, b)
    return rounded(plan, a, b)


def _reduced(cost: np.ndarray, sent: np.ndarray, received: np.ndarray) -> tuple[np.ndarray, float]:
    """Return costs less what each unit has to pay in any case, and their scale, which the total exceeds if it can.

    The same is taken from all plans, so that the best one stays, and what is nearly free for both units is a likely
    pair.
    """
    of_rows = cost.min(1)
    rest = cost - of_rows[:, None]
    of_columns = rest.min(0)
    rest = rest - of_columns
    spread = float(rest.max())
    at_least = abs(float(sent @ of_rows + received @ of_columns)) / float(sent.sum())
    scale = min(spread, max(at_least, 1e-4 * spread))  # below that rounding decides, and not the costs
    return rest, scale or 1.0


def _alike(cost: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first unit of each kind, on one side, and the kind of each unit: those of a kind cost the same.

    Without it many equal units make many equally good plans, among which a linear program searches for long.
    """
    steps = np.round(cost / _GAP)
    _, first, kind = np.unique(steps, axis=axis, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[kind.reshape(-1)]


def _split(plan: np.ndarray, row: np.ndarray, column: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return the plan of single units, for one of kinds of units: those of a kind are served one after the other."""
    out = np.zeros((len(sent), len(received)))
    left, open_ = sent.copy(), received.copy()
    members = [[np.flatnonzero(kind == k) for k in range(n)] for kind, n in zip((row, column), plan.shape, strict=True)]
    for k, l in zip(*np.nonzero(plan), strict=True):
        i, j = members[0][k], members[1][l]
        part = _corner(_first(left[i], plan[k, l]), _first(open_[j], plan[k, l]))
        out[np.ix_(i, j)] += part
        left[i] -= part.sum(1)
        open_[j] -= part.sum(0)
    return out


def _first(masses: np.ndarray, amount: float) -> np.ndarray:
    """Return what some units give to an amount, where the first ones give all that they have."""
    masses = np.maximum(masses, 0)
    given: np.ndarray = np.clip(amount - (np.cumsum(masses) - masses), 0, masses)
    return given


def _linear_program(cost: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return a plan with the least cost, from the cheap pairs alone as long as the prices show that it needs no other.

    A pair whose cost is below the sum of the prices of its two units would make the plan cheaper, and is added.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    n, m = cost.shape
    used = _corner(sent / sent.sum(), received / received.sum()) > 0  # so that there is a plan at all
    for axis in (0, 1):
        cheap = np.argpartition(cost, min(_CHEAP, cost.shape[axis]) - 1, axis=axis)
        np.put_along_axis(used, np.take(cheap, range(min(_CHEAP, cost.shape[axis])), axis=axis), True, axis=axis)
    # without presolve, which the few pairs do not repay
    options = {"presolve": False, "dual_feasibility_tolerance": _GAP, "primal_feasibility_tolerance": _GAP}
    while True:
        i, j = np.nonzero(used)
        k = np.arange(len(i))
        sums = sparse.csr_array((np.ones(2 * len(i)), (np.concatenate([i, n + j]), np.concatenate([k, k]))))
        masses = np.concatenate([sent, received])[:-1]  # the last sum follows from the others
        solved = linprog(cost[i, j], A_eq=sums[:-1], b_eq=masses, method="highs-ds", options=options)
        if solved.x is None:
            raise ValueError(f"No plan of transport was found for masses of {n} and {m} units: {solved.message}")
        prices = np.append(solved.eqlin.marginals, 0.0)
        gain = prices[:n, None] + prices[n:] - cost
        gain[used] = 0
        worst = np.argpartition(gain, -min(_CHEAP, m), axis=1)[:, -min(_CHEAP, m) :]
        more = np.take_along_axis(gain, worst, 1) > _GAP
        if not more.any():
            plan = np.zeros((n, m))
            plan[i, j] = np.maximum(solved.x, 0)
            return plan
        rows = np.broadcast_to(np.arange(n)[:, None], worst.shape)
        used[rows[more], worst[more]] = True


def _corner(sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return the plan that sends to one unit after the other what is left (the north-west corner rule)."""
    ends = [np.append(0, np.cumsum(masses)) for masses in (sent, received)]
    shared = np.minimum(ends[0][1:, None], ends[1][1:]) - np.maximum(ends[0][:-1, None], ends[1][:-1])
    plan: np.ndarray = np.maximum(shared, 0)
    return plan


def rounded(plan: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Return the nearest simple plan whose sums are the masses (Altschuler et al., 2017, algorithm 2)."""
    plan = plan * np.minimum(1, sent / np.maximum(plan.sum(1), 1e-300))[:, None]
    plan = plan * np.minimum(1, received / np.maximum(plan.sum(0), 1e-300))
    left, right = sent - plan.sum(1), received - plan.sum(0)
    missing = max(float(left.sum()), 0.0)
    return plan + np.outer(np.maximum(left, 0), np.maximum(right, 0)) / missing if missing > 1e-15 else plan
