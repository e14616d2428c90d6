"""The driver of students: train one network on rows and on more than their targets, and predict with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._rows import Rows
from skfusion.data import check_inputs
from skfusion.estimators._targets import OneState, Outputs
from skfusion.nets import KeepsNetworks, Runner


class OneNetwork(OneState, KeepsNetworks, BaseEstimator):
    """Train a network on rows and on more than their targets, and predict with it."""

    _outputs: Outputs = Outputs()

    def _train(
        self, rows: Rows, seed: int, soft: Any, on_epoch: Callable[[int, Any], bool | None] | None = None
    ) -> None:
        self.net_ = self._sized(rows)
        fitted = nets.fit(self.net_, rows, seed, soft=soft, on_epoch=on_epoch, verbose=bool(self.verbose))
        self.state_, self.history_ = nets.state_of(fitted), nets.history_of(fitted)
        self._runner = Runner(self.net_, self._task, rows)

    def _sized(self, rows: Rows) -> Any:
        net = nets.default_net(self._task) if self.estimator is None else self.estimator
        n_outputs = rows.y.shape[1] if self._task == "regression" else len(self.classes_)
        return nets.sized(net, rows, n_outputs)

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_inputs(self, X, reset=False)[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "state_")
