"""Subspaces of networks: fit them, and predict with their points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from skfusion._numbers import to_numpy, to_torch
from skfusion.collect import Seeds, Untrained
from skfusion.connect import Connector, Line, Simplicial, Subspace
from skfusion.estimators._base import Collected
from skfusion.estimators._points_driver import PointsDriver, converted, on_cpu
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._curve_segment import InUnit
from skfusion.nets import Runner
from skfusion.objective import Objective, loss_scale
from skfusion.pool import Member, ModelPool
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State


class SubspaceDriver(PointsDriver):
    """Join the members of a pool by a subspace and predict; its subclasses name the parameters."""

    _defaults: ClassVar[dict[str, Any]] = {"connect": Simplicial, "repair": Recalibrate}
    _fusing: ClassVar[tuple[str, ...]] = ("align", "connect", "repair")

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_one_member_is_its_own_fusion": "a simplex is grown from one member, and it is more than that"}

    def _part(self, name: str) -> Any:
        if name == "collect" and self.collect is None:
            return _collector_for(self._part("connect"))
        return super()._part(name)

    # ---- fitting -----------------------------------------------------------------------------
    def _fuse(self, collected: Collected) -> None:
        parts, pool = self._parts(), collected.pool  # which checks the parameters
        pool.check_compatible()
        runner = Runner(collected.net, self._task, collected.fit_rows)
        pool = pool.replace([m.replace(state=runner.place(m.state)) for m in pool])
        objective = self._judge(runner, collected)
        self.pool_ = collected.pool
        self.symmetry_, self.alignments_ = None, None
        if self.align is not None:
            pool, self.symmetry_, self.alignments_ = align_members(
                parts[0], pool, collected.fit_rows, runner, objective
            )
        connect = clone(self._part("connect"))
        self._check_number(connect, pool)
        unit = loss_scale(objective) if self._task == "regression" else 1.0
        subspace = connect([m.state for m in pool], InUnit(objective, unit))
        subspace = subspace.replace(history=[loss * unit for loss in subspace.history])
        points = Points(subspace, pool, objective, self._part("repair"))
        seed = int(getattr(connect, "random_state", 0))
        members = self._chosen(points, seed, collected.net)
        self.subspace_ = converted(subspace, on_cpu)
        self.members_, self.net_ = members, collected.net
        self._runner = self._predictor(members, [runner] * len(members))

    def _check_number(self, connect: Connector, pool: ModelPool) -> None:
        if connect.n_states not in (None, len(pool)):
            curve = type(self).__name__.replace("Subspace", "Curve")
            more = f", or join more of them by curves: {curve}(connect={connect!r})" if len(pool) > 2 else ""
            raise ValueError(
                f"{connect!r} joins {connect.n_states} networks, and the pool has {len(pool)}. Collect as many, such "
                f"as by collect=Seeds({connect.n_states}){more}."
            )

    def _chosen(self, points: Points, seed: int, net: Any) -> list[Member]:
        """Return the points that predict, with their scores where rows are held out."""
        subspace = points.subspace
        self.point_ = None
        if self.predict_with == "ensemble":
            places = subspace.spread(self.n_points, seed)
        elif self.predict_with == "midpoint":
            places = [subspace.basis.center(len(subspace.controls))]
        else:
            places = points.candidates(self.n_points, seed)
        states = [points.state(p) for p in places] if self.predict_with != "best" else []
        judged = points.objective.evaluate(states or map(points.state, places))
        loss, score = np.array(judged, np.float64).reshape(-1, 2).T
        if self.predict_with == "best":
            k = max(range(len(places)), key=lambda i: (np.nan_to_num(score[i], nan=-np.inf), -loss[i]))
            places, loss, score = [places[k]], loss[[k]], score[[k]]
            states = [points.state(places[0])]
        _check_finite(places, loss)
        if self.predict_with != "ensemble":
            self.point_ = places[0]
        known = self.held_out_ is not None  # other rows are those that the subspace was trained on
        scores = [float(s) if known else math.nan for s in score]
        return [points.member(i, *parts, net) for i, parts in enumerate(zip(places, states, scores, strict=True))]

    # ---- pickling ----------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        stored = super().__getstate__()
        if "subspace_" in stored:
            stored["subspace_"] = converted(stored["subspace_"], to_numpy)
        return stored

    def __setstate__(self, stored: dict[str, Any]) -> None:
        if "subspace_" in stored:
            stored = {**stored, "subspace_": converted(stored["subspace_"], to_torch)}
        super().__setstate__(stored)


class Points:
    """Points of a subspace between the members of a pool, with repaired statistics."""

    def __init__(self, subspace: Subspace, pool: ModelPool, objective: Objective, repair: Repairer):
        self.subspace, self.objective, self._repair = subspace, objective, repair
        networks = [subspace.controls[k] for k in subspace.networks]
        self._members = networks or list(subspace.controls)
        self._names = {id(m.state): m for m in pool if any(m.state is state for state in networks)}

    def state(self, point: Any) -> State:
        """Return the state at a point; a member is there as its own training left it."""
        state = self.subspace.at(point)
        return state if id(state) in self._names else self._repair(state, self._members, self.objective)

    def candidates(self, n_points: int, seed: int) -> list[Any]:
        """Return points to choose from: control states that lie on the subspace, and those of an ensemble."""
        corners = self.subspace.grid(2)
        return [*corners, *self.subspace.spread(n_points, seed)]

    def member(self, i: int, point: Any, state: State, score: float, net: Any) -> Member:
        """Return the member that a point is: that of the pool, or a new one."""
        known = self._names.get(id(state))
        if known is not None:
            return known.replace(state=on_cpu(state), score=score, net=net)
        place = point if isinstance(point, float) else np.asarray(point).tolist()
        name = f"point@{place:.6g}" if isinstance(place, float) else f"point-{i}"
        return Member(name, on_cpu(state), score, {"point": place}, net=net)


def _collector_for(connect: Any) -> Any:
    """Return where members come from, where it is not said: networks that are trained, or the start of a training."""
    if not getattr(connect, "from_scratch", False):
        return Seeds(2)
    return Untrained(2 if isinstance(connect.basis, Line) else 3)


def _check_finite(places: Sequence[Any], loss: np.ndarray) -> None:
    bad = ~np.isfinite(loss)
    if bad.any():
        where = places[int(np.flatnonzero(bad)[0])]
        raise ValueError(
            f"The loss on the subspace is not finite at {int(bad.sum())} of {len(places)} points, such as {where}: the "
            "network overflows there. Train the subspace longer or with a smaller learning rate, or align the members."
        )
