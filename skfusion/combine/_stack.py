"""Stacking, or stacked generalisation (Wolpert, 1992; Breiman, 1996)."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import hstack, issparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion import nets
from skfusion._rows import Task
from skfusion.combine._base import Combiner


class Stack(Combiner):
    r"""Learn how to combine from predictions for rows that the members were not trained on.

    .. math:: f(x) = g\big(p_1(x), \dots, p_K(x)\big)

    where the meta-learner :math:`g` is fitted on out-of-fold (or held-out) predictions.

    Parameters
    ----------
    final_estimator : sklearn estimator, optional
        The meta-learner. Logistic regression on class probabilities by default, one a label for multi-label
        targets, and least squares with non-negative coefficients for regression (Breiman, 1996). In an ensemble with a
        ``random_state``, every ``random_state`` of it that is None follows from that one. A network is given wrapped,
        as ``EnsembleClassifier(net, collect=Seeds(1))``, which sizes it to the predictions.

    Attributes
    ----------
    final_estimator_ : sklearn estimator
        The fitted meta-learner; its inputs are the members' outputs side by side, n_members * n_outputs columns
        (the first class of a binary problem is left out, as it is one minus the second).

    Notes
    -----
    With out-of-fold predictions every member is trained once a fold and once on all rows. The meta-learner sees the
    members' predictions alone, not the inputs; ``StackingFusion(passthrough=True)`` gives it both.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5, 1992, doi:10.1016/S0893-6080(05)80023-1. Breiman,
    "Stacked regressions", Machine Learning 24, 1996, doi:10.1007/BF00117832.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Stack
    >>> y = np.arange(6.0)
    >>> P = np.stack([y[:, None], np.ones((6, 1))])  # one perfect member, one that says 1
    >>> Stack().fit(P, y[:, None], "regression")(P).ravel().round(6).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    out_of_fold: ClassVar[bool] = True

    def __init__(self, final_estimator: Any = None):
        self.final_estimator = final_estimator

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for a meta-learner of another task; see :meth:`Combiner.check`."""
        if self.final_estimator is not None:
            _check_task(self.final_estimator, task)

    def fit(
        self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None, X: Any = None
    ) -> Stack:
        """Fit the meta-learner; see :meth:`Combiner.fit`. ``X``, where given, stands beside the predictions."""
        self.check(task)
        self.task_: Task = task
        self.n_outputs_ = P.shape[2]
        meta = _default(task) if self.final_estimator is None else clone(self.final_estimator)
        check_takes_weights(meta, sample_weight)
        y = y[:, 0] if task == "regression" and y.shape[1] == 1 else y
        self.constant_ = np.zeros(self.n_outputs_)  # of labels that never vary, and of an only class
        if task == "multilabel":
            self.constant_ = y[0].astype(np.float64)
            self.varied_ = np.flatnonzero((y != y[0]).any(axis=0))
            y = y[:, self.varied_]
        if task != "regression" and (y == y[0]).all():
            self.constant_[y[0].astype(np.intp)] = 1
            self.final_estimator_ = None  # nothing to tell apart
            return self
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        columns = self._columns(P, X)
        with warnings.catch_warnings():
            if task == "multilabel":  # a single label stands in a column, as several do
                warnings.simplefilter("ignore", DataConversionWarning)
            self.final_estimator_ = meta.fit(columns, y, **weights)
        if task == "multilabel":
            self._labels(columns[:1])  # raises now, and not in the first prediction, where it cannot be read
        return self

    def __call__(self, P: np.ndarray, X: Any = None) -> np.ndarray:
        """Return the meta-learner's prediction; see :meth:`Combiner.__call__`."""
        if not hasattr(self, "task_"):
            raise ValueError("Stack must be fitted on out-of-fold predictions before it can combine.")
        n = P.shape[1]
        if self.task_ == "regression":
            return np.asarray(self.final_estimator_.predict(self._columns(P, X))).reshape(n, -1)
        out = np.tile(self.constant_, (n, 1))
        if self.final_estimator_ is not None and self.task_ == "multilabel":
            out[:, self.varied_] = self._labels(self._columns(P, X))
        elif self.final_estimator_ is not None:
            out[:, self.final_estimator_.classes_] = self.final_estimator_.predict_proba(self._columns(P, X))
        return out

    def _labels(self, columns: Any) -> np.ndarray:
        """Return the probabilities of the labels that vary: of one array, or of an array of two columns for each."""
        p, n = self.final_estimator_.predict_proba(columns), len(self.varied_)
        if not isinstance(p, np.ndarray):
            p = np.stack([np.asarray(of_label)[:, 1] for of_label in p], axis=1)
        elif n == 1 and p.ndim == 2 and p.shape[1] == 2:
            p = p[:, 1:]
        if p.shape != (columns.shape[0], n):
            raise ValueError(
                f"predict_proba of the meta-learner {type(self.final_estimator_).__name__} has the shape {p.shape} "
                f"for {columns.shape[0]} rows and {n} labels; use one that gives a column, or an array, for each label."
            )
        return p

    def _columns(self, P: np.ndarray, X: Any = None) -> Any:
        if self.task_ == "classification" and P.shape[2] == 2:
            P = P[:, :, 1:]
        columns = np.concatenate([*P.astype(np.float64)], axis=1)
        if X is None:
            return columns
        return hstack([columns, X]).tocsr() if issparse(X) else np.concatenate([columns, X], axis=1)


def check_takes_weights(meta: Any, weight: np.ndarray | None) -> None:
    """Raise where rows are weighted and the meta-learner takes no weights; None is the default one, which does."""
    if weight is not None and meta is not None and not has_fit_parameter(meta, "sample_weight"):
        raise ValueError(
            f"The meta-learner {type(meta).__name__} takes no sample_weight, but the rows are weighted; use one "
            "that does."
        )


def _check_task(meta: Any, task: Task) -> None:
    name, last = type(meta).__name__, meta
    while isinstance(last, Pipeline) and last.steps:
        last = last.steps[-1][1]
    if nets.is_net(last):
        kind = "EnsembleRegressor" if task == "regression" else "EnsembleClassifier"
        raise ValueError(
            f"The meta-learner {type(last).__name__} is a bare skorch net, which is not sized to the members' "
            "predictions and may not take their dtype. Wrap it, which solves both: "
            f"final_estimator={kind}(net, collect=Seeds(1))."
        )
    if task != "regression" and not hasattr(meta, "predict_proba"):
        raise ValueError(
            f"The meta-learner {name} has no predict_proba, and a classifier's probabilities are "
            "asked for; use one that has, or wrap it in CalibratedClassifierCV."
        )
    if task == "regression" and hasattr(meta, "__sklearn_tags__") and is_classifier(meta):
        raise ValueError(f"The meta-learner {name} is a classifier, and values are asked for; use a regressor.")


def _default(task: Task) -> Any:
    if task == "regression":
        return LinearRegression(positive=True)
    logistic = LogisticRegression(max_iter=1000)
    return MultiOutputClassifier(logistic) if task == "multilabel" else logistic
