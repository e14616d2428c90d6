"""The number on a grid whose state scores best on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from skfusion.objective import Objective
from skfusion.state import State

GRID = tuple(k / 20 for k in range(21))
"""From 0 to 1 in steps of 0.05 (Ilharco et al., 2023)."""


def best_on_grid(
    asker: str, name: str, grid: Sequence[float], state_at: Callable[[float], State], objective: Objective | None
) -> float:
    """Return the first number of a grid with the highest held-out score, and report the scores of all.

    States are made one at a time, while they are scored. A score that is not a number never wins.
    """
    if objective is None:
        raise ValueError(
            f"{asker}({name}=None) chooses by the held-out score: give it an objective with held-out rows, or a number "
            f"for {name}."
        )
    points = [float(point) for point in grid]
    if not points or not all(map(math.isfinite, points)):
        raise ValueError(f"The grid for {name} must hold finite numbers, one at least; got {points}.")
    scores = objective.scores(state_at(point) for point in points)
    ranked = [-math.inf if math.isnan(score) else score for score in scores]
    if all(map(math.isnan, scores)):
        raise ValueError(f"No {name} of the grid {points} has a held-out score that is a number; give {name} yourself.")
    best = points[ranked.index(max(ranked))]
    objective.report(name, best)
    objective.report(f"{name}_scores", dict(zip(points, scores, strict=True)))
    return best
