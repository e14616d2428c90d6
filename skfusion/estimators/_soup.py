"""One network fused from many: model soups, and all other fusions of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from skfusion import nets
from skfusion._caller import warn_caller
from skfusion._component import Component
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._rows import Rows, Task
from skfusion.collect import Seeds
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators._targets import Classifies, OneState, Regresses
from skfusion.estimators.support._alignment import align_members
from skfusion.merge import Greedy, LinearMerger
from skfusion.nets import Judge, Runner, default_score
from skfusion.objective import Objective, Wrapper
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import Fused, State

_MOST = 0.5
"""Share of a member's training rows above which those at hand represent all of them, as in cross-validation."""
_FEWEST, _ROWS, _MEMBERS = 20, 1000, 4
"""Rows below which a score says too little, and the rows and the members that are looked at, at most."""
_SKILL, _KEPT = 0.2, 0.5
"""What members must have learned, so that there is something to lose, and the share of it that must be kept."""


class FarBelowWarning(UserWarning):
    """A merged network scores far below all of its members."""


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
        objective = _Repaired(judge.with_rows_of_members(member_rows), repair, chosen.states, self.merge_report_)
        self.member_weights_ = None
        if isinstance(merge, LinearMerger):
            weights = merge.coefficients(chosen.states, chosen.base, objective)
            self.member_weights_ = dict(zip(chosen.names, weights, strict=True))
            merged: State | Fused = merge.combine(chosen.states, weights, chosen.base)
        else:
            merged = merge(chosen.states, chosen.base, objective)
            self.member_weights_ = reported_shares(self.merge_report_, chosen.names)
        state, module = merged if isinstance(merged, Fused) else Fused(merged)
        net, members, merged_runner = collected.net, chosen.states, runner
        if module is not None:  # of another architecture, in which the members cannot run
            net = nets.with_module(collected.net, module)
            merged_runner = Runner(net, self._task, collected.fit_rows)
            members = [state := merged_runner.place(state)]
            objective = self._judge(merged_runner, collected)
        state = repair(state, members, objective)
        labelled = collected.held_out if self.held_out_ is not None else collected.fit_rows
        warn_if_far_below(state, chosen.states, runner, labelled, self._task, align is not None, merged_runner)
        vars(self).update(self._fitted_as({k: v.cpu() for k, v in state.items()}, net))
        self._runner = merged_runner

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {"state_": state, "net_": net, "_runner": None}


class _Repaired(Wrapper):
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
        if all(len(np.unique(rows.marks[i])) > _MOST * len(m.rows) for i, m in zip(positions, pool, strict=True)):
            return [] if all(np.array_equal(index, positions[0]) for index in positions) else positions
    return []


def reported_shares(report: Mapping[str, Any], names: Sequence[str]) -> dict[str, float] | None:
    """Return the share of each member by name, where a merger reports weights: the mean of those by layer."""
    weights = report.get("weights")
    if weights is None:
        return None
    shares = np.mean([*weights.values()], axis=0) if isinstance(weights, Mapping) else np.asarray(weights)
    return dict(zip(names, shares.tolist(), strict=True))


def warn_if_far_below(
    state: State,
    members: Sequence[State],
    runner: Runner,
    rows: Rows,
    task: Task,
    aligned: bool,
    merged_runner: Runner | None = None,
) -> None:
    """Warn where a merged network has less than half of the skill of its weakest member, by more than chance makes.

    Skill counts from the score of a constant prediction. A few members and rows are looked at.
    """
    if len(members) < 2 or len(rows) < _FEWEST:
        return
    some = rows.take(np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int))
    some_members = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, _MEMBERS).astype(int))]
    score = default_score(task)
    if merged_runner is None or merged_runner is runner:
        merged, *scores = Judge(runner, some, some, score).scores([state, *some_members])
    else:
        (merged,) = Judge(merged_runner, some, some, score).scores([state])
        scores = Judge(runner, some, some, score).scores(some_members)
    trivial = _of_a_constant(some, task)
    lost = min(scores) - trivial
    chance = 3 / np.sqrt(len(some))  # three standard errors of a share, at most
    if not (np.isfinite(scores).all() and lost > max(_SKILL, chance) and not merged - trivial >= _KEPT * lost):
        return
    name, ensemble = ("R2", "EnsembleRegressor") if task == "regression" else ("accuracy", "EnsembleClassifier")
    remedy = "" if aligned else "match their units first (align=WeightMatching()), "
    warn_caller(
        f"The merged network scores {merged:.3g} on {len(some)} rows, and its members {min(scores):.3g} to "
        f"{max(scores):.3g} ({name}), as where barriers lie between members, which is the rule for networks that did "
        f"not start from the same weights. To keep what they have learned, {remedy}merge those that help "
        f"(merge=Greedy()), or combine their predictions ({ensemble}).",
        FarBelowWarning,
    )


def _of_a_constant(rows: Rows, task: Task) -> float:
    """Return the score of the best prediction that is the same for all rows."""
    if task == "regression":
        return 0.0
    _, code = np.unique(rows.y, axis=0, return_inverse=True)
    shares = np.bincount(code.ravel(), rows.weight)
    return float(shares.max() / shares.sum())


@template
@dataclass(eq=False, repr=False)
class _Soup(SoupDriver):
    """{Predict} with one network fused from many (a model soup, with the default merger).

    ``fit`` collects members, which trains them, and fuses them: select, align, merge, repair. Prediction costs one
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
    {class_weight}

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
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, collector="Seeds", merger="Greedy")
class SoupClassifier(Classifies, _Soup):
    class_weight: Any = None


@doc(REGRESSOR, collector="Tail", merger="Uniform")
class SoupRegressor(Regresses, _Soup): ...
