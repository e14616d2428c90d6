"""Targets in, and predictions out: what differs between classifiers and regressors, and how networks code both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._rows import Rows, Task, unlabelled
from skfusion.data import (
    PredictsClasses,
    PredictsValues,
    check_inputs,
    check_weight,
    class_weights,
    classes_of_members,
    encode_classes,
    encode_values,
    groups_of,
    logarithms,
    positive,
    warn_of_unlabelled,
)
from skfusion.estimators.serving._serves import Serves
from skfusion.nets import KeepsNetworks, Runner
from skfusion.pool import ModelPool
from skfusion.state import State

_KEY = "target_scale"


@dataclass(frozen=True, eq=False)
class Outputs:
    """How outputs of networks are read: columns in the order of sorted classes, values in the units of y.

    Networks, pools and rows within an estimator have the order of columns and the scale that networks are trained with.
    What users see, scores and combiners included, goes through here. ``order`` is the column of each class, and a value
    is the output times ``scale`` plus ``shift``, of shape (n_outputs,); None where outputs are read as they are.
    """

    order: np.ndarray | None = None
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of_classes(cls, columns: np.ndarray) -> Outputs:
        """Return how columns are read, of which the classes are given in the order of the columns."""
        order = np.argsort(columns, kind="stable")
        return cls(None if np.array_equal(order, np.arange(len(order))) else order)

    @classmethod
    def of_values(cls, y: np.ndarray, weight: np.ndarray | None, pool: ModelPool | None = None) -> Outputs:
        """Return the scale of networks to be trained on float64 targets, (n_samples, n_outputs), or that of a pool."""
        if pool is not None and not all(m.is_network for m in pool):
            return cls()  # members of any kind are read each in its own units
        scaling = nets.standardising(y, weight)
        if pool is None:
            return cls() if scaling is None else cls(None, *scaling)
        outputs = cls._of_pool(pool)
        if outputs.scale is None and scaling is not None:
            warnings.warn(
                "The mean of the targets is so far from zero for their spread, or they are so large or small, that "
                "networks in float32 cannot tell them well apart, and the members of the pool were trained on them as "
                "they are. Members that EnsembleRegressor trains on such targets learn standardised ones.",
                stacklevel=2,
            )
        return outputs

    @classmethod
    def _of_pool(cls, pool: ModelPool) -> Outputs:
        first, *others = (m.meta.get(_KEY) for m in pool)
        for name, other in zip(pool.names[1:], others, strict=True):
            if other != first:
                raise ValueError(
                    f"Members {pool.names[0]!r} and {name!r} were trained on targets that were standardised in "
                    f"different ways: {first} and {other}. Fuse members of one fit, or combine the predictions of "
                    "these: StackingFusion(net).fuse(pool, X, y)."
                )
        if first is None:
            return cls()
        return cls(shift=np.asarray(first["shift"], np.float64), scale=np.asarray(first["scale"], np.float64))

    @property
    def scaling(self) -> tuple[list[float], list[float]] | None:
        """Shift and scale of values, where there are some."""
        return None if self.shift is None or self.scale is None else (self.shift.tolist(), self.scale.tolist())

    def columns(self, classes: np.ndarray) -> np.ndarray:
        """Return the class of each column, given the sorted classes."""
        return classes if self.order is None else classes[np.argsort(self.order)]

    def predictions(self, P: np.ndarray) -> np.ndarray:
        """Return outputs of networks, shape (..., n_outputs), as users see them."""
        if self.order is not None:
            P = P[..., self.order]
        return P if self.scale is None else P.astype(np.float64) * self.scale + self.shift

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """Return codes of sorted classes, or values, as networks learn them."""
        if self.order is not None:
            return self.order[y]
        return y if self.scale is None else (y - self.shift) / self.scale

    def rows(self, rows: Rows) -> Rows:
        """Return rows with codes of sorted classes, or with values."""
        if self.order is not None:
            by_class = None if rows.class_weight is None else rows.class_weight[self.order]
            return replace(rows, y=np.argsort(self.order)[rows.y], class_weight=by_class)
        return rows if self.scale is None else replace(rows, y=rows.y * self.scale + self.shift)

    def scored(self, score: Callable[[np.ndarray, Rows], float]) -> Callable[[np.ndarray, Rows], float]:
        """Return a score of outputs and rows as networks have them, from one of what users see."""
        if self.order is None and self.scale is None:
            return score
        return lambda P, rows: score(self.predictions(P), self.rows(rows))

    def marked(self, pool: ModelPool) -> ModelPool:
        """Return a pool whose members have the scale in their ``meta``."""
        if (scaling := self.scaling) is None:
            return pool
        meta: Mapping[str, Any] = {_KEY: dict(zip(("shift", "scale"), scaling, strict=True))}
        return pool.replace([m.replace(meta={**m.meta, **meta}) for m in pool])


class OfNetworks(KeepsNetworks):
    """Estimators of networks, of the architecture ``net_`` once they are fitted."""

    _outputs: Outputs = Outputs()

    def _sized(self, net: Any, rows: Rows) -> Any:
        """Return a net, the default one for None, that is sized to the rows."""
        net = nets.default_net(self._task) if net is None else net
        return nets.sized(net, rows, rows.y.shape[1] if self._task == "regression" else len(self._labels()))

    def _validated(self, X: Any, y: Any, pool: ModelPool | None) -> tuple[Any, Any, Any]:
        """Return inputs and targets as arrays, and what rows are compared by that is not their inputs."""
        return (*check_inputs(self, X, y, reset=True), None)

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_inputs(self, X, reset=False)[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")


class Classifies(PredictsClasses):
    """Labels in, probabilities and labels out; ``class_weight`` is None where it is no parameter."""

    class_weight: Any = None

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any, pool: ModelPool | None = None) -> Rows:
        pool = pool if pool is not None else self._given_pool()
        X, y, columns = self._validated(X, y, pool)
        weight = check_weight(sample_weight, len(y))
        named = None if pool is None else classes_of_members(pool)
        named = getattr(self.estimator, "classes", None) if named is None else named
        codes = encode_labels(self, y, weight, named)
        if named is None:
            warn_of_unlabelled(self.classes_, codes)
        rows = positive(Rows(X, codes, weight, groups_of(groups, len(codes)), task=self._task, columns=columns))
        return replace(rows, class_weight=class_weights(self.class_weight, rows, self._labels()))

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
        pool = pool if pool is not None else self._given_pool()
        X, y, columns = self._validated(X, y, pool)
        weight = check_weight(sample_weight, len(y))
        self._task: Task = "regression"
        self._flat = y.ndim == 1
        values = encode_values(y)
        self._outputs = Outputs.of_values(values, weight, pool)
        codes = groups_of(groups, len(y))
        return positive(Rows(X, self._outputs.encoded(values), weight, codes, task=self._task, columns=columns))

    def _labels(self) -> None:
        return None


def encode_labels(estimator: Any, y: np.ndarray, weight: np.ndarray | None, named: Any) -> np.ndarray:
    """Return class codes, and set the task, the classes and the order of a network's outputs on the estimator."""
    codes, columns, estimator._task = encode_classes(y, weight, named)
    estimator._outputs, estimator.classes_ = Outputs.of_classes(columns), np.sort(columns)
    return codes


class OneState(Serves):
    """Predict with the weights ``state_`` in the architecture of ``net_``."""

    def _networks(self) -> Sequence[tuple[Any, State]]:
        return [(self.net_, self.state_)]

    def _predict(self, X: Any, logs: bool = False) -> np.ndarray:
        if getattr(self, "_runner", None) is None:  # as after unpickling
            self._runner = Runner(self.net_, self._task, unlabelled(X))
        return self._outputs.predictions(self._runner.predict(self.state_, X, logs))

    def _predict_logs(self, X: Any) -> np.ndarray:
        return self._predict(X, logs=True)

    @property
    def estimator_(self) -> Any:
        """A fitted copy of the net with the weights ``state_``."""
        check_is_fitted(self)
        return nets.restored(self.net_, self.state_, self._labels(), self._outputs.scaling)
