"""Stacked generalisation over networks, or over estimators of any kind (Wolpert, 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import ClassifierTags

from skfusion import nets
from skfusion._docs import AS_THE_NET, doc
from skfusion.combine import Combiner, Stack
from skfusion.data import classes_of_members
from skfusion.estimators._base import check_pool
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._stack_driver import StackDriver
from skfusion.estimators.support._any_kind import all_networks, check_fitted_members, predicts_values, tried
from skfusion.estimators.support._named_members import NamedMembers, check_members, member_tags
from skfusion.estimators.support._task_from_net import regresses
from skfusion.pool import ModelPool


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class StackingFusion(StackDriver, NamedMembers):
    """Learn how to combine networks, or estimators of any kind, from their out-of-fold predictions.

    Whether it classifies or predicts values follows from its members, as in ``GridSearchCV``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network whose seeds are the members. The one for tables, for classification, without it and ``estimators``.
    estimators : list of (str, estimator), optional
        The members instead: skorch nets and scikit-learn estimators in any mixture, all of one task. Names are none of
        this class's parameters, and have no ``__`` in them. ``n_members`` is not read then, and ``estimator`` is None.
    n_members : int, default=5
        Seeds of ``estimator``.
    final_estimator : sklearn estimator, optional
        The meta-learner, as the short form of ``combine=Stack(final_estimator)``; see :class:`~skfusion.combine.Stack`.
    combine : Combiner, optional
        How to combine predictions, learned from those out of fold, such as ``EnsembleSelection()`` (Caruana),
        ``WeightedAverage()`` or ``Calibrated(EnsembleSelection())``; ``Stack()`` when omitted. But for ``Stack()``, all
        members of a classification need probabilities.
    cv : int, splitter or iterable, default=5
        Folds for the out-of-fold predictions. More make them more like those of the final members. A number keeps equal
        rows, and those of a group, in one fold, and shuffles, since tables are often sorted; a splitter is obeyed as it
        is.
    passthrough : bool, default=False
        Whether the meta-learner sees the inputs beside the predictions, which takes an X of two axes.
    time_limit : float, optional
        Seconds after which no fit begins. One that has begun is finished, so that ``fit`` takes longer by up to one
        fit of a member and what the combiner takes. Members are trained in their order, each on all folds and all rows;
        those that are not finished are left out, with a warning, but the first is always trained. No limit when
        omitted.
    {n_jobs}
    {random_state}
    class_weight : dict or "balanced", optional
        What a row of each class counts for in the losses of networks and of the meta-learner, in classification, by
        label; see :class:`EnsembleClassifier`. Members of other libraries get it as weights of rows, if they take
        these; estimators of this library that are listed have the parameter of their own.

    Attributes
    ----------
    estimators_ : list of estimators
        The members that are combined, fitted on all rows; networks, also at the end of pipelines, as ensembles of one
        member. Those that the combiner gives no weight are not among them.
    named_estimators_ : dict
        The same by name.
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        The weight that the combiner gives to each finished member, by name, of sum one, zeros too. None where members
        have no weights, as with ``Stack()``.
    left_out_ : dict
        Why members are left out, by name: an error in one of their fits, or ``"time_limit"``.
    pool_ : ModelPool or None
        The members' states, where all members are networks, whose ``classes``, if they name them, have one order.
    {classes_}

    Notes
    -----
    On the same folds and with seeded members this is scikit-learn's ``StackingClassifier`` and ``StackingRegressor``.
    Their folds are those of ``StratifiedKFold(5)`` and ``KFold(5)``, which do not shuffle: of a sorted table each
    member then predicts a part that lies beyond what it was fitted on; and a member may predict a row whose copy it was
    fitted on. In contrast to them, whole weights are repetitions, and a class that a fold lacks gets the least score of
    the row from members without probabilities.

    A member that fails in a fold or on all rows, or predicts NaN, is left out with a warning; where none is left, the
    error of the first one is raised. With a ``time_limit``, results depend on how fast the machine is only in which
    members are finished.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5, 1992, doi:10.1016/S0893-6080(05)80023-1. Caruana et al.,
    "Ensemble selection from libraries of models", ICML 2004, doi:10.1145/1015330.1015432.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skfusion import StackingFusion
    >>> from skfusion.nets import mlp_regressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> stack = StackingFusion(
    ...     estimators=[("net", mlp_regressor()), ("ridge", Ridge())], cv=3, random_state=0
    ... )
    >>> stack.fit(X, y).score(X, y) > 0.4
    True

    A network and boosted trees, by ensemble selection:

    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from skfusion.combine import EnsembleSelection
    >>> members = [("net", mlp_regressor()), ("boosting", HistGradientBoostingRegressor())]
    >>> stack = StackingFusion(estimators=members, combine=EnsembleSelection(), random_state=0)
    >>> sum(stack.fit(X, y).member_weights_.values())
    1.0
    """

    estimator: Any = None
    _: KW_ONLY
    estimators: Sequence[tuple[str, Any]] | None = None
    n_members: int = 5
    final_estimator: Any = None
    combine: Any = None
    cv: Any = 5
    passthrough: bool = False
    time_limit: float | None = None
    n_jobs: int | None = None
    random_state: Any = None
    class_weight: Any = None

    def fuse(self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None) -> StackingFusion:
        """Learn to combine members, on data that none was trained on; see :meth:`EnsembleClassifier.fuse`.

        Without ``estimator`` and ``estimators``, whether values or classes are predicted follows from the pool.
        """
        check_pool(pool, takes_estimators=True)
        self._check_estimator()
        self._pool_regresses = predicts_values(pool)
        rows = self._checked(X, y, sample_weight, None, classes_of_members(pool))
        kind = (EnsembleClassifier if self._is_classifier() else EnsembleRegressor)(self.estimator)
        self._says_labels = not all_networks(pool)  # as estimators do, which are no codes
        coded, y = pool, rows.y
        if self._says_labels and self._task == "classification":
            y = self.classes_[y]
        elif pool.classes is not None:
            coded = pool.replace(classes=np.argsort(np.argsort(pool.classes, kind="stable")))
        seen = kind._rows(rows.X, y, None, None, coded if self._says_labels else coded[[0]])
        pool.warn_of_leakage(seen, "to learn how to combine members")
        fitted = [
            clone(kind).fuse(coded[[i]], rows.X, y, rows.weight) if m.is_network else m.estimator
            for i, m in enumerate(pool)
        ]
        labels = self.classes_ if self._says_labels and self._task == "classification" else None
        check_fitted_members(self._new_combiner(), zip(pool.names, fitted, strict=True), self._task, labels)
        ready = self._ready(pool.names, fitted)
        places, P, self.left_out_ = tried(ready, rows.X)
        fitted = [fitted[k] for k in places]
        combine = self._new_combiner().among(places, len(pool))
        self._learn(combine, P, rows, self._seeds(len(pool))[-1], fitted)
        self._keep([pool.names[k] for k in places], fitted, [P.dtype] * len(fitted))
        self.pool_ = pool if self._says_labels else self.pool_
        return self

    def _new_combiner(self) -> Combiner:
        if self.combine is None:
            return Stack(None if self.final_estimator is None else clone(self.final_estimator))
        if self.final_estimator is not None:
            raise ValueError(
                "Give combine or final_estimator, not both: final_estimator=... is short for combine=Stack(...)."
            )
        return clone(self.combine, safe=False)  # what is no combiner is refused by the driver

    def _check_estimator(self) -> None:
        if self.estimator is None:
            return
        if self.estimators is not None:
            raise ValueError(
                "Give estimator or estimators, not both: the members are n_members seeds of estimator, or those that "
                "are listed in estimators."
            )
        if not hasattr(self.estimator, "fit") or isinstance(self.estimator, type):
            raise nets.no_net(self.estimator)

    def _listed(self, X: Any) -> list[tuple[str, Any]]:
        self._check_estimator()
        self._pool_regresses = self._says_labels = False
        if self.estimators is not None:
            check_members(self.estimators)
            self._check_names([name for name, _ in self.estimators])
            return [*self.estimators]
        if not isinstance(self.n_members, Integral) or self.n_members < 1:
            raise ValueError(f"n_members must be at least 1; got {self.n_members!r}. It is a whole number.")
        return [(f"seed-{i}", self.estimator) for i in range(self.n_members)]

    def _is_classifier(self) -> bool:
        first = self.estimators[0][1] if self.estimators else self.estimator
        return not (getattr(self, "_pool_regresses", False) if first is None else regresses(first))

    def _member_tags(self) -> tuple[bool, ClassifierTags]:
        return member_tags([m for _, m in self.estimators] if self.estimators else [self.estimator])

    def _classifier_tags(self) -> ClassifierTags:
        return self._member_tags()[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._member_tags()[0]
        return tags
