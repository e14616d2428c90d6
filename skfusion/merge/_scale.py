"""The number on a grid whose state scores best on held-out rows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self, final

from skfusion.merge._base import LinearMerger, Merger, check_states
from skfusion.objective import Objective
from skfusion.state import State

GRID = tuple(k / 20 for k in range(21))
"""From 0 to 1 in steps of 0.05 (Ilharco et al., 2023)."""


class OnGrid(Merger):
    """A merger with one number that is chosen on held-out rows where it is None."""

    grid: Sequence[float]
    """The numbers that are tried."""
    on_grid: ClassVar[str] = "scale"
    """The parameter that may be None."""

    @property
    def needs_objective(self) -> bool:  # type: ignore[override]
        """Whether the number is chosen on data, which are held-out rows then."""
        return getattr(self, self.on_grid) is None

    needs_labels = needs_objective

    def chosen(self, merged: Callable[[Self], State], objective: Objective | None) -> Self:
        """Return this merger with its number, chosen by the score where it is None; see :meth:`TensorMerger.chosen`.

        ``merged(merger)`` is the state to which a copy with a number merges the members; states are made one at a time,
        while they are scored. Of equal scores the first counts, and one that is not a number never wins.
        """
        if not self.needs_objective:
            return self
        name, points = self.on_grid, [float(point) for point in self.grid]
        if objective is None:
            raise ValueError(
                f"{type(self).__name__}({name}=None) chooses by the held-out score: give it an objective with held-out "
                f"rows, or a number for {name}."
            )
        if not points or not all(map(math.isfinite, points)):
            raise ValueError(f"The grid for {name} must hold finite numbers, one at least; got {points}.")
        scores = objective.scores(merged(self._at(point)) for point in points)
        if all(map(math.isnan, scores)):
            raise ValueError(
                f"No {name} of the grid {points} has a held-out score that is a number; give {name} yourself."
            )
        ranked = [-math.inf if math.isnan(score) else score for score in scores]
        best = points[ranked.index(max(ranked))]
        objective.report(name, best)
        objective.report(f"{name}_scores", dict(zip(points, scores, strict=True)))
        return self._at(best)

    def _at(self, value: float) -> Self:
        return type(self)(**{**self.get_params(deep=False), self.on_grid: value})

    def _number(self) -> Any:
        """Return the parameter, or raise ``ValueError`` where it is neither None nor a finite number."""
        value = getattr(self, self.on_grid)
        if value is not None and not math.isfinite(value):
            raise ValueError(
                f"The {self.on_grid} of {type(self).__name__} must be a finite number, or None; got {value}."
            )
        return value

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {cls.on_grid: None, "grid": (0.2, 0.6)}


class LinearOnGrid(OnGrid, LinearMerger):
    """A sum of the base and the members whose coefficients follow from one number."""

    needs_base: ClassVar[bool] = True

    @abstractmethod
    def _at_value(self, value: float, n: int) -> list[float]:
        """Return the coefficients of n members for a value of the number."""

    def _check(self, n: int) -> None:
        """Raise ``ValueError`` where parameters do not fit n members."""
        self._at_value(0.0, n)

    @final
    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the coefficients, with the number that is given or chosen; see :meth:`LinearMerger.coefficients`."""
        self._check(len(states))
        if self._number() is None:
            check_states(self, states, base)
        chosen = self.chosen(lambda merge: merge.combine(states, merge.coefficients(states), base), objective)
        return self._at_value(float(chosen._number()), len(states))
