"""Limits on how many members an ensemble may have, and on what they cost together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np


@dataclass(frozen=True, eq=False)
class Budget:
    """How many members there may be, and what they may cost together.

    Parameters
    ----------
    n : int
        Members at most.
    cost : float
        What they cost together at most.
    costs : ndarray of shape (n_members,)
        What each costs.
    """

    n: int
    cost: float
    costs: np.ndarray

    @classmethod
    def of(
        cls, n_members: int, max_members: int | None, max_cost: float | None, given: Sequence[float] | None
    ) -> Budget:
        """Return the budget for some members; raise where it is enough for none of them."""
        n = max_members or n_members
        if max_cost is None or given is None:
            return cls(n, math.inf, np.zeros(n_members))
        costs = np.asarray(given, np.float64)
        if len(costs) != n_members:
            raise ValueError(f"EnsembleSelection got {len(costs)} costs for {n_members} members; give one a member.")
        if costs.min() > max_cost:
            raise ValueError(
                f"No member costs as little as max_cost={max_cost}: the cheapest is that at position "
                f"{costs.argmin()}, which costs {costs.min():.6g}. Raise max_cost, or give cheaper members."
            )
        return cls(n, float(max_cost), costs)

    def affordable(self, chosen: set[int], among: np.ndarray | None = None) -> np.ndarray:
        """Return those of some members that are chosen already, or may join those that are; among all if omitted."""
        members = np.arange(len(self.costs)) if among is None else among
        room = len(chosen) < self.n
        if self.cost == math.inf:
            return members if room else members[np.isin(members, [*chosen])]
        spent = [self.costs[k] for k in chosen]
        return np.array(
            [k for k in members if k in chosen or (room and math.fsum([*spent, self.costs[k]]) <= self.cost)], np.intp
        )

    def largest(self, weights: np.ndarray) -> np.ndarray:
        """Return weights of sum 1, with zeros for members beyond the budget; those of more weight come first."""
        kept: list[int] = []
        for k in np.argsort(-weights, kind="stable"):
            if weights[k] > 0 and len(self.affordable({*kept}, np.array([k]))):
                kept.append(int(k))
        found = np.zeros_like(weights)
        found[kept] = weights[kept]
        return found / found.sum()


def check_costs(max_cost: float | None, costs: Sequence[float] | None) -> None:
    """Raise where a limit and costs can be none, or one of them is missing."""
    if (max_cost is None) != (costs is None):
        raise ValueError("EnsembleSelection needs max_cost and costs together: the limit, and what each member costs.")
    if costs is None or max_cost is None:
        return
    try:
        found = np.asarray(costs, np.float64)
    except (TypeError, ValueError) as error:  # a dict by names too: a combiner does not know them
        raise TypeError(
            f"costs must be a list of numbers, one a member in the order of the pool; got {costs!r}."
        ) from error
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(f"costs must be one row of finite numbers, none of them negative; got {found.tolist()}.")
    if not isinstance(max_cost, Real) or not max_cost >= 0:
        raise ValueError(f"max_cost must be a number that is not negative; got {max_cost!r}.")
