"""Predict with points of a path or another subspace: with many of them together, or with one."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._component import Component
from skfusion._rows import Rows
from skfusion.connect import Connector, Subspace
from skfusion.data import hold_out
from skfusion.estimators._base import BaseFusion, check_pool
from skfusion.estimators.support._uncertainty import ManyStates
from skfusion.pool import Member, ModelPool
from skfusion.state import State

_WAYS = ("ensemble", "best", "midpoint")


class _Choice(Component):
    """Stands among the parts where one point is chosen by its score, which takes rows that nothing was trained on."""

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True


class PointsDriver(ManyStates, BaseFusion):
    """What drivers share that connect the members of a pool and predict with points of what connects them."""

    connect: Any
    n_points: int
    predict_with: str
    _least_points: ClassVar[tuple[int, str]] = (1, "as some network predicts")

    # ---- parameters --------------------------------------------------------------------------
    def _parts(self) -> list[Any]:
        if not (isinstance(self.predict_with, str) and self.predict_with in _WAYS):
            raise ValueError(f"predict_with must be 'ensemble', 'best' or 'midpoint'; got {self.predict_with!r}.")
        least, reason = self._least_points
        if not isinstance(self.n_points, Integral) or self.n_points < least:
            raise ValueError(f"n_points must be a whole number of at least {least}, {reason}; got {self.n_points!r}.")
        connect = self._part("connect")
        if not isinstance(connect, Connector):
            hint = f" Write {connect.__name__}()." if isinstance(connect, type) else ""
            raise TypeError(f"connect must be a Connector, such as Bezier(); got {connect!r}.{hint}")
        connect.check()
        return [*super()._parts(), *([_Choice()] if self.predict_with == "best" else [])]

    # ---- fitting -----------------------------------------------------------------------------
    def fuse(
        self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None, held_out: Any = None, groups: Any = None
    ) -> BaseFusion:
        """Join the members of an existing pool; see :meth:`EnsembleClassifier.fuse`.

        No member is trained, but what joins them is, on all rows that are not held out. When ``held_out`` is omitted,
        ``predict_with="best"``, or a connector that judges as :class:`~skfusion.connect.DynamicString` does, holds out
        ``validation_fraction`` of the rows, those of one group in ``groups`` together; else none are.
        """
        check_pool(pool, self._takes_estimators)
        return self._fuse_pool(pool, self._rows(X, y, sample_weight, groups, pool=pool), held_out)

    def _fuse_pool(self, pool: ModelPool, rows: Rows, held_out: Any) -> BaseFusion:
        judges = self.predict_with == "best" or getattr(self._part("connect"), "needs_labels", False)
        if held_out is None and judges:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            held_out = hold_out(rows, self.validation_fraction, seed, self._task)[1]
        return super()._fuse_pool(pool, rows, held_out)

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


def on_cpu(state: State) -> State:
    """Return a state with its tensors in main memory."""
    return {k: v.cpu() for k, v in state.items()}


def converted(thing: Any, convert: Any) -> Any:
    """Return a subspace whose control states are converted; other things are returned as they are."""
    return thing.replace(controls=[convert(s) for s in thing.controls]) if isinstance(thing, Subspace) else thing
