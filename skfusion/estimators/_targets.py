"""The difference between classifiers and regressors: targets in, and predictions out."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.data import (
    PredictsClasses,
    PredictsValues,
    check_inputs,
    check_weight,
    encode_classes,
    encode_values,
    groups_of,
    logarithms,
    positive,
    warn_of_unlabelled,
)
from skfusion.estimators.support._outputs import Outputs
from skfusion.pool import ModelPool


class Classifies(PredictsClasses):
    """Labels in, probabilities and labels out."""

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any, pool: ModelPool | None = None) -> Rows:
        X, y = check_inputs(self, X, y, reset=True)
        weight = check_weight(sample_weight, len(y))
        pool = pool if pool is not None else self._given_pool()
        named = getattr(self.estimator, "classes", None) if pool is None or pool.classes is None else pool.classes
        codes = encode_labels(self, y, weight, named)
        if named is None:
            warn_of_unlabelled(self.classes_, codes)
        return positive(Rows(X, codes, weight, groups_of(groups, len(codes)), task=self._task))

    def _labels(self) -> np.ndarray:
        """Return the class of each column of a network's output."""
        return self._outputs.columns(self.classes_)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of class probabilities; see :meth:`predict_proba`.

        They are float64. One network, and plain or geometric averages of networks, compute them from logits, also where
        a probability is too small for its dtype; others give -inf there.
        """
        X = self._inputs(X)
        logs = self._predict_logs(X)
        if logs is None:
            return logarithms(self._predict(X))
        if self._task == "multilabel":
            logs = -np.logaddexp(0.0, -logs)
        return np.where(np.exp(logs).astype(np.float32) == 1, 0.0, logs)  # as scikit-learn's checks have it

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        net = self.estimator
        tags.classifier_tags.multi_label = not (nets.is_net(net) and nets.exclusive(net))
        tags.classifier_tags.multi_class = not (nets.is_net(net) and nets.two_classes(net))
        return tags


class Regresses(PredictsValues):
    """Values in, values out."""

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any, pool: ModelPool | None = None) -> Rows:
        X, y = check_inputs(self, X, y, reset=True)
        weight = check_weight(sample_weight, len(y))
        self._task: Task = "regression"
        self._flat = y.ndim == 1
        values = encode_values(y)
        self._outputs = Outputs.of_values(values, weight, pool if pool is not None else self._given_pool())
        codes = groups_of(groups, len(y))
        return positive(Rows(X, self._outputs.encoded(values), weight, codes, task=self._task))

    def _labels(self) -> None:
        return None


def encode_labels(estimator: Any, y: np.ndarray, weight: np.ndarray | None, named: Any) -> np.ndarray:
    """Return class codes, and set the task, the classes and the order of a network's outputs on the estimator."""
    codes, columns, estimator._task = encode_classes(y, weight, named)
    estimator._outputs, estimator.classes_ = Outputs.of_classes(columns), np.sort(columns)
    return codes
