"""Curves of networks: fit them, and predict with their points."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from skfusion._numbers import to_numpy, to_torch
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.estimators._base import Collected
from skfusion.estimators._points_driver import PointsDriver, converted, on_cpu
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._curve_segment import CurveSegment, InUnit, in_loss_units
from skfusion.landscape import loss_along, segment, spanning_tree
from skfusion.nets import Runner
from skfusion.objective import loss_scale
from skfusion.pool import Member, ModelPool
from skfusion.repair import Recalibrate, batch_norms


class CurveDriver(PointsDriver):
    """Join the members of a pool by curves and predict; its subclasses name the parameters."""

    _defaults: ClassVar[dict[str, Any]] = {"collect": partial(Seeds, 2), "connect": Bezier, "repair": Recalibrate}
    _fusing: ClassVar[tuple[str, ...]] = ("align", "connect", "repair")
    arc_length: bool

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_one_member_is_its_own_fusion": "a curve joins two members or more, and one is refused"}

    # ---- parameters --------------------------------------------------------------------------
    _least_points: ClassVar[tuple[int, str]] = (3, "as barriers are seen between the two ends")

    def _parts(self) -> list[Any]:
        parts = super()._parts()
        if (connect := self._part("connect")).n_states != 2:
            subspace = type(self).__name__.replace("Curve", "Subspace")
            raise TypeError(
                f"{type(self).__name__} joins pairs of members by curves, such as Bezier(), and {connect!r} joins any "
                f"number by one subspace: {subspace}(connect={connect!r})."
            )
        return parts

    def _check_number(self, pool: ModelPool) -> None:
        if len(pool) == 1:
            raise ValueError(
                f"{type(self).__name__} joins two networks or more by curves, and the pool has one, {pool.names[0]!r}. "
                "Collect more, such as by collect=Seeds(2)."
            )
        if self.predict_with == "midpoint" and len(pool) > 2:
            raise ValueError(
                f"predict_with='midpoint' is the middle of one curve, and {len(pool)} members are joined by "
                f"{len(pool) - 1}. Use predict_with='best' for one network, predict_with='ensemble' for all, or give "
                "two members."
            )

    # ---- fitting -----------------------------------------------------------------------------
    def _fuse(self, collected: Collected) -> None:
        parts, pool = self._parts(), collected.pool  # which checks the parameters
        pool.check_compatible()
        self._check_number(pool)
        runner = Runner(collected.net, self._task, collected.fit_rows)
        pool = pool.replace([m.replace(state=runner.place(m.state)) for m in pool])
        objective = self._judge(runner, collected)
        self.pool_ = collected.pool
        self.symmetry_, self.alignments_ = None, None
        if self.align is not None:
            pool, self.symmetry_, self.alignments_ = align_members(
                parts[0], pool, collected.fit_rows, runner, objective
            )
        repair, connect = self._part("repair"), clone(self._part("connect"))
        state = {m.name: m.state for m in pool}
        # the default repair of a path changes nothing where no BatchNorm learns, and computes points together
        along = None if isinstance(repair, Recalibrate) and not batch_norms(runner.module) else repair
        lines = {
            (a, b): loss_along(segment(state[a], state[b]), objective, self.n_points, along)
            for a, b in combinations(pool.names, 2)
        }
        self.spanning_tree_ = spanning_tree({edge: line.barrier for edge, line in lines.items()})
        unit = loss_scale(objective) if self._task == "regression" else 1.0
        joined = []
        for edge in self.spanning_tree_:
            ends = state[edge[0]], state[edge[1]]
            path = in_loss_units(connect(ends, InUnit(objective, unit)), unit)
            path = path.by_length() if self.arc_length else path
            joined.append(CurveSegment(edge, ends, path, objective, repair))
        members = self._points(joined, pool, collected.net)
        self.line_profiles_ = {edge: lines[edge] for edge in self.spanning_tree_}
        self.curves_ = {j.edge: converted(j.path, on_cpu) for j in joined}
        both = {"line": self.line_profiles_, "curve": self.profiles_}
        self.barrier_ = {k: float(np.mean([p.barrier for p in profiles.values()])) for k, profiles in both.items()}
        self.members_, self.net_ = members, collected.net
        self._runner = self._predictor(members, [runner] * len(members))

    def _points(self, joined: list[CurveSegment], pool: ModelPool, net: Any) -> list[Member]:
        """Set the profiles, and return the points that predict; a member at which curves meet counts once."""
        positions = np.linspace(0.0, 1.0, self.n_points)
        together = self.predict_with == "ensemble"
        for j in joined:
            j.measure(positions, keep=together)
        self.profiles_ = {j.edge: j.profile for j in joined}
        self.edge_, self.t_ = None, None
        if together:
            points = [(j, t, s) for j in joined for t, s in zip(positions.tolist(), j.profile.score, strict=True)]
        else:
            points = [self._one(joined, positions.tolist())]
            self.edge_, self.t_ = points[0][0].edge, points[0][1]
        first: dict[str, tuple[CurveSegment, float, float]] = {}
        for j, t, score in points:
            first.setdefault(j.name(t), (j, t, score))
        return [self._member(name, *point, pool, net) for name, point in first.items()]

    def _one(self, joined: list[CurveSegment], positions: list[float]) -> tuple[CurveSegment, float, float]:
        """Return the curve and the position of the one point that predicts, and its score."""
        if self.predict_with == "midpoint":
            return joined[0], 0.5, joined[0].objective.score(joined[0].state(0.5))
        at = [(j, t, k) for j in joined for k, t in enumerate(positions)]
        score = {id(j): np.nan_to_num(j.profile.score, nan=-np.inf) for j in joined}
        j, t, k = max(at, key=lambda point: (score[id(point[0])][point[2]], -point[0].profile.loss[point[2]]))
        return j, t, j.profile.score[k]

    def _member(self, name: str, j: CurveSegment, t: float, score: float, pool: ModelPool, net: Any) -> Member:
        state = on_cpu(j.state(t))
        score = math.nan if self.held_out_ is None else float(score)  # of rows that the curve was trained on
        if name in j.edge:
            return pool[name].replace(state=state, score=score, net=net)
        return Member(name, state, score, {"edge": [*j.edge], "t": t}, net=net)

    # ---- pickling ----------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        stored = super().__getstate__()
        for name in _BY_EDGE & stored.keys():  # as pairs: formats that are written as JSON have no keys of two names
            stored[name] = [[*edge, converted(thing, to_numpy)] for edge, thing in stored[name].items()]
        return stored

    def __setstate__(self, stored: dict[str, Any]) -> None:
        by_edge = {
            k: {(a, b): converted(thing, to_torch) for a, b, thing in stored[k]} for k in _BY_EDGE & stored.keys()
        }
        super().__setstate__({**stored, **by_edge})


_BY_EDGE = {"curves_", "profiles_", "line_profiles_"}
"""What is known of each curve."""
