"""One network fused from many."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._component import Component
from skfusion._rows import unlabelled
from skfusion.collect import Seeds
from skfusion.estimators._base import BaseFusion, Collected
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.support._alignment import align_members
from skfusion.estimators.support._far_below import warn_if_far_below
from skfusion.estimators.support._members import reported_shares, rows_of_members
from skfusion.merge import Greedy, LinearMerger
from skfusion.nets import Runner
from skfusion.repair import Recalibrate, Repaired


class SoupDriver(BaseFusion):
    """Fuse a pool and predict; its subclasses name the parameters."""

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
            found = judge.members(pool.states)
            known = [{"predictions": self._outputs.predictions(p), "score": s} for p, s in found]
            self.pool_ = self.pool_.replace([m.replace(**k) for m, k in zip(self.pool_, known, strict=True)])
        chosen = pool if select is None else select(pool, judge)
        self.symmetry_, self.permutations_ = None, None
        if align is not None:
            chosen, self.symmetry_, self.permutations_ = align_members(align, chosen, collected.fit_rows, runner, judge)
        self.merge_report_: dict[str, Any] = {}
        own = rows_of_members(chosen, collected.fit_rows)
        if merge.needs_objective:
            n_rows = [len(index) for index in own] or [len(collected.fit_rows)] * len(chosen)
            self.merge_report_["n_rows"] = dict(zip(chosen.names, n_rows, strict=True))
        objective = Repaired(judge.with_rows_of_members(own), repair, chosen.states, self.merge_report_)
        self.member_weights_ = None
        if isinstance(merge, LinearMerger):
            weights = merge.coefficients(chosen.states, chosen.base, objective)
            self.member_weights_ = dict(zip(chosen.names, weights, strict=True))
            state = merge.combine(chosen.states, weights, chosen.base)
        else:
            state = merge(chosen.states, chosen.base, objective)
            self.member_weights_ = reported_shares(self.merge_report_, chosen.names)
        state = repair(state, chosen.states, objective)
        labelled = collected.held_out if self.held_out_ is not None else collected.fit_rows
        warn_if_far_below(state, chosen.states, runner, labelled, self._task, align is not None)
        vars(self).update(self._fitted_as({k: v.cpu() for k, v in state.items()}, collected.net))
        self._runner = runner

    def _fitted_as(self, state: Any, net: Any) -> dict[str, Any]:
        return {"state_": state, "net_": net, "_runner": None}

    def _predict(self, X: Any, logs: bool = False) -> np.ndarray:
        if getattr(self, "_runner", None) is None:
            self._runner = Runner(self.net_, self._task, unlabelled(X))
        return self._outputs.predictions(self._runner.predict(self.state_, X, logs))

    def _predict_logs(self, X: Any) -> np.ndarray:
        return self._predict(X, logs=True)

    @property
    def estimator_(self) -> Any:
        """A fitted copy of the net with the fused weights."""
        check_is_fitted(self)
        return nets.restored(self.net_, self.state_, self._labels(), self._outputs.scaling)


class _Soup(SoupDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        collect: Any = None,
        select: Any = None,
        align: Any = None,
        merge: Any = None,
        repair: Any = None,
        validation_fraction: float = 0.2,
        scoring: Any = None,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.collect = collect
        self.select = select
        self.align = align
        self.merge = merge
        self.repair = repair
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


class SoupClassifier(Classifies, _Soup):
    """Classify with one network fused from many.

    ``fit`` collects members (which trains them), then fuses them: select, align, merge, repair. Prediction costs one
    network.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Module classes that take ``n_in`` and ``n_out`` are
        given the sizes of the data.
    collect : Collector or ModelPool, optional
        Where members come from; ``Seeds(5)`` when omitted. With a pool nothing is trained, and the data given to
        ``fit`` judges its members.
    select : Selector, optional
        Which members; all when omitted.
    align : Aligner, optional
        How to bring members into one frame; they stay in their own when omitted. See the guide for when it pays.
    merge : Merger, optional
        How to merge; ``Greedy()`` when omitted, which is never worse on the held-out rows than the best member.
    repair : Repairer, optional
        How to mend the statistics of the merged network; ``Recalibrate()`` when omitted.
    validation_fraction : float, default=0.2
        Share of the rows that is held out, where a component scores; the others train on all rows.
    scoring : str or callable, optional
        The held-out score: accuracy when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the split and of the members.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members, with held-out scores and predictions where members are judged.
    estimator_ : skorch net
        A fitted copy of the net with the fused weights.
    state_ : dict of Tensor
        The fused weights.
    member_weights_ : dict or None
        Share of each member in the sum, by name, where the merger is a sum; the mean over layers where each layer has
        shares of its own, which ``merge_report_["weights"]`` has all.
    merge_report_ : dict
        What the merger found out, such as the scores that it chose by; where it looks at data, with the number of rows
        for each member as ``n_rows``.
    symmetry_ : Symmetry or None
        The units that may change places, where members were aligned.
    permutations_ : dict or None
        By member: where its units went, by group, where members were aligned.
    held_out_ : ndarray of int or None
        Positions of the held-out rows among the rows of positive weight.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import SoupClassifier
    >>> from skfusion.collect import Seeds
    >>> X, y = load_iris(return_X_y=True)
    >>> soup = SoupClassifier(collect=Seeds(2), random_state=0).fit(X, y)
    >>> soup.score(X, y) > 0.9
    True
    """


class SoupRegressor(Regresses, _Soup):
    """Predict values with one network fused from many.

    ``fit`` collects members (which trains them), then fuses them: select, align, merge, repair. Prediction costs one
    network.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Module classes that take ``n_in`` and ``n_out`` are
        given the sizes of the data.
    collect : Collector or ModelPool, optional
        Where members come from; ``Seeds(5)`` when omitted. With a pool nothing is trained, and the data given to
        ``fit`` judges its members.
    select : Selector, optional
        Which members; all when omitted.
    align : Aligner, optional
        How to bring members into one frame; they stay in their own when omitted. See the guide for when it pays.
    merge : Merger, optional
        How to merge; ``Greedy()`` when omitted, which is never worse on the held-out rows than the best member.
    repair : Repairer, optional
        How to mend the statistics of the merged network; ``Recalibrate()`` when omitted.
    validation_fraction : float, default=0.2
        Share of the rows that is held out, where a component scores; the others train on all rows.
    scoring : str or callable, optional
        The held-out score: R2 when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the split and of the members.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members, with held-out scores and predictions where members are judged.
    estimator_ : skorch net
        A fitted copy of the net with the fused weights.
    state_ : dict of Tensor
        The fused weights.
    member_weights_ : dict or None
        Share of each member in the sum, by name, where the merger is a sum; the mean over layers where each layer has
        shares of its own, which ``merge_report_["weights"]`` has all.
    merge_report_ : dict
        What the merger found out, such as the scores that it chose by; where it looks at data, with the number of rows
        for each member as ``n_rows``.
    symmetry_ : Symmetry or None
        The units that may change places, where members were aligned.
    permutations_ : dict or None
        By member: where its units went, by group, where members were aligned.
    held_out_ : ndarray of int or None
        Positions of the held-out rows among the rows of positive weight.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import SoupRegressor
    >>> from skfusion.collect import Tail
    >>> from skfusion.merge import Uniform
    >>> X, y = load_diabetes(return_X_y=True)
    >>> soup = SoupRegressor(collect=Tail(), merge=Uniform(), random_state=0).fit(X, y)
    >>> soup.score(X, y) > 0.5
    True
    """
