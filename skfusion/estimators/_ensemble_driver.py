"""The driver of estimators that combine the predictions of many networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._component import Component
from skfusion._rows import Rows, repetitions, unlabelled
from skfusion.collect import Seeds
from skfusion.combine import Average, Combiner, Stack, by_row, check_takes_weights, from_logs
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators.support._fill_random_state import seeded, stream
from skfusion.estimators.support._uncertainty import Uncertain
from skfusion.nets import Predictors, Runner
from skfusion.pool import Member


class EnsembleDriver(Uncertain, BaseFusion):
    """Fuse a pool and predict; its subclasses name the parameters."""

    _defaults: ClassVar[dict[str, type[Component]]] = {"collect": Seeds, "combine": Average}
    _fusing: ClassVar[tuple[str, ...]] = ("select", "combine")

    def _check_parts(self) -> None:
        super()._check_parts()
        combine = self._part("combine")
        if not isinstance(combine, Combiner):
            raise TypeError(f"combine must be a Combiner, such as Average(); got {combine!r}.")
        self._asked().check(self._task)

    def _asked(self) -> Combiner:
        """Return a copy of the combiner, which judges by ``scoring`` where it has a score of its own to choose.

        It keeps its own where ``scoring`` is a function, which may read the inputs, and where it tests the rows of a
        score and this is none by row.
        """
        combine = clone(self._part("combine"))
        if not isinstance(self.scoring, str):
            return combine
        given, tested = combine.get_params(), by_row(self.scoring, self._task)
        free = [
            key
            for key, value in given.items()
            if value is None and _names_a_score(key) and (tested or given.get(_confidence(key)) is None)
        ]
        return combine.set_params(**dict.fromkeys(free, self.scoring))

    def _collect(self, rows: Rows, *options: Any, **named: Any) -> Collected:
        """Collect members, after a look at whether a meta-learner takes the weights of the rows."""
        self._check_parts()
        combine, weight = self._part("combine"), repetitions(rows.weight)[1]
        for part in (combine, *combine.get_params().values()):
            if isinstance(part, Stack):
                check_takes_weights(part.final_estimator, weight)
        return super()._collect(rows, *options, **named)

    def _fuse(self, collected: Collected) -> None:
        pool, select, combine = collected.pool, self._part("select"), self._asked()
        pool.check_finite()
        members = self._sized_members(collected)
        runners = self._runners(members, collected.fit_rows)
        chosen = list(range(len(pool)))
        if select is not None:
            scores = self._scores(members, runners, collected)
            scored = pool.replace([m.replace(score=s) for m, s in zip(pool, scores, strict=True)])
            chosen = [pool.names.index(name) for name in select(scored).names]
        members, runners = [members[i] for i in chosen], [runners[i] for i in chosen]
        P, rows = np.empty((len(members), 0, 0)), collected.held_out
        if collected.out_of_fold is not None:
            P, rows = collected.out_of_fold
            P = self._outputs.predictions(P[chosen])
        elif combine.needs_labels:
            P = self._outputs.predictions(self._lineups(members, runners).predict(rows.X))
        self._fit_combiner(combine, P, self._outputs.rows(rows))
        weights = combine.member_weights(len(members))
        named = None if weights is None else dict(zip([m.name for m in members], weights.tolist(), strict=True))
        kept = combine.narrow(len(members))
        members, runners = [members[i] for i in kept], [runners[i] for i in kept]
        self.pool_ = collected.pool
        self.combine_ = combine
        self.members_, self.member_weights_ = members, named
        self.net_, self._runner = collected.net, self._lineups(members, runners)

    def _fit_combiner(self, combine: Combiner, P: np.ndarray, rows: Rows) -> None:
        """Fit a combiner, with seeds that follow from ``random_state`` where it has none, as with a meta-learner."""
        if not combine.needs_labels:
            combine.fit(P, rows.y, self._task, rows.weight)
            return
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=3)[2])
        with stream(combine, seed):
            seeded(combine, seed).fit(P, rows.y, self._task, rows.weight)

    def _sized_members(self, collected: Collected) -> list[Any]:
        """Return the members, each with the net that it runs in."""
        pool = collected.pool
        own = [m.net is not None and (self.estimator is None or bool(m.meta.get("own_net"))) for m in pool]
        used = {id(m.net): m for m, its in zip(pool, own, strict=True) if its}
        sized = {key: nets.with_columns_of(self._sized(m.net, collected.fit_rows), m.state) for key, m in used.items()}
        return [m.replace(net=sized[id(m.net)] if its else collected.net) for m, its in zip(pool, own, strict=True)]

    def _runners(self, members: list[Any], rows: Any) -> list[Runner]:
        done: dict[int, Runner] = {}
        for m in members:
            if id(m.net) not in done:
                done[id(m.net)] = Runner(m.net, self._task, rows)
            done[id(m.net)].place(m.state)
        return [done[id(m.net)] for m in members]

    def _lineups(self, members: list[Any], runners: list[Runner]) -> Predictors:
        return Predictors(runners, [r.on_device(m.state) for r, m in zip(runners, members, strict=True)])

    def _scores(self, members: list[Any], runners: list[Runner], collected: Collected) -> list[float]:
        judges = {id(r): self._judge(r, collected) for r in runners}
        if len(judges) == 1:
            return judges.popitem()[1].scores(m.state for m in members)
        return [judges[id(r)].scores([m.state])[0] for r, m in zip(runners, members, strict=True)]

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        member = Member("running", state, net=net)
        combine = Average()
        return {"members_": [member], "combine_": combine, "net_": net, "_runner": None}

    def _member_predictions(self, X: Any, logs: bool = False) -> np.ndarray:
        if getattr(self, "_runner", None) is None:
            self._runner = self._lineups(self.members_, self._runners(self.members_, unlabelled(X)))
        return self._outputs.predictions(self._runner.predict(X, logs))

    def _predict(self, X: Any) -> np.ndarray:
        if self.combine_.by_logs and (logs := self._predict_logs(X)) is not None:
            return from_logs(logs, self._task).astype(self._runner.dtype)
        P = self._member_predictions(X)
        return self.combine_(P).astype(P.dtype, copy=False)

    def _predict_logs(self, X: Any) -> np.ndarray | None:
        return self.combine_.of_logs(self._member_predictions(X, logs=True), self._task)

    def predict_members(self, X: Any) -> np.ndarray:
        """Predict with each member of ``members_`` by itself; those that a learned combiner gives no weight are not in.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_outputs)
            Probabilities or values.
        """
        return self._member_predictions(self._inputs(X))

    @property
    def estimators_(self) -> list[Any]:
        """The members as fitted copies of the net."""
        check_is_fitted(self)
        return [nets.restored(m.net, m.state, self._labels(), self._outputs.scaling) for m in self.members_]


def _names_a_score(key: str) -> bool:
    """Return whether a parameter is the score of a combiner, or of a combiner in it, and not one of a meta-learner."""
    *path, last = key.split("__")
    return last == "scoring" and all(part == "combine" for part in path)


def _confidence(key: str) -> str:
    """Return the parameter that stands beside a score, and asks for a test of its rows."""
    return key.removesuffix("scoring") + "confidence"
