"""Curves of networks: fit them, and predict with their points."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._component import Component
from skfusion._numbers import to_numpy, to_torch
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.connect import Bezier, Connector, Path
from skfusion.data import hold_out
from skfusion.estimators._base import BaseFusion, Collected, check_pool
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._curve_segment import CurveSegment, InUnit
from skfusion.estimators.support._uncertainty import ManyStates
from skfusion.landscape import loss_along, segment, spanning_tree
from skfusion.nets import Runner
from skfusion.objective import loss_scale
from skfusion.pool import Member, ModelPool
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State

_WAYS = ("ensemble", "best", "midpoint")


class _Choice(Component):
    """Stands among the parts where one point is chosen by its score, which takes rows that nothing was trained on."""

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True


class CurveDriver(ManyStates, BaseFusion):
    """Join the members of a pool by curves and predict; its subclasses name the parameters."""

    _defaults: ClassVar[dict[str, Any]] = {"collect": partial(Seeds, 2), "connect": Bezier, "repair": Recalibrate}
    _fusing: ClassVar[tuple[str, ...]] = ("align", "connect", "repair")
    connect: Any
    n_points: int
    arc_length: bool
    predict_with: str

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_one_member_is_its_own_fusion": "a curve joins two members or more, and one is refused"}

    # ---- parameters --------------------------------------------------------------------------
    def _parts(self) -> list[Any]:
        if not (isinstance(self.predict_with, str) and self.predict_with in _WAYS):
            raise ValueError(f"predict_with must be 'ensemble', 'best' or 'midpoint'; got {self.predict_with!r}.")
        if not isinstance(self.n_points, Integral) or self.n_points < 3:
            raise ValueError(
                "n_points must be a whole number of at least 3, as barriers are seen between the two ends; got "
                f"{self.n_points!r}."
            )
        connect = self._part("connect")
        if not isinstance(connect, Connector):
            hint = f" Write {connect.__name__}()." if isinstance(connect, type) else ""
            raise TypeError(f"connect must be a Connector, such as Bezier(); got {connect!r}.{hint}")
        connect.check()
        return [*super()._parts(), *([_Choice()] if self.predict_with == "best" else [])]

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
    def fuse(
        self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None, held_out: Any = None, groups: Any = None
    ) -> BaseFusion:
        """Join the members of an existing pool; see :meth:`EnsembleClassifier.fuse`.

        No member is trained, but the curves between them are, on all rows that are not held out. When ``held_out`` is
        omitted, ``predict_with="best"``, or a connector that judges as :class:`~skfusion.connect.DynamicString` does,
        holds out ``validation_fraction`` of the rows, those of one group in ``groups`` together; else none are.
        """
        check_pool(pool)
        return self._fuse_pool(pool, self._rows(X, y, sample_weight, groups, pool=pool), held_out)

    def _fuse_pool(self, pool: ModelPool, rows: Rows, held_out: Any) -> BaseFusion:
        if held_out is None and (self.predict_with == "best" or getattr(self._part("connect"), "needs_labels", False)):
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            held_out = hold_out(rows, self.validation_fraction, seed, self._task)[1]
        return super()._fuse_pool(pool, rows, held_out)

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
            path = connect(ends, InUnit(objective, unit))
            path = path.replace(history=[loss * unit for loss in path.history])
            path = path.by_length() if self.arc_length else path
            joined.append(CurveSegment(edge, ends, path, objective, repair))
        members = self._points(joined, pool, collected.net)
        self.line_profiles_ = {edge: lines[edge] for edge in self.spanning_tree_}
        self.curves_ = {j.edge: _converted(j.path, _on_cpu) for j in joined}
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
        state = _on_cpu(j.state(t))
        score = math.nan if self.held_out_ is None else float(score)  # of rows that the curve was trained on
        if name in j.edge:
            return pool[name].replace(state=state, score=score, net=net)
        return Member(name, state, score, {"edge": [*j.edge], "t": t}, net=net)

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {"members_": [Member("running", state, net=net)], "net_": net, "_runner": None}

    # ---- predicting --------------------------------------------------------------------------
    @property
    def estimator_(self) -> Any:
        """A fitted copy of the net with the weights of the one point that predicts."""
        self._check_one("estimator_", "estimators_")
        return self.estimators_[0]

    @property
    def state_(self) -> State:
        """The weights of the one point that predicts."""
        self._check_one("state_", "members_")
        return self.members_[0].state

    def _check_one(self, name: str, instead: str) -> None:
        check_is_fitted(self)
        if len(self.members_) > 1:
            raise AttributeError(
                f"{len(self.members_)} networks predict together, so there is no {name}: they are in {instead}. Fit "
                "with predict_with='best' or predict_with='midpoint' for a single network."
            )

    # ---- pickling ----------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        stored = super().__getstate__()
        for name in _BY_EDGE & stored.keys():  # as pairs: formats that are written as JSON have no keys of two names
            stored[name] = [[*edge, _converted(thing, to_numpy)] for edge, thing in stored[name].items()]
        return stored

    def __setstate__(self, stored: dict[str, Any]) -> None:
        by_edge = {
            k: {(a, b): _converted(thing, to_torch) for a, b, thing in stored[k]} for k in _BY_EDGE & stored.keys()
        }
        super().__setstate__({**stored, **by_edge})


_BY_EDGE = {"curves_", "profiles_", "line_profiles_"}
"""What is known of each curve."""


def _on_cpu(state: State) -> State:
    return {k: v.cpu() for k, v in state.items()}


def _converted(thing: Any, convert: Any) -> Any:
    """Return a path whose control states are converted; profiles are returned as they are."""
    return thing.replace(controls=[convert(s) for s in thing.controls]) if isinstance(thing, Path) else thing
