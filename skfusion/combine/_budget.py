"""Limits on how many members an ensemble may have, and on what they cost together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np


@dataclass(frozen=True, eq=False)
class Budget:
    """How many members there may be, ``n``, and what they may cost together, ``cost``, of ``costs`` for each."""

    n: int
    cost: float
    costs: np.ndarray

    @classmethod
    def of(
        cls, n_members: int, max_members: int | None, max_cost: float | None, costs: Sequence[float] | None
    ) -> Budget:
        """Return the budget for some members; raise where it is enough for none of them."""
        n = max_members or n_members
        if max_cost is None or costs is None:
            return cls(n, math.inf, np.zeros(n_members))
        each = np.asarray(costs, np.float64)
        if len(each) != n_members:
            raise ValueError(f"EnsembleSelection got {len(each)} costs for {n_members} members; give one a member.")
        if each.min() > max_cost:
            raise ValueError(
                f"No member costs as little as max_cost={max_cost}: the cheapest is that at position "
                f"{each.argmin()}, which costs {each.min():.6g}. Raise max_cost, or give cheaper members."
            )
        return cls(n, float(max_cost), each)

    def affordable(self, chosen: set[int], among: np.ndarray | None = None) -> np.ndarray:
        """Return which members are chosen already or may still join; of ``among``, or of all when omitted."""
        members = np.arange(len(self.costs)) if among is None else among
        room = len(chosen) < self.n
        if self.cost == math.inf:
            return members if room else members[np.isin(members, [*chosen])]
        spent = [self.costs[k] for k in chosen]
        return np.array(
            [k for k in members if k in chosen or (room and math.fsum([*spent, self.costs[k]]) <= self.cost)], np.intp
        )

    def largest(self, weights: np.ndarray) -> np.ndarray:
        """Return weights of sum 1 that are zero for members beyond the budget; larger weights are kept first."""
        kept: list[int] = []
        for k in np.argsort(-weights, kind="stable"):
            if weights[k] > 0 and len(self.affordable({*kept}, np.array([k]))):
                kept.append(int(k))
        allowed = np.zeros_like(weights)
        allowed[kept] = weights[kept]
        return allowed / allowed.sum()


def check_costs(max_cost: float | None, costs: Sequence[float] | None) -> None:
    """Raise where a limit or costs are invalid, or one is given without the other."""
    if (max_cost is None) != (costs is None):
        raise ValueError("EnsembleSelection needs max_cost and costs together: the limit, and what each member costs.")
    if costs is None or max_cost is None:
        return
    each_cost(costs)
    if not isinstance(max_cost, Real) or not max_cost >= 0:
        raise ValueError(f"max_cost must be a number that is not negative; got {max_cost!r}.")


def each_cost(costs: Sequence[float]) -> np.ndarray:
    """Return what members cost as an array; raise where that is no list of numbers, or one is negative."""
    try:
        each = np.asarray(costs, np.float64)
    except (TypeError, ValueError) as error:  # also a dict by names, which a combiner does not know
        raise TypeError(
            f"costs must be a list of numbers, one a member in the order of the pool; got {costs!r}."
        ) from error
    if each.ndim != 1 or not len(each) or not np.isfinite(each).all() or (each < 0).any():
        raise ValueError(f"costs must be one row of finite numbers, none of them negative; got {each.tolist()}.")
    return each
