"""Estimators that predict with many networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion.estimators.support._uncertainty import Uncertain


class ManyStates(Uncertain):
    """Predict with each of ``members_``; subclasses say by ``_member_predictions`` how."""

    def predict_members(self, X: Any) -> np.ndarray:
        """Predict with each member that predicts, in the order of ``members_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_outputs)
            Probabilities or values. Members to which a learned combiner gives no weight are left out.
        """
        return self._member_predictions(self._inputs(X))

    @property
    def estimators_(self) -> list[Any]:
        """Fitted copies of the net, one for each member that predicts."""
        check_is_fitted(self)
        return [nets.restored(m.net, m.state, self._labels(), self._outputs.scaling) for m in self.members_]
