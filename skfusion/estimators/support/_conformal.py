"""Conformal prediction: intervals and sets of classes that hold new targets with a given probability."""

from __future__ import annotations

from abc import abstractmethod
from math import ceil
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_consistent_length

from skfusion._caller import warn_caller
from skfusion._rows import Rows
from skfusion.data import are_known_by_numbers, check_targets, check_weight, encode_classes, rows_to_judge
from skfusion.pool import MOST_BY_CHANCE, LeakageWarning

_ROUNDING = 1e-12
"""10 * 0.9 is 9, and not a rounding error more."""


class Conformal:
    """Predict sets that are calibrated on rows which nothing was trained on; a mixin for estimators with a pool."""

    @abstractmethod
    def _spread(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the prediction for checked inputs, and the members' standard deviation around their mean."""

    @available_if(is_regressor)
    def predict_interval(
        self, X: Any, X_calibration: Any, y_calibration: Any, coverage: float = 0.9, weight_calibration: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Predict intervals that new targets lie in with a given probability.

        They are wide where members disagree, and are widened by what rows of calibration ask for, on which no member
        was trained (split conformal prediction). For the prediction :math:`f`, the members' standard deviation
        :math:`s` and the normal quantile :math:`z`,

        .. math:: |y - f(x)| \le z\, s(x) + q

        where :math:`q` is the smallest number for which this holds for :math:`\lceil (n + 1) c \rceil` of the n rows
        of calibration, :math:`c` being the coverage.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.
        X_calibration, y_calibration : array-like
            Rows of the same distribution as ``X`` that nothing was trained on. A warning says where members were, or
            where they were chosen or weighed.
        coverage : float, default=0.9
            Probability that a new target lies in its interval. It needs c / (1 - c) rows of calibration: 9 for 0.9, 99
            for 0.99.
        weight_calibration : array-like of shape (n_calibration,), optional
            What each row of calibration counts for where a new row counts 1: repetitions, or how much more frequent
            such rows are among new ones. All count 1 when omitted.

        Returns
        -------
        low, high : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Ends of the intervals; those of several outputs hold for each output separately.

        Raises
        ------
        ValueError
            If the coverage is not between 0 and 1, or takes more rows of calibration.

        Notes
        -----
        The coverage holds on average over draws of the rows, whatever their distribution and however bad the members,
        as long as rows of calibration and new ones are exchangeable. It does not hold for each input separately. One
        member of any kind, or several, will do: ``EnsembleRegressor().fuse(ModelPool.from_estimators([fitted]), X, y)``
        has intervals around what ``fitted`` predicts, all of one width.

        References
        ----------
        Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", Springer, 2005, doi:10.1007/b106715.
        Romano, Patterson and Candès, "Conformalized quantile regression", NeurIPS 2019, arXiv:1905.03222 (which
        widens an interval of the model). Tibshirani, Foygel Barber, Candès and Ramdas, "Conformal prediction under
        covariate shift", NeurIPS 2019, arXiv:1904.06019 (weights).
        """
        _check_coverage(coverage)
        X_calibration = self._inputs(X_calibration)
        center, std = self._spread(X_calibration)
        y = check_array(y_calibration, ensure_2d=False, dtype=np.float64, input_name="y_calibration")
        check_consistent_length(center, y)
        y = y.reshape(len(y), -1)
        if y.shape != center.shape:
            raise ValueError(f"y_calibration has {y.shape[1]} outputs, but y had {center.shape[1]} in fit.")
        self._warn_of_known(rows_to_judge(X_calibration, self._outputs.encoded(y)), "to calibrate intervals")
        z = norm.ppf((1 + coverage) / 2)
        weight = check_weight(weight_calibration, len(y))
        widening = np.array([quantile(excess, weight, coverage) for excess in (np.abs(y - center) - z * std).T])
        center, std = self._spread(self._inputs(X))
        half = np.maximum(z * std + widening, 0.0)
        low, high = center - half, center + half
        return (low[:, 0], high[:, 0]) if self._flat else (low, high)

    @available_if(is_classifier)
    def predict_set(
        self, X: Any, X_calibration: Any, y_calibration: Any, coverage: float = 0.9, weight_calibration: Any = None
    ) -> np.ndarray:
        r"""Predict sets of classes that new labels are among with a given probability.

        A set has the classes that are probable enough, :math:`p_c(x) \ge 1 - q`, and the most probable one. Here
        :math:`q` is the smallest number for which this holds for the true class of :math:`\lceil (n + 1) c \rceil` of
        the n rows of calibration, :math:`c` being the coverage (split conformal prediction).

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.
        X_calibration, y_calibration : array-like
            Rows of the same distribution as ``X`` that nothing was trained on; see :meth:`predict_proba`. A warning
            says where members were, or where they were chosen or weighed.
        coverage : float, default=0.9
            Probability that a new label is in its set. It needs c / (1 - c) rows of calibration: 9 for 0.9, 99 for
            0.99.
        weight_calibration : array-like of shape (n_calibration,), optional
            What each row of calibration counts for where a new row counts 1: repetitions, or how much more frequent
            such rows are among new ones. All count 1 when omitted.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), bool
            Whether each class of ``classes_`` is in the set.

        Raises
        ------
        ValueError
            If the coverage is not between 0 and 1, or takes more rows of calibration, or rows have several labels.

        Notes
        -----
        The coverage holds on average over draws of the rows, whatever their distribution and however bad the members,
        as long as rows of calibration and new ones are exchangeable. It holds neither for each input nor for each class
        separately. Sets of the most probable class alone cover more where the members are right more often than asked.

        References
        ----------
        Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", Springer, 2005, doi:10.1007/b106715.
        Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", Journal of the
        American Statistical Association 114, 2019, doi:10.1080/01621459.2017.1395341. Tibshirani, Foygel Barber, Candès
        and Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019, arXiv:1904.06019 (weights).
        """
        _check_coverage(coverage)
        if self._task == "multilabel":
            raise ValueError("Rows have several labels, and sets of classes are for one a row.")
        X_calibration = self._inputs(X_calibration)
        p = self._predict(X_calibration)
        codes = encode_classes(check_targets(self, p, y_calibration, numeric=False), None, self.classes_)[0]
        self._warn_of_known(rows_to_judge(X_calibration, self._outputs.encoded(codes)), "to calibrate sets")
        missing = 1 - p[np.arange(len(p)), codes].astype(np.float64)
        q = quantile(missing, check_weight(weight_calibration, len(p)), coverage)
        p = self._predict(self._inputs(X)).astype(np.float64)
        chosen: np.ndarray = 1 - p <= q
        chosen[np.arange(len(p)), p.argmax(axis=1)] = True
        return chosen

    def _warn_of_known(self, rows: Rows, purpose: str) -> None:
        """Warn where members were trained on rows, or chosen or weighed by their labels."""
        self.pool_.warn_of_leakage(rows, purpose)
        marks = getattr(self, "_marks_judged", None)
        if marks is None or not are_known_by_numbers(rows):
            return
        count = int(rows.seen(marks, inputs=True).sum())
        if count > MOST_BY_CHANCE * len(rows):
            warn_caller(
                f"{count} of the {len(rows)} rows used {purpose} are rows by which members were chosen or weighed, or "
                "have their inputs, so that the coverage may be less. Keep rows apart for it.",
                LeakageWarning,
            )


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1; got {coverage!r}.")


def quantile(scores: np.ndarray, weight: np.ndarray | None, coverage: float) -> float:
    r"""Return the least score up to which rows of calibration weigh :math:`c (W + 1)`, of which 1 is a new row's.

    Without weights it is the one of rank :math:`\lceil (n + 1) c \rceil`.
    """
    weight = np.ones(len(scores)) if weight is None else weight
    needed = (weight.sum() + 1) * coverage * (1 - _ROUNDING)
    if needed > weight.sum():
        least = ceil(coverage / (1 - coverage) * (1 - _ROUNDING))
        plain = (weight == 1).all()
        raise ValueError(
            f"A coverage of {coverage} takes more than the {len(scores)} rows of calibration that were given"
            f"{'' if plain else f', which weigh {weight.sum():.4g}'}: at least {least}."
        )
    order = np.argsort(scores, kind="stable")
    return float(scores[order][np.searchsorted(np.cumsum(weight[order]), needed)])
