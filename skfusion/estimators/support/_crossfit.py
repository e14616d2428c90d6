"""Rows of any container, and members of any kind that are fitted and asked on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, get_tags
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skfusion import nets
from skfusion._rows import Task, key_of, one_of, repetitions, row_keys
from skfusion.collect import Seeds
from skfusion.estimators._ensemble import EnsembleClassifier
from skfusion.estimators.support._fill_random_state import seeded
from skfusion.estimators.support._not_numbers import check_no_none
from skfusion.estimators.support._task_from_net import has_tags


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs as the user gave them, with encoded targets and weights.

    Parameters
    ----------
    X : ndarray, DataFrame, sparse array or dict of arrays
        Inputs, whose meaning is the members' business.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    weight : ndarray of shape (n_samples,), optional
        Non-negative weights.
    position : ndarray of int, shape (n_samples,), optional
        Where the rows stood in the data of ``fit``; None when they are all of it.
    """

    X: Any
    y: np.ndarray
    weight: np.ndarray | None = None
    position: np.ndarray | None = None

    @classmethod
    def checked(cls, estimator: BaseEstimator, X: Any, y: Any, numeric: bool) -> Table:
        """Return validated data; ``estimator`` remembers the features."""
        if y is None:
            raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
        check_no_none(y)
        X = cls.inputs(estimator, X, reset=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64 if numeric else None, input_name="y", estimator=estimator)
        check_consistent_length(one_of(X), y)
        return cls(X, y)

    @staticmethod
    def inputs(estimator: BaseEstimator, X: Any, reset: bool = False) -> Any:
        """Return inputs as something that rows can be taken from."""
        if issparse(X):
            X = X.tocsr()
        elif isinstance(X, Mapping):
            X = {k: np.asarray(v) for k, v in X.items()}
            if reset:
                estimator.n_features_in_ = len(X)
            return X
        elif not hasattr(X, "iloc"):
            X = check_array(X, dtype=None, allow_nd=True, ensure_all_finite=False)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row, shape (n_samples,)."""
        return row_keys(self.input_keys, self.y)

    @cached_property
    def input_keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs, shape (n_samples,)."""
        X, nothing = self.X, np.zeros(len(self))
        if issparse(X):
            return row_keys(_sparse_keys(X), nothing)
        if isinstance(X, Mapping) or (isinstance(X, np.ndarray) and X.dtype.kind in "biuf"):
            return row_keys(X, nothing)
        frame = X if hasattr(X, "iloc") else pd.DataFrame(X.reshape(len(X), -1))
        try:
            return row_keys(pd.util.hash_pandas_object(frame, index=False).to_numpy(), nothing)
        except TypeError:  # cells that cannot be hashed can be no numbers either: let numpy say which
            return row_keys(np.asarray(X, np.float64), nothing)

    @property
    def columns(self) -> Any:
        """Inputs as numbers, equal where those of the table are, which is all that folds ask of them.

        Columns of a frame that hold no numbers are the codes of their values; sparse inputs are hashes.
        """
        X = self.X
        if isinstance(X, Mapping) or (isinstance(X, np.ndarray) and X.dtype.kind in "biuf"):
            return X
        if issparse(X):
            return self.input_keys[:, None]
        frame = X if hasattr(X, "iloc") else pd.DataFrame(X.reshape(len(X), -1))
        try:
            return np.column_stack([_numbers(frame.iloc[:, j]) for j in range(frame.shape[1])])
        except TypeError:  # cells that cannot be hashed
            return self.input_keys[:, None]

    def take(self, index: np.ndarray) -> Table:
        """Return the rows at ``index``."""
        if isinstance(self.X, Mapping):
            X: Any = {k: v[index] for k, v in self.X.items()}
        else:
            X = self.X.iloc[index] if hasattr(self.X, "iloc") else self.X[index]
        position = index if self.position is None else self.position[index]
        return Table(X, self.y[index], None if self.weight is None else self.weight[index], position)

    def expanded(self) -> Table:
        """Return the rows with whole-number weights as repetitions, in the order in which they came.

        Estimators of other libraries may depend on the order; networks put repeated rows in one of their own.
        """
        index, weight = repetitions(self.weight)
        if index is None:
            return self
        rows = self.take(index)
        return Table(rows.X, rows.y, weight, rows.position)


def check_members(members: Sequence[tuple[str, Any]]) -> None:
    """Raise an error that names what is wrong with a list of members."""
    pairs = isinstance(members, Sequence) and not isinstance(members, str)
    if not pairs or not all(isinstance(m, tuple) and len(m) == 2 and isinstance(m[0], str) for m in members):
        raise TypeError(f"estimators must be a list of (name, estimator) pairs, [('net', net), ...]; got {members!r}.")
    if not members:
        raise ValueError("estimators is empty: give at least one (name, estimator).")
    for name, member in members:
        if not hasattr(member, "fit") or isinstance(member, type):
            raise TypeError(
                f"Member {name!r} must be an estimator; got {member!r}. To drop it, leave it out of the list."
            )
    first = is_classifier(members[0][1])
    for name, member in members:
        if is_classifier(member) != first:
            own, other = ("a regressor", "a classifier") if first else ("a classifier", "a regressor")
            raise ValueError(f"Member {name!r} is {own}, but the first one is {other}; stack members of one task.")


def prepared(member: Any, seed: int, kind: Any) -> Any:
    """Return a clone whose unset seeds are set.

    A network, also one at the end of a pipeline, becomes an ensemble of one member, which sizes and seeds it; None is
    the default network.

    Parameters
    ----------
    member : estimator or None
        Of any library.
    seed : int
        For all of its parts that have none.
    kind : type
        ``EnsembleClassifier`` or ``EnsembleRegressor``.

    Returns
    -------
    estimator
        Unfitted.
    """
    if member is None or nets.is_net(member):
        return kind(None if member is None else clone(member), collect=Seeds(1), random_state=seed)
    member = clone(member)
    if isinstance(member, Pipeline) and (nets.is_net(member.steps[-1][1]) or isinstance(member.steps[-1][1], Pipeline)):
        name, last = member.steps[-1]
        member.set_params(**{name: prepared(last, seed, kind)})
    return seeded(member, seed)


def outputs_of(fitted: Any, X: Any, task: Task, n_outputs: int, name: str | None = None) -> np.ndarray:
    """Return a member's prediction, shape (n_samples, n_outputs).

    Classifiers give probabilities, or scores where they have none. A class that the member was not fitted on gets
    probability 0, or the least of the scores of the row: scores have no zero that says that a class is out of the
    question, but so the class is never more likely than another one, and the columns keep their scale.

    Parameters
    ----------
    fitted : estimator
        The member.
    X : array-like
        Inputs, as the member takes them.
    task : {"classification", "multilabel", "regression"}
        What is predicted.
    n_outputs : int
        Classes, labels or targets.
    name : str, optional
        The member's, for messages.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        The prediction.
    """
    who = type(fitted).__name__ if name is None else f"Member {name!r}"
    if task == "regression":
        found = np.asarray(fitted.predict(X))
        return found.astype(np.result_type(found, np.float32), copy=False).reshape(-1, n_outputs)
    if task == "multilabel":
        if not hasattr(fitted, "predict_proba"):
            return np.asarray(fitted.predict(X), np.float64)
        found = fitted.predict_proba(X)
        if not isinstance(found, list):
            return np.asarray(found)
        known = getattr(fitted, "classes_", [(0, 1)] * len(found))
        return np.stack([_of_label(p, labels, who) for p, labels in zip(found, known, strict=True)], axis=1)
    codes = np.asarray(fitted.classes_, np.int64)
    if hasattr(fitted, "predict_proba"):
        found = np.asarray(fitted.predict_proba(X))
        out = np.zeros((len(found), n_outputs), found.dtype)
    elif hasattr(fitted, "decision_function"):
        found = _scores(fitted, X, len(codes), who)
        out = np.repeat(found.min(axis=1, keepdims=True), n_outputs, axis=1)
    else:
        found = (np.asarray(fitted.predict(X))[:, None] == codes).astype(np.float64)
        out = np.zeros((len(found), n_outputs))
    out[:, codes] = found
    return out


def member_tags(estimators: Any, net: Any) -> tuple[bool, ClassifierTags]:
    """Return whether all members take sparse inputs, and what kinds of classes all of them take."""
    members = [member for _, member in estimators] if estimators else [net]
    tags = [get_tags(m if has_tags(m) and not nets.is_net(m) else EnsembleClassifier(m)) for m in members]
    kinds = [t.classifier_tags for t in tags if t.classifier_tags]
    every = {kind: all(getattr(k, kind) for k in kinds) for kind in ("multi_class", "multi_label")}
    return all(t.input_tags.sparse for t in tags), ClassifierTags(**every)


def _of_label(p: np.ndarray, labels: Any, who: str) -> np.ndarray:
    """Return the probability of 1 among the probabilities of the values of a label, of which a fold may lack one."""
    if p.shape[1] != len(labels):
        raise ValueError(
            f"{who} gives probabilities of {p.shape[1]} values of a label, and its classes_ do not say of which. Use "
            "another one, or wrap it in MultiOutputClassifier."
        )
    column = np.flatnonzero(np.asarray(labels) == 1)
    return p[:, column[0]] if len(column) else np.zeros(len(p))


def _scores(fitted: Any, X: Any, n_classes: int, who: str) -> np.ndarray:
    """Return a score of each class, shape (n_samples, n_classes)."""
    found = np.asarray(fitted.decision_function(X))
    if found.ndim == 1:
        return np.stack([-found, found], axis=1)
    inner = fitted
    while not hasattr(inner, "decision_function_shape"):
        if isinstance(inner, Pipeline):
            inner = inner.steps[-1][1]
        elif isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        elif hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        else:
            break
    # of three classes there are three pairs too
    if found.shape[1] != n_classes or getattr(inner, "decision_function_shape", None) == "ovo":
        raise ValueError(
            f"{who} gives {found.shape[1]} scores a row for {n_classes} classes: scores of pairs of classes tell of no "
            "class by itself. Give it decision_function_shape='ovr', or wrap it in CalibratedClassifierCV, which gives "
            "probabilities."
        )
    return found


def _numbers(column: pd.Series) -> np.ndarray:
    """Return the values of a column where they are numbers, and codes of them elsewhere."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    return pd.factorize(column)[0].astype(np.float64)


def _sparse_keys(X: Any) -> np.ndarray:
    """Return a number for each row of a sparse array; equal rows have equal ones."""
    X = X.tocsr(copy=True)
    X.sum_duplicates()  # which sorts the indices too
    X.eliminate_zeros()
    indices, data = X.indices.astype(np.int64), X.data.astype(np.float64)
    parts = [slice(a, b) for a, b in pairwise(X.indptr)]
    return np.array([key_of(indices[part].tobytes(), data[part].tobytes()) for part in parts], np.uint64)
