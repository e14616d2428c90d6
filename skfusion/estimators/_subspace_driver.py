"""Subspaces of networks: fit them, and predict with their points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from skfusion._numbers import to_numpy, to_torch
from skfusion.collect import Seeds, Untrained
from skfusion.connect import Connector, Line, Simplicial, Subspace
from skfusion.estimators._base import Collected
from skfusion.estimators._points_driver import PointsDriver, converted, on_cpu
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._curve_segment import InUnit, in_loss_units
from skfusion.landscape import Point, best_point, points_at
from skfusion.nets import Runner
from skfusion.objective import Objective, loss_scale
from skfusion.pool import Member, ModelPool
from skfusion.repair import Recalibrate


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
        subspace = in_loss_units(connect([m.state for m in pool], InUnit(objective, unit)), unit)
        seed = int(getattr(connect, "random_state", None) or 0)
        points = self._chosen(subspace, objective, seed)
        _check_finite(points)
        self.point_ = None if self.predict_with == "ensemble" else points[0].place
        own = {id(subspace.controls[k]): m for k, m in zip(subspace.networks, pool, strict=False)}
        members = [self._member(i, point, own, collected.net) for i, point in enumerate(points)]
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

    def _chosen(self, subspace: Subspace, objective: Objective, seed: int) -> list[Point]:
        """Return the points that predict."""
        repair = self._part("repair")
        if self.predict_with == "best":
            return [best_point(subspace, objective, self.n_points, seed, repair)]
        if self.predict_with == "midpoint":
            return points_at(subspace, [subspace.basis.center(len(subspace.controls))], objective, repair)
        return points_at(subspace, subspace.spread(self.n_points, seed), objective, repair)

    def _member(self, i: int, point: Point, own: Mapping[int, Member], net: Any) -> Member:
        """Return the member that a point is: that of the pool, or a new one; scored where rows are held out."""
        state, score = on_cpu(point.state), math.nan if self.held_out_ is None else point.score
        if id(point.state) in own:
            return own[id(point.state)].replace(state=state, score=score, net=net)
        place = point.place if isinstance(point.place, float) else np.asarray(point.place).tolist()
        name = f"point@{place:.6g}" if isinstance(place, float) else f"point-{i}"
        return Member(name, state, score, {"point": place}, net=net)

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


def _collector_for(connect: Any) -> Any:
    """Return where members come from, where it is not said: networks that are trained, or the start of a training."""
    if not getattr(connect, "from_scratch", False):
        return Seeds(2)
    return Untrained(2 if isinstance(getattr(connect, "basis", None), Line) else 3)


def _check_finite(points: Sequence[Point]) -> None:
    bad = [point for point in points if not math.isfinite(point.loss)]
    if bad:
        raise ValueError(
            f"The loss on the subspace is not finite at {len(bad)} of {len(points)} points, such as {bad[0].place}: "
            "the network overflows there. Train the subspace longer or with a smaller learning rate, or align the "
            "members."
        )
