"""Stacked generalisation over networks, or over estimators of any kind (Wolpert, 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import RegressorTags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion.collect import Seeds
from skfusion.combine import Stack
from skfusion.estimators._crossfit import Table, check_members, fit_and_predict, member_tags, outputs_of
from skfusion.estimators._data import check_weight, encode_classes, encode_values
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._folds import folds
from skfusion.estimators._named import NamedMembers
from skfusion.estimators._targets import groups_of, positive
from skfusion.pool import ModelPool
from skfusion.rows import Rows, Task, expansion


def _classifies(self: StackingFusion) -> bool:
    return self._is_classifier()


class StackingFusion(NamedMembers):
    """Learn how to combine networks, or estimators of any kind, from their out-of-fold predictions.

    Whether it classifies or predicts values is told by its members, as in ``GridSearchCV``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network whose seeds are the members. A perceptron for classification when omitted.
    estimators : list of (str, estimator), optional
        The members instead: skorch nets and scikit-learn estimators in any mixture, all of one task.
    n_members : int, default=5
        Seeds of ``estimator``.
    final_estimator : sklearn estimator, optional
        The meta-learner; see :class:`~skfusion.combine.Stack`.
    cv : int, splitter or iterable, default=5
        Folds for the out-of-fold predictions. More make them more like those of the final members.
    n_jobs : int, optional
        Members trained at a time; the result does not depend on it.
    random_state : int or RandomState, optional
        Seed of the members.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted on all rows; networks as ``EnsembleClassifier`` or ``EnsembleRegressor`` of one member.
    named_estimators_ : dict
        The same by name.
    combine_ : Stack
        The fitted combiner.
    pool_ : ModelPool or None
        The members' states, where all members are networks.
    classes_ : ndarray of shape (n_classes,)
        The labels, in classification.

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

    def __init__(
        self,
        estimator: Any = None,
        *,
        estimators: Sequence[tuple[str, Any]] | None = None,
        n_members: int = 5,
        final_estimator: Any = None,
        cv: Any = 5,
        n_jobs: int | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.estimators = estimators
        self.n_members = n_members
        self.final_estimator = final_estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> StackingFusion:
        """Fit the members on each fold and on all rows, and the meta-learner on out-of-fold predictions.

        Parameters
        ----------
        X : array-like, frame or dict of array-like
            Inputs, passed on to the members as they are.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row, for members of any kind.
        groups : array-like of shape (n_samples,), optional
            Rows of one group stay in one fold.

        Returns
        -------
        StackingFusion
            The fitted estimator.
        """
        members = self._members()
        table = self._table(X, y, sample_weight)
        used = slice(None) if table.position is None else table.position
        rows = Rows(
            np.empty((len(table), 0)), table.y, None, groups_of(groups, len(np.asarray(y)), used), table.position
        )
        splits = [*folds(rows, self.cv, self._task)]
        parts = [(table.take(train).expanded(), table.take(test)) for train, test in splits]
        parts.append((table.expanded(), None))
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_and_predict)(member, name, train, test, self._task, self._n_outputs)
            for train, test in parts
            for name, member in members
        )
        n = len(members)
        P = [np.stack([p for _, p in found[i : i + n]]) for i in range(0, len(found) - n, n)]
        self._learn(np.concatenate(P, axis=1), table.take(np.concatenate([test for _, test in splits])))
        self._keep([name for name, _ in members], [fitted for fitted, _ in found[-n:]])
        return self

    def fuse(self, pool: ModelPool, X: Any, y: Any, sample_weight: Any = None) -> StackingFusion:
        """Learn how to combine the members of a pool; no network is trained.

        Parameters
        ----------
        pool : ModelPool
            The members.
        X, y : array-like
            Data that no member was trained on.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights.

        Returns
        -------
        StackingFusion
            The fitted estimator.
        """
        table = self._table(X, y, sample_weight, pool.classes)
        kind = EnsembleClassifier if self._is_classifier() else EnsembleRegressor
        coded = pool if pool.classes is None else pool.replace(classes=np.arange(len(pool.classes)))
        fitted = [kind(self.estimator).fuse(coded[[i]], table.X, table.y, table.weight) for i in range(len(pool))]
        pool.warn_of_leakage(fitted[0]._rows(table.X, table.y, None, None, coded), "to learn how to combine members")
        self._learn(np.stack([outputs_of(member, table.X, self._task, self._n_outputs) for member in fitted]), table)
        self._keep(pool.names, fitted)
        return self

    def _learn(self, P: np.ndarray, table: Table) -> None:
        index, weight = expansion(table.keys, table.weight)  # of all folds at once: their weights have one scale
        P, y = (P, table.y) if index is None else (P[:, index], table.y[index])
        self.combine_ = Stack(self.final_estimator).fit(P, y, self._task, weight)

    def _keep(self, names: list[str], fitted: list[Any]) -> None:
        self.estimators_, self.named_estimators_ = fitted, dict(zip(names, fitted, strict=True))
        pools = [getattr(member, "pool_", None) for member in fitted]
        self.pool_ = None
        if all(isinstance(pool, ModelPool) and len(pool) == 1 for pool in pools):
            members = [pool[0].replace(name=name) for name, pool in zip(names, pools, strict=True)]
            self.pool_ = ModelPool(members, classes=getattr(self, "classes_", None))

    def _table(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Table:
        table = Table.checked(self, X, y, numeric=not self._is_classifier())
        weight = check_weight(sample_weight, len(table))
        if self._is_classifier():
            y, self.classes_, self._task = encode_classes(table.y, weight, classes)
            self._n_outputs = len(self.classes_)
        else:
            self._task: Task = "regression"
            self._flat = table.y.ndim == 1
            y = encode_values(table.y)
            self._n_outputs = y.shape[1]
        return positive(Table(table.X, y, weight))

    def _members(self) -> list[tuple[str, Any]]:
        given = self.estimators
        if given is None:
            if not isinstance(self.n_members, int) or self.n_members < 1:
                raise ValueError(f"n_members must be at least 1; got {self.n_members}.")
            given = [(f"seed-{i}", self.estimator) for i in range(self.n_members)]
        else:
            check_members(given)
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=len(given))
        return [(name, self._seeded(member, int(seed))) for (name, member), seed in zip(given, seeds, strict=True)]

    def _seeded(self, member: Any, seed: int) -> Any:
        """Return a clone whose unset seeds are set; networks become estimators of one member, None of the default."""
        if member is None or nets.is_net(member):
            kind = EnsembleClassifier if self._is_classifier() else EnsembleRegressor
            return kind(None if member is None else clone(member), collect=Seeds(1), random_state=seed)
        member = clone(member)
        params = member.get_params(deep=True)
        unset = [k for k, v in params.items() if (k == "random_state" or k.endswith("__random_state")) and v is None]
        return member.set_params(**dict.fromkeys(unset, seed)) if unset else member

    def _is_classifier(self) -> bool:
        first = self.estimators[0][1] if self.estimators else self.estimator
        return first is None or is_classifier(first) or not is_regressor(first)

    def _predict(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "combine_")
        X = Table.inputs(self, X)
        found = [outputs_of(m, X, self._task, self._n_outputs) for m in self.estimators_]
        coarsest = min((p.dtype for p in found), key=lambda dtype: dtype.itemsize)
        return self.combine_(np.stack(found)).astype(coarsest, copy=False)  # claim no more digits than the members

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : array-like, frame or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, indicators or values.
        """
        found = self._predict(X)
        if self._task == "multilabel":
            return (found > 0.5).astype(np.int64)
        if self._task == "classification":
            return self.classes_[found.argmax(axis=1)]
        return found[:, 0] if self._flat else found.astype(np.float64)

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like, frame or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._predict(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return accuracy, or R2 in regression.

        Parameters
        ----------
        X : array-like, frame or dict of array-like
            Inputs.
        y : array-like
            True targets.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            Higher is better.
        """
        metric = accuracy_score if self._is_classifier() else r2_score
        return float(metric(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse, classes = member_tags(self.estimators, self.estimator)
        if self._is_classifier():
            tags.estimator_type, tags.classifier_tags = "classifier", classes
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
            tags.target_tags.multi_output = True
        return tags
