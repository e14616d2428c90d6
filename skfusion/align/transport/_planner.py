"""Plans of transport for all units of a group, nested groups such as heads with their channels included."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from skfusion._coupling import assigned, exact, sinkhorn

Plans = dict[str, np.ndarray]


class Planner:
    """How plans are found: exactly, or with entropy, of strength ``reg`` times the mean cost.

    ``costs`` has the mean cost of what was matched, and ``errors`` how far the sums of plans were from the masses, by
    group.
    """

    def __init__(self, reg: float | None, max_iter: int, tol: float):
        self.reg, self.max_iter, self.tol = reg, max_iter, tol
        self.costs: dict[str, float] = {}
        self.errors: dict[str, float] = {}

    def plan(
        self, name: str, cost: np.ndarray, sent: np.ndarray | None = None, received: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the plan of shape (*context sizes, n_from, n_to) for costs of shape (*context sizes, n_to, n_from).

        Masses are uniform where they are omitted.
        """
        flat = cost.reshape(-1, *cost.shape[-2:])
        plans, values, errors = [], [], [0.0]
        for each in flat:
            n_to, n_from = each.shape
            a = np.full(n_from, 1 / n_from) if sent is None else sent
            b = np.full(n_to, 1 / n_to) if received is None else received
            strength = 0.0 if self.reg is None else self.reg * float(each.mean())
            if strength > 0:
                plan, error = sinkhorn(each.T, a, b, strength, self.max_iter, self.tol)
                errors.append(error)
            else:  # costs that are all zero ask for nothing, and the identity is the first of the best plans
                plan = exact(each.T, a, b)
            plans.append(plan)
            values.append(float((plan * each.T).sum()))
        self.costs[name], self.errors[name] = float(np.mean(values)), max(errors)
        return np.stack(plans).reshape(*cost.shape[:-2], *cost.shape[-2:][::-1])

    def nested(self, outer: str, pairs: Mapping[str, np.ndarray], alone: np.ndarray | None) -> Plans:
        """Return the plans of outer units, which are matched one to one, and of the inner ones of each.

        ``pairs`` has the squared costs, by inner group, of unit k in outer unit i of the reference and unit l in outer
        unit j of the state, shape (n, m, n, m); ``alone`` those of the outer units besides, shape (n, n). A mixture of
        outer units is no such unit: the scores of two heads are not those of their mean.
        """
        n = next(iter(pairs.values())).shape[0]
        squares = np.zeros((n, n)) if alone is None else alone.copy()
        for square in pairs.values():
            for i, j in np.ndindex(n, n):
                inner = square[i, :, j]
                squares[i, j] += inner[np.arange(len(inner)), assigned(-inner)].sum()
        place = assigned(-squares)
        self.costs[outer], self.errors[outer] = float(np.sqrt(squares[np.arange(n), place]).mean()), 0.0
        out = {outer: np.eye(n)[place].T}
        for name, square in pairs.items():
            out[name] = self.plan(name, np.sqrt(square[np.arange(n), :, place]))
        return out

    def warn(self) -> None:
        """Warn of plans whose iteration has not ended."""
        late = {name: error for name, error in self.errors.items() if error > self.tol}
        if late:
            worst = max(late, key=lambda name: late[name])
            warnings.warn(
                f"Sinkhorn's iteration did not end for {len(late)} of {len(self.errors)} groups: after {self.max_iter} "
                f"steps the masses of {worst!r} are off by {late[worst]:.2g} in total, and are set right by rounding. "
                "Give a larger reg or max_iter, or reg=None for the exact plan.",
                stacklevel=4,
            )
