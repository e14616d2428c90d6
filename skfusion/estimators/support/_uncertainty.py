"""Predictions of many networks, and their uncertainty: entropies and standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr, rel_entr
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._rows import n_rows_of, unlabelled
from skfusion.combine import Average, Combiner, from_logs
from skfusion.estimators.serving._serves import Serves
from skfusion.estimators.support._asked import Ask, asking
from skfusion.estimators.support._conformal import Conformal
from skfusion.nets import Predictors, Runner, on_devices, runners_of
from skfusion.pool import Member
from skfusion.state import State


class Uncertain(Conformal):
    """Predict uncertainty from the predictions of each member; a mixin for estimators with ``predict_members``."""

    @available_if(is_classifier)
    def predict_uncertainty(self, X: Any) -> pd.DataFrame:
        r"""Predict how uncertain the classes are, and why: because classes overlap, or because members disagree.

        .. math::
            H(\bar p) = \sum_k \lambda_k H(p_k) + \sum_k \lambda_k \, \mathrm{KL}(p_k \,\|\, \bar p),
            \qquad \bar p = \sum_k \lambda_k p_k

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.

        Returns
        -------
        DataFrame
            One row a sample, in nats, summed over labels in multi-label problems. ``entropy`` is that of
            ``predict_proba``; ``expected_entropy`` the mean of the members' entropies, which more members do not lower
            (aleatoric); ``mutual_information`` that of the class and the member, which is 0 where all agree and large
            for inputs that differ from those of ``fit`` (epistemic).

        Notes
        -----
        The last two add up to the entropy where the prediction is a weighted mean of the members: with ``Average``,
        ``WeightedAverage``, ``EnsembleSelection``, and ``Calibrated`` with one of these. Members count by the
        combiner's weights, after what it does to each of them, as ``Calibrated`` does. Where it has no weights, or
        others for each row (``Median``, ``Stack``, ``DynamicSelection``, ``DynamicWeighting``), they count equally. In
        these cases, and where it does not combine by the mean (``Vote``, ``GeometricAverage``,
        ``Calibrated(of="ensemble")``), the last two describe the members and not the combined prediction.

        References
        ----------
        Houlsby et al., "Bayesian active learning for classification and preference learning", 2011, arXiv:1112.5745.
        Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning for efficient and risk-sensitive
        learning", ICML 2018, arXiv:1710.07283.
        """
        self._check_probabilities()
        members = self.predict_members(X)
        combiner = self._combiner()
        combined = self._predict(self._inputs(X)) if combiner.by_logs else combiner(members)
        combined = combined.astype(np.float64)
        P, weights = self._weighed(members)
        if self._task == "multilabel":  # each label and its absence are two classes
            P, combined = np.stack([P, 1 - P], axis=-1), np.stack([combined, 1 - combined], axis=-1)
        mean = np.tensordot(weights, P, axes=1)
        rounding = 8 * np.finfo(members.dtype).eps  # the mean is more exact than the prediction in the net's dtype
        axes = tuple(range(1, mean.ndim))
        combined = np.where((np.abs(combined - mean) <= rounding).all(axis=axes, keepdims=True), mean, combined)
        entropies = entr(P).sum(axis=tuple(a + 1 for a in axes))
        divergences = rel_entr(P, mean).sum(axis=tuple(a + 1 for a in axes))
        return pd.DataFrame(
            {
                "entropy": entr(combined).sum(axis=axes),
                "expected_entropy": weights @ entropies,
                "mutual_information": np.maximum(weights @ divergences, 0.0),  # which rounding can make negative
            },
            index=X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None,
        )

    @available_if(is_regressor)
    def predict_std(self, X: Any) -> np.ndarray:
        """Predict the standard deviation of the members' values, how far they disagree; see :meth:`predict_interval`.

        It has the units and the shape of the targets, and their noise is not in it. It has K and not K - 1 in the
        denominator. Members count by the combiner's weights, and equally where it has none, or others for each row.

        References
        ----------
        Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", NeurIPS 2017, arXiv:1612.01474.
        """
        std = self._spread(self._inputs(X))[1]
        return std[:, 0] if self._flat else std

    def _spread(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the prediction for checked inputs, and the members' standard deviation around their mean."""
        members = self._member_predictions(X)
        P, weights = self._weighed(members)
        mean = np.tensordot(weights, P, axes=1)
        return self._combiner()(members).astype(np.float64), np.sqrt(np.tensordot(weights, (P - mean) ** 2, axes=1))

    def _weighed(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the predictions of the members that count, and what each counts for, of sum 1."""
        P, weights = self._combiner().weighed(P)
        used = np.flatnonzero(weights)
        return P[used].astype(np.float64), weights[used] / weights[used].sum()

    def _check_probabilities(self) -> None:
        """Raise where an estimator among the members predicts scores."""
        for member in (m for m in getattr(self, "members_", ()) if not m.is_network):
            if not hasattr(member.estimator, "predict_proba"):
                raise ValueError(
                    f"Member {member.name!r} has no predict_proba, and entropies are of probabilities. Leave it out."
                )

    def _combiner(self) -> Combiner:
        return getattr(self, "combine_", Average())


class ManyStates(Uncertain, Serves):
    """Predict with each of ``members_``, and combine what they predict: by ``combine_``, or by their mean."""

    def _networks(self) -> Sequence[tuple[Any, State]]:
        return [(m.net, m.state) for m in self.members_]

    def predict_members(self, X: Any) -> np.ndarray:
        """Predict with each member that has a weight, shape (n_members, n_samples, n_outputs); see :meth:`fit`."""
        return self._member_predictions(self._inputs(X))

    @property
    def estimators_(self) -> list[Any]:
        """Fitted copies of the net, one for each member that predicts."""
        check_is_fitted(self)
        return [nets.restored(m.net, m.state, self._labels(), self._outputs.scaling) for m in self.members_]

    def _predictor(self, members: list[Member], runners: list[Runner]) -> Any:
        return Predictors(runners, on_devices(members, runners))

    def _made_again(self, X: Any) -> Any:
        return self._predictor(self.members_, runners_of(self.members_, self._task, unlabelled(X)))

    def _member_predictions(self, X: Any, logs: bool = False) -> np.ndarray:
        if getattr(self, "_runner", None) is None:  # as after unpickling
            self._runner = self._made_again(X)
        return self._outputs.predictions(self._runner.predict(X, logs))

    def _predict(self, X: Any) -> np.ndarray:
        combine = self._combiner()
        if combine.lazy:
            return combine.drive(self._asking(X), len(self.members_), n_rows_of(X))
        if combine.by_logs and (logs := self._predict_logs(X)) is not None:
            return from_logs(logs, self._task).astype(self._runner.dtype)
        P = self._member_predictions(X)
        return combine(P).astype(P.dtype, copy=False)

    def _asking(self, X: Any, predictor: Any = None) -> Ask:
        """Return what asks a member, of the fitted ones or of another predictor, for some rows."""
        if predictor is None:
            predictor = self._runner = getattr(self, "_runner", None) or self._made_again(X)
        dtype = getattr(predictor, "dtype", np.float64)  # members of any kind may have different ones

        def predict(k: int, some: Any) -> np.ndarray:
            return self._outputs.predictions(predictor.predict(some, which=[k])[0].astype(dtype, copy=False))

        return asking(predict, X)

    def _predict_logs(self, X: Any) -> np.ndarray | None:
        if self._combiner().lazy:  # which has no logarithms, and asks for fewer predictions than all
            return None
        return self._combiner().of_logs(self._member_predictions(X, logs=True), self._task)
