"""Stacked generalisation over networks, or over estimators of any kind (Wolpert, 1992)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._docs import AS_THE_NET, doc
from skfusion._rows import Rows, repetitions
from skfusion.combine import Stack, check_takes_weights
from skfusion.data import check_table, class_weights, folds, table_inputs, warn_of_unlabelled
from skfusion.estimators._base import check_pool
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators.support._any_estimator import fit_and_predict, outputs_of, seeded, stream
from skfusion.estimators.support._named_members import (
    NamedMembers,
    check_members,
    member_tags,
    named_classes,
    prepared,
    with_codes,
)
from skfusion.estimators.support._task_from_net import AsTheNet, check_class_weight, regresses
from skfusion.pool import ModelPool


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class StackingFusion(AsTheNet, NamedMembers):
    """Learn how to combine networks, or estimators of any kind, from their out-of-fold predictions.

    Whether it classifies or predicts values follows from its members, as in ``GridSearchCV``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network whose seeds are the members. A perceptron for classification without it and ``estimators``.
    estimators : list of (str, estimator), optional
        The members instead: skorch nets and scikit-learn estimators in any mixture, all of one task. Names are none of
        this class's parameters, and have no ``__`` in them. ``n_members`` is not read then, and ``estimator`` is None.
    n_members : int, default=5
        Seeds of ``estimator``.
    final_estimator : sklearn estimator, optional
        The meta-learner; see :class:`~skfusion.combine.Stack`.
    cv : int, splitter or iterable, default=5
        Folds for the out-of-fold predictions. More make them more like those of the final members. A number keeps equal
        rows, and those of a group, in one fold; a splitter is obeyed as it is.
    passthrough : bool, default=False
        Whether the meta-learner sees the inputs beside the predictions, which takes an X of two axes.
    {n_jobs}
    {random_state}
    class_weight : dict or "balanced", optional
        What a row of each class counts for in the losses of networks and of the meta-learner, in classification, by
        label; see :class:`EnsembleClassifier`. Other members have such parameters of their own.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted on all rows; networks, also at the end of pipelines, as ensembles of one member.
    named_estimators_ : dict
        The same by name.
    combine_ : Stack
        The fitted combiner.
    pool_ : ModelPool or None
        The members' states, where all members are networks, whose ``classes``, if they name them, have one order.
    {classes_}

    Notes
    -----
    On the same folds and with seeded members this is scikit-learn's ``StackingClassifier`` and ``StackingRegressor``. A
    number of folds gives those of scikit-learn where no two rows are equal; where some are, ``StratifiedKFold(5)`` or
    ``KFold(5)`` does, and a member may then predict a row that it was fitted on. In contrast to it, whole weights are
    repetitions, and a class that a fold lacks gets the least score of the row from members without probabilities.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5, 1992, doi:10.1016/S0893-6080(05)80023-1.

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
    """

    estimator: Any = None
    _: KW_ONLY
    estimators: Sequence[tuple[str, Any]] | None = None
    n_members: int = 5
    final_estimator: Any = None
    cv: Any = 5
    passthrough: bool = False
    n_jobs: int | None = None
    random_state: Any = None
    class_weight: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> StackingFusion:
        """Fit the members on each fold and on all rows; see :meth:`EnsembleClassifier.fit`.

        Inputs, also of a frame, are passed on to the members as they are, and the rows of one group stay in one fold.
        """
        listed = self._listed()
        *seeds, last = self._seeds(len(listed))
        rows = self._checked(X, y, sample_weight, groups, named_classes(listed))
        kind = self._network(rows)
        coded = [(name, with_codes(member, getattr(self, "classes_", None))) for name, member in listed]
        members = [(name, prepared(member, seed, kind)) for (name, member), seed in zip(coded, seeds, strict=True)]
        self._beside(rows.X)  # these three raise before anything is trained
        Stack(self.final_estimator).check(self._task)
        check_takes_weights(self.final_estimator, repetitions(rows.weight)[1])
        check_takes_weights(self.final_estimator, rows.class_weight)
        splits = [*folds(rows, self.cv, self._task, labels=getattr(self, "classes_", None))]
        parts = [(rows.take(train), rows.take(test)) for train, test in splits] + [(rows, None)]
        results = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_and_predict)(member, name, train, test, self._n_outputs, seed)
            for train, test in parts
            for (name, member), seed in zip(members, seeds, strict=True)
        )
        n = len(members)
        P = [np.stack([p for _, p in results[i : i + n]]) for i in range(0, len(results) - n, n)]
        tested = np.concatenate([test for _, test in splits])
        order = np.argsort(tested, kind="stable")  # as the rows came, for meta-learners that depend on it
        self._learn(np.concatenate(P, axis=1)[:, order], rows.take(tested[order]), last)
        self._keep([name for name, _ in members], [fitted for fitted, _ in results[-n:]])
        return self

    def fuse(self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None) -> StackingFusion:
        """Learn to combine members, on data that none was trained on; see :meth:`EnsembleClassifier.fuse`."""
        check_pool(pool)
        self._check_estimator()
        rows = self._checked(X, y, sample_weight, None, pool.classes)
        kind = EnsembleClassifier if self._is_classifier() else EnsembleRegressor
        coded = pool
        if pool.classes is not None:
            coded = pool.replace(classes=np.argsort(np.argsort(pool.classes, kind="stable")))
        fitted = [kind(self.estimator).fuse(coded[[i]], rows.X, rows.y, rows.weight) for i in range(len(pool))]
        pool.warn_of_leakage(fitted[0]._rows(rows.X, rows.y, None, None, coded[[0]]), "to learn how to combine members")
        P = np.stack([outputs_of(member, rows.X, self._task, self._n_outputs) for member in fitted])
        self._learn(P, rows, self._seeds(len(pool))[-1])
        self._keep(pool.names, fitted)
        return self

    def _learn(self, P: np.ndarray, rows: Rows, seed: int) -> None:
        index, weight = repetitions(rows.weight)  # of all folds at once: their weights have one scale
        P, rows = (P, rows) if index is None else (P[:, index], rows.take(index))
        meta = None if self.final_estimator is None else seeded(clone(self.final_estimator), seed)
        with stream(meta, seed):
            weight = replace(rows, weight=weight).loss_weight
            self.combine_ = Stack(meta).fit(P, rows.y, self._task, weight, **self._beside(rows.X))

    def _network(self, rows: Rows) -> Callable[..., Any]:
        """Return what makes an ensemble of one network, whose labels are codes."""
        if not self._is_classifier():
            return EnsembleRegressor
        by_code = rows.class_weight
        return partial(EnsembleClassifier, class_weight=None if by_code is None else dict(enumerate(by_code.tolist())))

    def _beside(self, X: Any) -> dict[str, Any]:
        """Return what the meta-learner sees beside the predictions, as an argument of ``Stack``."""
        if not isinstance(self.passthrough, (bool, np.bool_)):
            raise TypeError(f"passthrough must be True or False; got {self.passthrough!r}.")
        if not self.passthrough:
            return {}
        reason = "passthrough=True gives the meta-learner X beside the predictions"
        if isinstance(X, Mapping) or len(X.shape) != 2:
            kind = "a dict" if isinstance(X, Mapping) else f"shape {X.shape}"
            raise ValueError(f"{reason}, and so X must have two axes; got {kind}. Leave it False for such inputs.")
        try:
            return {"X": X.astype(np.float64) if issparse(X) else np.asarray(X, np.float64)}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{reason}, and not all of it are numbers: {error}. Encode it first.") from error

    def _keep(self, names: list[str], fitted: list[Any]) -> None:
        self.estimators_, self.named_estimators_ = fitted, dict(zip(names, fitted, strict=True))
        pools = [getattr(member, "pool_", None) for member in fitted]
        self.pool_ = None
        if all(isinstance(pool, ModelPool) and len(pool) == 1 for pool in pools):
            members = [pool[0].replace(name=name) for name, pool in zip(names, pools, strict=True)]
            columns = [pool.classes for pool in pools]  # codes of labels
            if all(np.array_equal(codes, columns[0]) for codes in columns):
                self.pool_ = ModelPool(members, classes=self.classes_[columns[0]] if self._is_classifier() else None)

    def _checked(self, X: Any, y: Any, sample_weight: Any, groups: Any, classes: Any) -> Rows:
        classify = self._is_classifier()
        check_class_weight(self.class_weight, classify)
        known = None if classes is None else np.sort(classes)  # members may have them in another order
        rows, labels, self._flat = check_table(self, X, y, sample_weight, groups, classify=classify, classes=known)
        self._task = rows.task
        if classify:
            self.classes_ = labels
            if known is None:
                warn_of_unlabelled(labels, rows.y)
            rows = replace(rows, class_weight=class_weights(self.class_weight, rows, labels))
        self._n_outputs = len(labels) if classify else rows.y.shape[1]
        return rows

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

    def _listed(self) -> list[tuple[str, Any]]:
        self._check_estimator()
        if self.estimators is not None:
            check_members(self.estimators)
            self._check_names([name for name, _ in self.estimators])
            return [*self.estimators]
        if not isinstance(self.n_members, Integral) or self.n_members < 1:
            raise ValueError(f"n_members must be at least 1; got {self.n_members!r}. It is a whole number.")
        return [(f"seed-{i}", self.estimator) for i in range(self.n_members)]

    def _seeds(self, n_members: int) -> list[int]:
        """Return a seed for each member, and one for the meta-learner."""
        return check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=n_members + 1).tolist()

    def _is_classifier(self) -> bool:
        first = self.estimators[0][1] if self.estimators else self.estimator
        return not regresses(first)

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self, "combine_")
        return table_inputs(self, X)

    def _predict_logs(self, X: Any) -> None:
        """No logits are known of what a meta-learner predicts."""

    def _predict(self, X: Any) -> np.ndarray:
        P = [outputs_of(m, X, self._task, self._n_outputs) for m in self.estimators_]
        coarsest = min((p.dtype for p in P), key=lambda dtype: dtype.itemsize)  # claim no more digits than members
        return self.combine_(np.stack(P), **self._beside(X)).astype(coarsest, copy=False)

    def _member_tags(self) -> tuple[bool, ClassifierTags]:
        return member_tags([m for _, m in self.estimators] if self.estimators else [self.estimator])

    def _classifier_tags(self) -> ClassifierTags:
        return self._member_tags()[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._member_tags()[0]
        return tags
