"""Many networks whose predictions are combined: deep ensembles, and all other fusions of predictions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skfusion._component import Component
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._keys import distinct
from skfusion._rows import Rows, n_rows_of, repetitions
from skfusion.collect import Seeds
from skfusion.combine import Average, Combiner, Stack, by_row, check_takes_weights
from skfusion.data import are_known_by_numbers, held_out_score, rows_as_given, rows_for_networks, seeded
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.support._any_estimator import stream
from skfusion.estimators.support._any_kind import FEW, ManyMembers, all_networks, check_fitted_members, tried
from skfusion.estimators.support._asked import milliseconds
from skfusion.estimators.support._refit import chosen_among
from skfusion.estimators.support._widths import net_of_member
from skfusion.nets import Runner, runners_of
from skfusion.pool import Member


class EnsembleDriver(ManyMembers, BaseFusion):
    """Combine the predictions of a pool; subclasses name the parameters."""

    _defaults: ClassVar[dict[str, type[Component]]] = {"collect": Seeds, "combine": Average}
    _fusing: ClassVar[tuple[str, ...]] = ("select", "combine")
    _takes_estimators: ClassVar[bool] = True

    def _check_parts(self) -> None:
        super()._check_parts()
        combine = self._part("combine")
        if not isinstance(combine, Combiner):
            raise TypeError(f"combine must be a Combiner, such as Average(); got {combine!r}.")
        self._new_combiner().check(self._task)

    def _new_combiner(self) -> Combiner:
        """Return a copy of the combiner, with ``scoring`` in each of its parameters of this name that is None.

        They stay None where it is a function, which may read inputs, or no mean over rows and the combiner tests rows.
        """
        combine = clone(self._part("combine"))
        if not isinstance(self.scoring, str):
            return combine
        params, is_by_row = combine.get_params(), by_row(self.scoring, self._task)
        unset = [key for key, value in params.items() if value is None and _names_a_score(key)]
        if not is_by_row:
            unset = [key for key in unset if params.get(key.removesuffix("scoring") + "confidence") is None]
        return combine.set_params(**dict.fromkeys(unset, self.scoring))

    def _collect(self, rows: Rows, *options: Any, **named: Any) -> Collected:
        self._check_parts()
        combine, weight = self._part("combine"), repetitions(rows.weight)[1]
        weight = rows.class_weight if weight is None else weight
        for part in (combine, *combine.get_params().values()):
            if isinstance(part, Stack):  # before anything is trained
                check_takes_weights(part.final_estimator, weight)
        return super()._collect(rows, *options, **named)

    def _fuse(self, collected: Collected) -> None:
        pool, select, combine = collected.pool, self._part("select"), self._new_combiner()
        pool.check_finite()
        self.left_out_: dict[str, str] = {}
        if not all_networks(pool):
            self._fuse_any(collected, combine)
            return
        members = self._sized_members(collected)
        runners = runners_of(members, self._task, collected.fit_rows)
        chosen = list(range(len(pool)))
        if select is not None:
            scores = self._scores(members, runners, collected)
            scored = pool.replace([m.replace(score=s) for m, s in zip(pool, scores, strict=True)])
            places = {name: place for place, name in enumerate(pool.names)}
            chosen = [places[name] for name in select(scored).names]
        members, runners = [members[i] for i in chosen], [runners[i] for i in chosen]
        P, rows = np.empty((len(members), 0, 0)), collected.held_out
        if collected.out_of_fold is not None:
            P, rows = collected.out_of_fold
            P = self._outputs.predictions(P[chosen])
        elif combine.needs_labels:
            P = self._outputs.predictions(self._predictor(members, runners).predict(rows.X))
        self._take_costs(combine, rows.X, self._predictor(members, runners), len(members))
        self._learn(combine, P, rows, select is not None)
        kept = self._narrowed(combine, members)
        members, runners = [members[i] for i in kept], [runners[i] for i in kept]
        if collected.again is not None:
            collected = collected.again()
            again = chosen_among(collected.pool, [m.name for m in members])
            members = self._sized_members(replace(collected, pool=again))
            runners = runners_of(members, self._task, collected.fit_rows)
        self.pool_, self.combine_, self.members_ = collected.pool, combine, members
        self.net_, self._runner = collected.net, self._predictor(members, runners)

    def _fuse_any(self, collected: Collected, combine: Combiner) -> None:
        """Fuse a pool that has estimators; a member that fails on the rows is left out."""
        pool, select, rows = collected.pool, self._part("select"), collected.held_out
        fitted = [(m.name, m.estimator) for m in pool if not m.is_network]
        check_fitted_members(combine, fitted, self._task, self._labels())
        self.pool_ = pool
        self._n_outputs = rows.y.shape[1] if rows.y.ndim == 2 else len(self._labels())
        ready = self._ready(self._sized_members(collected), collected.fit_rows)
        if not combine.needs_labels and select is None:
            rows = rows.take(np.arange(min(FEW, len(rows))))
        places, P, self.left_out_ = tried(ready, rows.X)
        combine = combine.among(places, len(ready.members))
        members, P = [ready.members[k] for k in places], self._outputs.predictions(P)
        if select is not None:
            judged = rows_as_given(self._outputs.rows(rows))
            score = held_out_score(self.scoring, self._task, judged, self._n_outputs)
            members = [m.replace(score=score(p, judged)) for m, p in zip(members, P, strict=True)]
            names = {*select(pool.replace(members)).names}
            chosen = [i for i, m in enumerate(members) if m.name in names]
            members, P = [members[i] for i in chosen], P[chosen]
        self._take_costs(combine, rows.X, self._ready(members, collected.fit_rows), len(members))
        self._learn(combine, P, rows, select is not None)
        members = [members[i] for i in self._narrowed(combine, members)]
        self.combine_, self.members_, self.net_ = combine, members, collected.net
        self._runner = self._ready(members, collected.fit_rows)

    def _narrowed(self, combine: Combiner, members: list[Member]) -> np.ndarray:
        """Keep the weights of members, and return which of them can change a prediction."""
        weights, names = combine.member_weights(len(members)), [m.name for m in members]
        self.member_weights_ = None if weights is None else dict(zip(names, weights.tolist(), strict=True))
        return combine.narrow(len(members))

    def _learn(self, combine: Combiner, P: np.ndarray, rows: Rows, selected: bool) -> None:
        """Fit a combiner on rows as networks have them, and remember which the choice depends on."""
        chosen_by = (selected or combine.needs_labels) and are_known_by_numbers(rows)
        self._marks_judged = distinct(rows.marks) if chosen_by else None
        self._fit_combiner(combine, P, self._outputs.rows(rows))

    def _take_costs(self, combine: Combiner, X: Any, predictor: Any, n_members: int) -> None:
        """Have the time measured that members take, where the combiner asks for it."""
        combine.take_costs(lambda: milliseconds(self._asking(X, predictor), n_members, n_rows_of(X)))

    def _fit_combiner(self, combine: Combiner, P: np.ndarray, rows: Rows) -> None:
        """Fit a combiner; where it, or its meta-learner, has no seed, one follows from ``random_state``."""
        if not combine.needs_labels:
            combine.fit(P, rows.y, self._task, rows.weight)
            return
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=3)[2])
        with stream(combine, seed):
            weight = rows.weight if combine.by_score else rows.loss_weight
            seeded(combine, seed).fit(P, rows.y, self._task, weight)

    def _sized_members(self, collected: Collected) -> list[Member]:
        """Return the members, each with the net that it runs in: its own one, sized to the data, or the estimator's."""

        def keeps_net(m: Member) -> bool:
            return m.net is not None and (self.estimator is None or bool(m.meta.get("own_net")))

        rows = rows_for_networks(collected.fit_rows) if collected.net is not None else collected.fit_rows
        kept = {id(m.net): m for m in collected.pool if keeps_net(m)}
        sized = {k: net_of_member(self._sized(m.net, rows), m, self._task, rows) for k, m in kept.items()}
        return [
            m.replace(net=sized[id(m.net)] if keeps_net(m) else collected.net) if m.is_network else m
            for m in collected.pool
        ]

    def _scores(self, members: list[Member], runners: list[Runner], collected: Collected) -> list[float]:
        judges = {id(r): self._judge(r, collected) for r in runners}
        if len(judges) == 1:  # which may score the members together
            return judges.popitem()[1].scores(m.state for m in members)
        return [judges[id(r)].scores([m.state])[0] for r, m in zip(runners, members, strict=True)]

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return self._fitted_with(Member("running", state, net=net), net)

    def _fitted_with(self, member: Member, net: Any) -> dict[str, Any]:
        """Return the attributes that make a copy of this estimator predict with one member of any kind."""
        member = member.replace(net=net) if member.is_network else member
        return {"members_": [member], "combine_": Average(), "net_": net, "_runner": None}


def _names_a_score(key: str) -> bool:
    """Return whether a parameter is the score of a combiner, also of one inside it, and not of a meta-learner."""
    *path, last = key.split("__")
    return last == "scoring" and all(part == "combine" for part in path)


@template
@dataclass(eq=False, repr=False)
class _Ensemble(EnsembleDriver):
    """{Predict} by the combined predictions of many networks (a deep ensemble, with the defaults).

    ``fit`` collects members, which trains them, selects some and learns how to combine their predictions. Prediction
    costs one network a member. The members of a pool may have different architectures, and be fitted estimators of any
    library, beside networks or alone.

    Parameters
    ----------
    {estimator}
    {collect}
    {select}
    {combine}
    {validation_fraction}
    {cv}
    scoring : str or callable, optional
        The held-out score by which members are selected: {score} when omitted. Where it is a name, a combiner with a
        parameter ``scoring`` that is left at None judges by it too, such as ``EnsembleSelection()`` (Caruana); one with
        a ``confidence`` only by a score that is a mean over rows. A function is used to select members alone.
    {refit}
    {parallel_training}
    {class_weight}

    Attributes
    ----------
    {pool_}
    {estimators_}
    {members_}
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        The weight that the combiner gives to each selected member, by name, of sum one, zeros too. None where members
        have no weights, or others for each row.
    left_out_ : dict
        Why estimators of a pool are left out, by name, as they fail or predict NaN on the rows of ``fit``; a warning
        names them.
    {held_out_}
    {classes_}
    {features_}

    References
    ----------
    Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990, doi:10.1109/34.58871. Lakshminarayanan, Pritzel
    and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017,
    arXiv:1612.01474.

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> from skfusion.collect import {collector}
    >>> X, y = {load}(return_X_y=True)
    >>> ensemble = {name}(collect={collector}(3), random_state=0).fit(X, y)
    >>> ensemble.score(X, y) > {least}
    True
    """

    estimator: Any = None
    _: KW_ONLY
    collect: Any = None
    select: Any = None
    combine: Any = None
    validation_fraction: float = 0.2
    cv: Any = 5
    scoring: Any = None
    refit: bool = False
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, collector="Snapshots")
class EnsembleClassifier(Classifies, _Ensemble):
    class_weight: Any = None


@doc(REGRESSOR, collector="Bootstrap")
class EnsembleRegressor(Regresses, _Ensemble): ...
