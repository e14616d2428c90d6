"""Estimators that predict with one network."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._rows import unlabelled
from skfusion.nets import Runner


class OneState:
    """Predict with the weights ``state_`` in the architecture of ``net_``."""

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
