"""The driver of estimators that combine members of any kind, by a combiner that learns from out-of-fold predictions."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._rows import Rows, n_rows_of, repetitions
from skfusion.combine import Combiner, Stack, check_takes_weights
from skfusion.data import (
    ALWAYS_SO,
    check_columns_finite,
    check_table,
    class_weights,
    folds,
    outputs_of,
    seeded,
    table_inputs,
    warn_of_unlabelled,
)
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators.support._any_estimator import check_weighable, stream
from skfusion.estimators.support._any_kind import check_gives_probabilities
from skfusion.estimators.support._asked import Ask, asking, milliseconds
from skfusion.estimators.support._cross_fitted import check_time_limit, cross_fitted
from skfusion.estimators.support._named_members import named_classes, prepared, with_codes
from skfusion.estimators.support._task_from_net import AsTheNet, check_class_weight
from skfusion.nets import AnyMembers
from skfusion.pool import Member, ModelPool


class StackDriver(AsTheNet):
    """Fit members on folds and on all rows, and learn to combine them; subclasses say which, and how."""

    cv: Any
    passthrough: bool = False
    time_limit: float | None
    n_jobs: int | None
    random_state: Any
    class_weight: Any = None
    _says_labels: bool = False  # as members do, and no codes of them

    @abstractmethod
    def _listed(self, X: Any) -> list[tuple[str, Any]]:
        """Return the members for some inputs, with their names."""

    @abstractmethod
    def _new_combiner(self) -> Combiner:
        """Return an unfitted combiner."""

    def _drawn_parts(self) -> dict[str, Any]:
        parts = {name: part for name, part in super()._drawn_parts().items() if name != "final_estimator"}
        return parts | {"combine": self._new_combiner()}

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> StackDriver:
        """Fit the members on each fold and on all rows; see :meth:`EnsembleClassifier.fit`.

        Inputs, also of a frame, are passed on to the members as they are, and the rows of one group stay in one fold.
        """
        check_time_limit(self.time_limit)
        deadline = math.inf if self.time_limit is None else time.time() + self.time_limit
        if issparse(X) and not self.__sklearn_tags__().input_tags.sparse:
            raise TypeError("Sparse input is not supported by all members: give X.toarray().")
        listed = self._listed(X)
        *seeds, last = self._seeds(len(listed))
        rows = self._checked(X, y, sample_weight, groups, named_classes(listed))
        check_columns_finite(rows.X)  # before anything is trained, as what follows
        kind = self._network(rows)
        coded = [(name, with_codes(member, getattr(self, "classes_", None))) for name, member in listed]
        members = [
            (name, prepared(self._weighed(m, rows), seed, kind), seed)
            for (name, m), seed in zip(coded, seeds, strict=True)
        ]
        self._check_learning(members, rows)
        splits = [*folds(rows, self.cv, self._task, ALWAYS_SO, getattr(self, "classes_", None))]
        done = cross_fitted(members, rows, splits, self._n_outputs, self.n_jobs, deadline)
        if done.errors and self._task == "classification" and len(np.unique(rows.y)) < 2:
            raise done.errors[0]  # there is nothing to tell apart, as it says
        done.warn(self.time_limit)
        tested = np.concatenate([test for _, test in splits])
        order = np.argsort(tested, kind="stable")  # as the rows came, for meta-learners that depend on it
        kept = [k for k, (name, _) in enumerate(listed) if name in done.names]
        combine = self._new_combiner().among(kept, len(listed))
        self._learn(combine, np.stack(done.predicted)[:, order], rows.take(tested[order]), last, done.fitted)
        self._keep(done.names, done.fitted, [p.dtype for p in done.predicted])
        self.left_out_ = done.left_out
        return self

    def _check_learning(self, members: list[tuple[str, Any, int]], rows: Rows) -> None:
        """Raise where the combiner, or a member, cannot do what it will be asked for."""
        combine = self._new_combiner()
        if not isinstance(combine, Combiner):
            raise TypeError(f"combine must be a Combiner, such as EnsembleSelection(); got {combine!r}.")
        combine.check(self._task)
        weight = repetitions(rows.weight)[1]
        for part in (combine, *combine.get_params().values()):
            if isinstance(part, Stack):
                check_takes_weights(part.final_estimator, rows.class_weight if weight is None else weight)
        self._beside(rows.X)
        for name, member, _ in members:
            if weight is not None:
                check_weighable(member, f"Member {name!r}", "Leave it out or give no weights.")
            check_gives_probabilities(combine, [(name, member)], self._task)

    def _learn(self, combine: Combiner, P: np.ndarray, rows: Rows, seed: int, fitted: list[Any]) -> None:
        ask, n = self._asking(fitted, rows.X), len(rows)
        index, weight = repetitions(rows.weight)  # of all folds at once: their weights have one scale
        P, rows = (P, rows) if index is None else (P[:, index], rows.take(index))
        combine.take_costs(lambda: milliseconds(ask, len(fitted), n))
        with stream(combine, seed):
            combine = seeded(combine, seed)
            weight = weight if combine.by_score else replace(rows, weight=weight).loss_weight
            self.combine_ = combine.fit(P, rows.y, self._task, weight, **self._beside(rows.X))

    def _network(self, rows: Rows) -> Callable[..., Any]:
        """Return what makes an ensemble of one network, whose labels are codes."""
        if not self._is_classifier():
            return EnsembleRegressor
        by_code = rows.class_weight
        return partial(EnsembleClassifier, class_weight=None if by_code is None else dict(enumerate(by_code.tolist())))

    def _weighed(self, member: Any, rows: Rows) -> Any:
        """Return a member that is given to ``fit`` with its weights of classes; one that users list has its own."""
        return member

    def _beside(self, X: Any) -> dict[str, Any]:
        """Return what the meta-learner sees beside the predictions, as an argument of ``Stack``."""
        if not isinstance(self.passthrough, (bool, np.bool_)):
            raise TypeError(f"passthrough must be True or False; got {self.passthrough!r}.")
        if not self.passthrough:
            return {}
        if not isinstance(combine := self._new_combiner(), Stack):
            raise ValueError(
                f"passthrough=True gives a meta-learner X beside the predictions, and {type(combine).__name__} has "
                "none; use combine=Stack(...), or leave it False."
            )
        reason = "passthrough=True gives the meta-learner X beside the predictions"
        if isinstance(X, Mapping) or len(X.shape) != 2:
            kind = "a dict" if isinstance(X, Mapping) else f"shape {X.shape}"
            raise ValueError(f"{reason}, and so X must have two axes; got {kind}. Leave it False for such inputs.")
        try:
            return {"X": X.astype(np.float64) if issparse(X) else np.asarray(X, np.float64)}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{reason}, and not all of it are numbers: {error}. Encode it first.") from error

    def _keep(self, names: list[str], fitted: list[Any], dtypes: list[np.dtype]) -> None:
        weights = self.combine_.member_weights(len(names))
        self.member_weights_ = None if weights is None else dict(zip(names, weights.tolist(), strict=True))
        pools = [getattr(member, "pool_", None) for member in fitted]
        self.pool_ = None
        if all(isinstance(pool, ModelPool) and len(pool) == 1 for pool in pools):
            members = [pool[0].replace(name=name) for name, pool in zip(names, pools, strict=True)]
            columns = [pool.classes for pool in pools]  # codes of labels
            if all(np.array_equal(codes, columns[0]) for codes in columns):
                self.pool_ = ModelPool(members, classes=self.classes_[columns[0]] if self._is_classifier() else None)
        used = self.combine_.narrow(len(names))  # those of weight 0 need not predict
        self.estimators_ = [fitted[i] for i in used]
        self.named_estimators_ = {names[i]: fitted[i] for i in used}
        self._dtypes = [dtypes[i] for i in used]

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

    def _seeds(self, n_members: int) -> list[int]:
        """Return a seed for each member, and one for the combiner."""
        return check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=n_members + 1).tolist()

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self, "combine_")
        return table_inputs(self, X)

    def _predict_logs(self, X: Any) -> None:
        """No logits are known of what members of any kind predict together."""

    def _predict(self, X: Any) -> np.ndarray:
        if self.combine_.lazy:
            return self._driven(X)
        if self._says_labels:  # in a pool, with estimators that were fitted elsewhere
            P = [*self._ready([*self.named_estimators_], self.estimators_).predict(X)]
        else:
            P = [outputs_of(m, X, self._task, self._n_outputs) for m in self.estimators_]
        coarsest = min((p.dtype for p in P), key=lambda dtype: dtype.itemsize)  # claim no more digits than members
        return self.combine_(np.stack(P), **self._beside(X)).astype(coarsest, copy=False)

    def _ready(self, names: Sequence[str], fitted: Sequence[Any]) -> AnyMembers:
        """Return fitted members, which say labels or codes of them, ready to predict."""
        members = [Member(name, estimator=m) for name, m in zip(names, fitted, strict=True)]
        labels = getattr(self, "classes_", None) if self._says_labels else None
        return AnyMembers(members, self._task, self._n_outputs, labels)

    def _asking(self, fitted: Sequence[Any], X: Any) -> Ask:
        if self._says_labels:
            ready = self._ready([str(k) for k in range(len(fitted))], fitted)
            return asking(lambda k, some: ready.predict(some, which=[k])[0], X)
        return asking(lambda k, some: outputs_of(fitted[k], some, self._task, self._n_outputs), X)

    def _driven(self, X: Any) -> np.ndarray:
        """Return the prediction of a combiner that asks members only for the rows that need them."""
        ask, common = self._asking(self.estimators_, X), np.result_type(*self._dtypes)
        combined = self.combine_.drive(
            lambda k, rows: ask(k, rows).astype(common, copy=False), len(self.estimators_), n_rows_of(X)
        )
        return combined.astype(min(self._dtypes, key=lambda dtype: dtype.itemsize), copy=False)
