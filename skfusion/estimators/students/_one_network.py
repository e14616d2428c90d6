"""The driver of students: train one network on rows and on more than their targets, and predict with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator

from skfusion import nets
from skfusion._rows import Rows
from skfusion.estimators._targets import OfNetworks, OneState
from skfusion.nets import Runner


class OneNetwork(OneState, OfNetworks, BaseEstimator):
    """Train a network on rows and on more than their targets, and predict with it."""

    def _train(
        self, rows: Rows, seed: int, soft: Any, on_epoch: Callable[[int, Any], bool | None] | None = None
    ) -> None:
        net = self._sized(self.estimator, rows)
        fitted = nets.fit(net, rows, seed, nets.Watch(on_epoch=on_epoch), soft=soft, verbose=bool(self.verbose))
        self.net_, self.state_, self.history_ = net, nets.state_of(fitted), nets.history_of(fitted)
        self._runner = Runner(net, self._task, rows)
