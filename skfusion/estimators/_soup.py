"""One network fused from many: model soups, and all other fusions of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from skfusion import nets
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._keys import distinct
from skfusion._rows import Rows
from skfusion.collect import Seeds, Tail
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators._targets import Classifies, OneState, Regresses
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._far_below import warn_if_far_below
from skfusion.estimators.support._refit import chosen_among, shares_again, with_scores_of
from skfusion.estimators.support._widths import check_widths, differ_in_width
from skfusion.merge import Greedy, LinearMerger, Merger
from skfusion.nets import Judge, Runner
from skfusion.objective import Objective, Wrapper
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import Fused, State

_MOST = 0.5
"""Share of a member's training rows above which those at hand represent all of them, as in cross-validation."""


class SoupDriver(OneState, BaseFusion):
    """Fuse the weights of a pool, and predict with the result; subclasses name the parameters."""

    _defaults: ClassVar[dict[str, Any]] = {"merge": Greedy, "repair": Recalibrate}
    _fusing: ClassVar[tuple[str, ...]] = ("select", "align", "merge", "repair")

    def _part(self, name: str) -> Any:
        part = super()._part(name)
        if name == "collect" and part is None:  # states of one run are aligned already
            return Tail(lr="net") if self._part("align") is None else Seeds()
        return part

    def _check_parts(self) -> None:
        super()._check_parts()
        if self.refit and not getattr(self._part("merge"), "is_repeatable", True):
            raise ValueError(
                f"refit=True merges again as {self._part('merge')!r} has chosen on held-out rows, which it cannot: "
                "give it a method repeated(), take a merger such as Greedy() or Learned(), or refit=False."
            )

    def _fuse(self, collected: Collected) -> None:
        pool, judge = self._placed(collected)
        self.pool_ = collected.pool
        if any(p.needs_labels for p in self._parts()):
            judged = zip(self.pool_, judge.members(pool.states), strict=True)
            predictions = self._outputs.predictions
            self.pool_ = self.pool_.replace([m.replace(predictions=predictions(P), score=s) for m, (P, s) in judged])
        select = self._part("select")
        chosen = pool if select is None else select(pool, judge)
        self.merge_report_: dict[str, Any] = {}
        self._merge(collected, chosen, judge)
        if collected.again is not None:
            again = collected.again()
            pool, judge = self._placed(again)
            self.pool_, names = with_scores_of(self.pool_, again.pool), chosen.names
            if isinstance(self._part("merge"), LinearMerger):
                self.member_weights_ = shares_again(self.member_weights_, pool.names)
                names = [*self.member_weights_]
            self._merge(again, chosen_among(pool, names), judge, refit=True)

    def _placed(self, collected: Collected) -> tuple[ModelPool, Judge]:
        """Return the members as the net runs them, and what judges them."""
        pool = collected.pool
        any_width = check_widths(pool, self._part("align"), self._part("merge"), self._parts())
        parts = self._part("select"), self._part("merge")
        if pool.base is None and (wanting := [p for p in parts if getattr(p, "needs_base", False)]):
            raise ValueError(
                f"{wanting[0]!r} needs the common start of the members, and the pool has no base. Collect them with "
                "FineTunes(), or name the start of networks that you have: pool.replace(base=state)."
            )
        runner = Runner(collected.net, self._task, collected.fit_rows)
        if any_width and self._part("align") is not None:
            runner.place(pool[0].state)  # with which the others are aligned
        place = runner.on_device if any_width else runner.place
        pool = pool.replace([m.replace(state=place(m.state)) for m in pool])
        if pool.base is not None:
            pool = pool.replace(base=runner.place(pool.base))
        return pool, self._judge(runner, collected)

    def _merge(self, collected: Collected, chosen: ModelPool, judge: Judge, refit: bool = False) -> None:
        """Align and merge members, for a refit as was chosen before, and predict with the result."""
        align, merge, repair, runner = self._part("align"), self._part("merge"), self._part("repair"), judge.runner
        self.symmetry_, self.alignments_ = None, None
        if align is not None:
            chosen, self.symmetry_, self.alignments_ = align_members(align, chosen, collected.fit_rows, runner, judge)
        report: dict[str, Any] = {} if refit else self.merge_report_
        member_rows = rows_of_members(chosen, collected.fit_rows)
        if merge.needs_objective:
            n_rows = [len(index) for index in member_rows] or [len(collected.fit_rows)] * len(chosen)
            report["n_rows"] = dict(zip(chosen.names, n_rows, strict=True))
        # Statistics of others are averages, too, and have to be estimated also where such a member is the result.
        members = [m.state for m in chosen if not m.meta.get("averaged_statistics")]
        objective = Repaired(judge.with_rows_of_members(member_rows), repair, members, report)
        merged = self._again(chosen, objective) if refit else self._merged(chosen, objective)
        state, module = merged if isinstance(merged, Fused) else Fused(merged)
        net, merged_runner = collected.net, runner
        if module is not None:  # of another architecture, in which the members cannot run
            net = nets.with_module(collected.net, module)
            merged_runner = Runner(net, self._task, collected.fit_rows)
            members = [state := merged_runner.place(state)]
            objective = self._judge(merged_runner, collected)
        elif differ_in_width(members):
            members = [state]
        state = repair(state, members, objective)
        labelled = collected.held_out if self.held_out_ is not None else collected.fit_rows
        warn_if_far_below(state, chosen.states, runner, labelled, self._task, align is not None, merge, merged_runner)
        vars(self).update(self._fitted_as({k: v.cpu() for k, v in state.items()}, net))
        self._runner = merged_runner

    def _merged(self, chosen: ModelPool, objective: Objective) -> State | Fused:
        """Return what the merger makes of the members, and keep their shares."""
        merge = self._merger_of(chosen)
        if isinstance(merge, LinearMerger):
            weights = merge.coefficients(chosen.states, chosen.base, objective)
            self.member_weights_ = dict(zip(chosen.names, weights, strict=True))
            return merge.combine(chosen.states, weights, chosen.base)
        merged: State | Fused = merge(chosen.states, chosen.base, objective)
        self.member_weights_ = reported_shares(self.merge_report_, chosen.names)
        return merged

    def _again(self, chosen: ModelPool, objective: Objective) -> State | Fused:
        """Return what the merger makes of members that were trained again, as it has chosen before."""
        merge, known = self._merger_of(chosen), self.merge_report_
        if isinstance(merge, LinearMerger) and self.member_weights_ is not None:
            known = {**known, "weights": [self.member_weights_[name] for name in chosen.names]}
        merged: State | Fused = merge.repeated(known)(chosen.states, chosen.base, objective)
        return merged

    def _merger_of(self, chosen: ModelPool) -> Merger:
        """Return the merger, which may ask what is known of the members, such as when a snapshot was taken."""
        merge: Merger = self._part("merge")
        return merge.for_members([m.meta for m in chosen])

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {"state_": state, "net_": net, "_runner": None}


class Repaired(Wrapper):
    """An objective that judges states as they are once they are repaired; it keeps what methods report in a dict."""

    def __init__(self, objective: Objective, repair: Repairer, members: Sequence[State], reported: dict[str, Any]):
        super().__init__(objective)
        self._repair, self._members, self._reported = repair, members, reported

    def judged(self, state: State) -> State:
        return self._repair(self.whole(state), self._members, self.objective)

    def report(self, name: str, value: Any) -> None:
        self._reported[name] = value


def rows_of_members(pool: ModelPool, rows: Rows) -> list[np.ndarray]:
    """Return which of the rows each member was trained on; nothing where all rows are for all members.

    That is where members were trained on the same rows, or where most training rows of some member are not among the
    rows, or unknown: a few that are, by chance or in a fresh sample, say less of the member than all rows do. Rows are
    known by their inputs where their targets are others, as those of a net whose classes have other codes.
    """
    if any(m.rows is None for m in pool):
        return []
    for by_inputs in (False, True):
        positions = [np.flatnonzero(rows.seen(m.rows, by_inputs)) for m in pool]
        if all(len(distinct(rows.marks[i])) > _MOST * len(m.rows) for i, m in zip(positions, pool, strict=True)):
            return [] if all(np.array_equal(index, positions[0]) for index in positions) else positions
    return []


def reported_shares(report: Mapping[str, Any], names: Sequence[str]) -> dict[str, float] | None:
    """Return the share of each member by name, where a merger reports weights: the mean of those by layer."""
    weights = report.get("weights")
    if weights is None:
        return None
    shares = np.mean([*weights.values()], axis=0) if isinstance(weights, Mapping) else np.asarray(weights)
    return dict(zip(names, shares.tolist(), strict=True))


@template
@dataclass(eq=False, repr=False)
class _Soup(SoupDriver):
    """{Predict} with one network fused from many (a model soup, with the default merger).

    ``fit`` collects members, which trains them, and fuses them: select, align, merge, repair. Prediction costs one
    network.

    Parameters
    ----------
    {estimator}
    collect : Collector or ModelPool, optional
        Where members come from. When omitted, they are the checkpoints of the last quarter of one training under the
        net's own schedule, ``Tail(lr="net")``, which can be averaged; with ``align``, five networks that were trained
        apart, ``Seeds(5)``. With a pool nothing is trained, and the data given to ``fit`` judge its members.
    {select}
    {align}
    {merge}
    {repair}
    {validation_fraction}
    {scoring}
    {refit}
    {parallel_training}
    {class_weight}

    Attributes
    ----------
    pool_ : ModelPool
        The members, with held-out scores and predictions where members are judged: with ``refit``, those that members
        of the same names had before.
    {estimator_}
    {state_}
    member_weights_ : dict or None
        Share of each member in the sum, by name, where the merger is a sum; the mean over layers where each layer has
        its own shares, all of which are in ``merge_report_["weights"]``.
    merge_report_ : dict
        What the merger reports, such as the scores that it chose by; where it looks at data, also ``n_rows`` by member.
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
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> from skfusion.collect import {collector}
    >>> from skfusion.merge import {merger}
    >>> X, y = {load}(return_X_y=True)
    >>> soup = {name}(collect={collector}(), merge={merger}(), random_state=0).fit(X, y)
    >>> soup.score(X, y) > {least}
    True
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
    refit: bool = False
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, collector="Tail", merger="Greedy")
class SoupClassifier(Classifies, _Soup):
    class_weight: Any = None


@doc(REGRESSOR, collector="Tail", merger="Uniform")
class SoupRegressor(Regresses, _Soup): ...
