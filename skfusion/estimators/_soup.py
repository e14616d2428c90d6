"""One network fused from many: model soups, and all other fusions of weights."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from skfusion import nets
from skfusion._component import Component
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import Seeds
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._far_below import warn_if_far_below
from skfusion.estimators.support._members import reported_shares, rows_of_members
from skfusion.estimators.support._one_state import OneState
from skfusion.merge import Greedy, LinearMerger
from skfusion.nets import Runner
from skfusion.repair import Recalibrate, Repaired
from skfusion.state import Fused, State


class SoupDriver(OneState, BaseFusion):
    """Fuse the weights of a pool, and predict with the result; subclasses name the parameters."""

    _defaults: ClassVar[dict[str, type[Component]]] = {"collect": Seeds, "merge": Greedy, "repair": Recalibrate}
    _fusing: ClassVar[tuple[str, ...]] = ("select", "align", "merge", "repair")

    def _fuse(self, collected: Collected) -> None:
        pool = collected.pool
        pool.check_compatible()
        select, align, merge, repair = (self._part(n) for n in ("select", "align", "merge", "repair"))
        if pool.base is None and (wanting := [p for p in (select, merge) if getattr(p, "needs_base", False)]):
            raise ValueError(
                f"{wanting[0]!r} needs the common start of the members, and the pool has no base. Collect them with "
                "FineTunes(), or name the start of networks that you have: pool.replace(base=state)."
            )
        runner = Runner(collected.net, self._task, collected.fit_rows)
        pool = pool.replace([m.replace(state=runner.place(m.state)) for m in pool])
        if pool.base is not None:
            pool = pool.replace(base=runner.place(pool.base))
        judge = self._judge(runner, collected)
        self.pool_ = collected.pool
        if any(p.needs_labels for p in self._parts()):
            judged = zip(self.pool_, judge.members(pool.states), strict=True)
            predictions = self._outputs.predictions
            self.pool_ = self.pool_.replace([m.replace(predictions=predictions(P), score=s) for m, (P, s) in judged])
        chosen = pool if select is None else select(pool, judge)
        self.symmetry_, self.alignments_ = None, None
        if align is not None:
            chosen, self.symmetry_, self.alignments_ = align_members(align, chosen, collected.fit_rows, runner, judge)
        self.merge_report_: dict[str, Any] = {}
        member_rows = rows_of_members(chosen, collected.fit_rows)
        if merge.needs_objective:
            n_rows = [len(index) for index in member_rows] or [len(collected.fit_rows)] * len(chosen)
            self.merge_report_["n_rows"] = dict(zip(chosen.names, n_rows, strict=True))
        objective = Repaired(judge.with_rows_of_members(member_rows), repair, chosen.states, self.merge_report_)
        self.member_weights_ = None
        if isinstance(merge, LinearMerger):
            weights = merge.coefficients(chosen.states, chosen.base, objective)
            self.member_weights_ = dict(zip(chosen.names, weights, strict=True))
            merged: State | Fused = merge.combine(chosen.states, weights, chosen.base)
        else:
            merged = merge(chosen.states, chosen.base, objective)
            self.member_weights_ = reported_shares(self.merge_report_, chosen.names)
        state, module = merged if isinstance(merged, Fused) else Fused(merged)
        net, members, own_runner = collected.net, chosen.states, runner
        if module is not None:  # of another architecture, in which the members cannot run
            net = nets.with_module(collected.net, module)
            own_runner = Runner(net, self._task, collected.fit_rows)
            members = [state := own_runner.place(state)]
            objective = self._judge(own_runner, collected)
        state = repair(state, members, objective)
        labelled = collected.held_out if self.held_out_ is not None else collected.fit_rows
        warn_if_far_below(state, chosen.states, runner, labelled, self._task, align is not None, own_runner)
        vars(self).update(self._fitted_as({k: v.cpu() for k, v in state.items()}, net))
        self._runner = own_runner

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {"state_": state, "net_": net, "_runner": None}


@template
@dataclass(eq=False, repr=False)
class _Soup(SoupDriver):
    """{Predict} with one network fused from many (a model soup, with the default merger).

    ``fit`` collects members, which trains them, and then fuses them: select, align, merge, repair. Prediction costs one
    network.

    Parameters
    ----------
    {estimator}
    {collect}
    {select}
    {align}
    {merge}
    {repair}
    {validation_fraction}
    {scoring}
    {parallel_training}

    Attributes
    ----------
    pool_ : ModelPool
        The members, with held-out scores and predictions where members are judged.
    {estimator_}
    {state_}
    member_weights_ : dict or None
        Share of each member in the sum, by name, where the merger is a sum; the mean over layers where each layer has
        its own shares, all of which are in ``merge_report_["weights"]``.
    merge_report_ : dict
        What the merger reports, such as the scores that it chose by; where it looks at data, with the number of rows
        for each member as ``n_rows``.
    {alignment_}
    {held_out_}
    {classes_}
    {features_}

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    collect: Any = None
    select: Any = None
    align: Any = None
    merge: Any = None
    repair: Any = None
    validation_fraction: float = 0.2
    scoring: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


_CLASSIFY = """
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import SoupClassifier
    >>> from skfusion.collect import Seeds
    >>> X, y = load_iris(return_X_y=True)
    >>> soup = SoupClassifier(collect=Seeds(2), random_state=0).fit(X, y)
    >>> soup.score(X, y) > 0.9
    True
"""
_REGRESS = """
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import SoupRegressor
    >>> from skfusion.collect import Tail
    >>> from skfusion.merge import Uniform
    >>> X, y = load_diabetes(return_X_y=True)
    >>> soup = SoupRegressor(collect=Tail(), merge=Uniform(), random_state=0).fit(X, y)
    >>> soup.score(X, y) > 0.5
    True
"""


@doc(CLASSIFIER, example=_CLASSIFY)
class SoupClassifier(Classifies, _Soup): ...


@doc(REGRESSOR, example=_REGRESS)
class SoupRegressor(Regresses, _Soup): ...
