"""The points of a curve between two members, and a loss in another unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion.connect import GeodesicPath, Path, Subspace
from skfusion.landscape import Edge, Profile
from skfusion.objective import Objective, Wrapper
from skfusion.repair import Repairer
from skfusion.state import State


class CurveSegment:
    """Two members with a curve between them, whose points ``repair`` repairs; ``measure`` sets its ``profile``."""

    def __init__(self, edge: Edge, ends: tuple[State, State], path: Path, objective: Objective, repair: Repairer):
        self.edge, self.ends, self.path = edge, ends, path
        self.objective, self.repair = objective, repair
        self._kept: dict[float, State] = {}

    def state(self, t: float) -> State:
        """Return the point at a position, with its statistics repaired."""
        if t in self._kept:
            return self._kept[t]
        point = self.path.at(t)
        return point if self._end(point) is not None else self.repair(point, list(self.ends), self.objective)

    def name(self, t: float) -> str:
        """Return the name of a point: of an end that is a member, that of the member."""
        end = self._end(self.path.at(t)) if t in (0, 1) else None
        return f"{self.edge[0]}--{self.edge[1]}@{t:.6g}" if end is None else self.edge[end]

    def measure(self, positions: np.ndarray, keep: bool) -> None:
        """Set ``profile`` to loss and score at the positions; the points there are kept, or made again when asked."""
        if keep:
            self._kept = {t: self.state(t) for t in positions.tolist()}
        judged = list(self.objective.evaluate(map(self.state, positions.tolist())))
        loss, score = np.array(judged, np.float64).reshape(-1, 2).T.copy()
        bad = np.isnan(loss)
        bad[[0, -1]] |= np.isinf(loss[[0, -1]])  # between the ends, an infinite loss is an infinite barrier
        if bad.any():
            where = ", ".join(f"{t:.3g}" for t in positions[bad][:3])
            what = "NaN" if np.isnan(loss[bad]).all() else "not finite"
            raise ValueError(
                f"The loss on the curve between {self.edge[0]!r} and {self.edge[1]!r} is {what} at t = {where}: the "
                "network overflows there. Train the curve longer or with a smaller learning rate, or align the members."
            )
        self.profile = Profile(positions, loss, score, self.path.arc(positions))

    def _end(self, state: State) -> int | None:
        """Return which of the ends a state is, if it is one."""
        return next((i for i, end in enumerate(self.ends) if state is end), None)


class InUnit(Wrapper):
    """An objective whose criterion, by which something is trained, is in another unit."""

    def __init__(self, objective: Objective, unit: float):
        super().__init__(objective)
        criterion = objective.criterion
        assert criterion is not None
        self.criterion = lambda out, batch: criterion(out, batch) / unit


def in_loss_units(subspace: Subspace, unit: float) -> Any:
    """Return a subspace that was trained by ``InUnit``, whose history has the losses themselves.

    That of a geodesic is not of the loss, so it stays as it is.
    """
    if isinstance(subspace, GeodesicPath):
        return subspace
    return subspace.replace(history=[loss * unit for loss in subspace.history])
