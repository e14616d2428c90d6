"""In which order a cascade asks members, by what they gain for what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import entr

from skfusion._caller import warn_caller
from skfusion.combine._predictions import HeldOut


def order_by_gain(held: HeldOut, weights: np.ndarray, costs: np.ndarray, budget: float | None) -> np.ndarray:
    """Return the members that have a weight, those of the most gain for their cost first.

    The gain is how much smaller the loss is than that of a constant prediction; members without a gain are the last.
    Those that each row asks are the first ones that the budget allows.
    """
    used = np.flatnonzero(weights)
    losses = np.array([np.average(judged(replace(held, P=held.P[k : k + 1]))[0], weights=held.weight) for k in used])
    gains = loss_without(held) - losses
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.where(gains > 0, gains / costs[used], gains)
    order = used[np.lexsort((used, -gains, -rates))]  # of equal rates, as those of free members, the best first
    first = [] if budget is None else _within(budget, order, costs, least_members(held, len(order)))
    return np.array([*first, *(k for k in order if k not in first)], np.intp)


def _within(budget: float, order: np.ndarray, costs: np.ndarray, least: int) -> list[int]:
    """Return the first members of an order, as many as each row asks, that a budget allows."""
    if len(costs) == 1:  # there is nothing to save
        return []
    if (cheapest := _cheapest(costs[order], least)) > budget * (1 + 1e-9):
        what = "a member, which costs" if least == 1 else f"{least} members, which cost"
        warn_caller(
            f"budget={budget} of Cascade is too small: each row asks at least {what} {cheapest:.6g}, and so each asks "
            "the cheapest. Raise it, or give cheaper members."
        )
        budget = cheapest
    first: list[int] = []
    for n_after in range(least - 1, -1, -1):
        rest = [int(k) for k in order if k not in first]
        left = budget * (1 + 1e-9) - costs[first].sum()
        first.append(next(k for k in rest if costs[k] + _cheapest(costs[[o for o in rest if o != k]], n_after) <= left))
    return first


def least_members(held: HeldOut, n_members: int) -> int:
    """Return how many members each row asks at least: two for a standard error, and one for a confidence."""
    return min(2 if held.task == "regression" else 1, n_members)


def _cheapest(costs: np.ndarray, n: int) -> float:
    """Return what the cheapest n members cost together."""
    return float(np.sort(costs)[:n].sum())


def judged(held: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each row, and the share of its answers that are right, for the predictions of one member.

    The loss is in nats, or a squared error over the variance, in the mean of labels or values.
    """
    n = len(held.weight)
    if held.task == "regression":
        loss = (held.errors()[0] ** 2 / held.variances()).mean(axis=1)
        return loss, np.zeros(n)
    loss = -np.log(held.of_truth()[0]).reshape(n, -1).mean(axis=1)
    if held.task == "multilabel":
        return loss, ((held.P[0] > 0.5) == (held.y == 1)).mean(axis=1)
    return loss, held.P[0].argmax(axis=1) == held.y


def loss_without(held: HeldOut) -> float:
    """Return the mean loss of the best prediction that is the same for all rows."""
    if held.task == "regression":
        return float((held.y != held.y[0]).any(axis=0).mean())
    if held.task == "classification":
        shares = np.bincount(held.y.astype(np.intp), held.weight) / held.weight.sum()
        return float(entr(shares).sum())
    shares = np.average(held.y, axis=0, weights=held.weight)
    return float((entr(shares) + entr(1 - shares)).mean())
