"""How far probabilities are from frequencies: expected calibration error and Brier score."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

N_BINS = 15
"""Bins of the expected calibration error, as Guo et al. (2017) and most who came after them have them."""


def expected_calibration_error(
    y: Any, proba: Any, n_bins: int = N_BINS, *, sample_weight: Any = None, labels: Any = None
) -> float:
    r"""Return the expected calibration error (ECE) of the most probable class, of two classes or of many.

    The confidences :math:`\max_c p_c(x)` are sorted into M bins of equal width, of which bin m holds the rows
    :math:`B_m` with a confidence in :math:`((m - 1) / M, m / M]`:

    .. math:: \mathrm{ECE} = \sum_{m=1}^M \frac{|B_m|}{n}\,\bigl|\mathrm{acc}(B_m) - \mathrm{conf}(B_m)\bigr|

    where rows count by their weights.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class codes, the column of ``proba`` that stands for the true class; with ``labels`` the classes themselves.
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.
    n_bins : int, default=15
        Bins M. More show finer faults and are noisier.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the rows.
    labels : array-like of shape (n_classes,), optional
        The class of each column, such as a classifier's ``classes_``.

    Returns
    -------
    float
        From 0 (in each bin, as many are right as the confidence says) to 1.

    Raises
    ------
    ValueError
        If shapes do not match, probabilities are not from 0 to 1, or ``y`` holds a class without a column.

    Notes
    -----
    For few rows it is above 0 also where all probabilities are right, by chance alone: where the confidence in a bin is
    about p, by about :math:`\sqrt{2 p (1 - p) / (\pi |B_m|)}` there. So compare values on the same rows, and read
    small ones beside the log-loss or the Brier score, which have no bins.

    References
    ----------
    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015,
    doi:10.1609/aaai.v29i1.9602. Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> from skfusion.compare import expected_calibration_error
    >>> expected_calibration_error([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    0.275
    """
    y, proba = np.asarray(y), np.asarray(proba, np.float64)
    if proba.ndim != 2 or y.shape != proba.shape[:1] or not len(y):
        raise ValueError(
            f"proba must be of shape (n_samples, n_classes) and y of shape (n_samples,), with at least one row; got "
            f"shapes {proba.shape} and {y.shape}."
        )
    if not isinstance(n_bins, Integral) or n_bins < 1:
        raise ValueError(f"n_bins must be a whole number of at least 1; got {n_bins!r}.")
    slack = 1e-5  # of sums in single precision
    if not ((proba >= -slack) & (proba <= 1 + slack)).all():
        raise ValueError(
            f"proba must hold probabilities, from 0 to 1; it reaches from {proba.min():.3g} to {proba.max():.3g}. Give "
            "what predict_proba returns, not logits."
        )
    codes = _codes(y, proba.shape[1], labels)
    weight = _checked_weight(sample_weight, len(y))
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == codes
    edges = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
    excess = np.bincount(np.searchsorted(edges, confidence), weight * (right - confidence), minlength=n_bins)
    return float(np.abs(excess).sum() / weight.sum())


def _codes(y: np.ndarray, n_classes: int, labels: Any) -> np.ndarray:
    """Return the column of each row's class."""
    classes = range(n_classes) if labels is None else np.asarray(labels).tolist()
    if len(classes) != n_classes:
        raise ValueError(f"There are {len(classes)} labels for {n_classes} columns of proba; give one a column.")
    column = {label: i for i, label in enumerate(classes)}
    if unknown := [label for label in dict.fromkeys(y.tolist()) if label not in column]:
        which = "labels" if labels is not None else f"the class codes 0 to {n_classes - 1}; give labels=classes_"
        raise ValueError(f"y has {unknown[0]!r}, which is none of {which}.")
    return np.array([column[label] for label in y.tolist()])


def _checked_weight(sample_weight: Any, n: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            f"sample_weight must hold {n} finite weights of at least 0, not all of them 0; got shape {weight.shape}."
        )
    return weight


def brier_score(codes: np.ndarray, proba: np.ndarray, *, sample_weight: Any = None) -> float:
    """Return the mean squared distance of probabilities to the truth: over all classes, of two over the second one.

    This is scikit-learn's ``brier_score_loss``, from 0 to 2 where there are more than two classes, and to 1 for two.
    """
    distances = ((proba - np.eye(proba.shape[1])[codes]) ** 2).sum(axis=1)
    mean = np.average(distances, weights=_checked_weight(sample_weight, len(codes)))
    return float(mean / (2 if proba.shape[1] == 2 else 1))


def codes_and_columns(estimator: Any, proba: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the class codes of rows, and what a fitted classifier has predicted for them, a column for each class.

    A class that the classifier was not fitted on has a column of zeros. Labels that do not exclude each other are rows
    of two classes, one for each label of each row.
    """
    if not isinstance(proba, np.ndarray):
        raise TypeError(f"Class probabilities must be one array; {type(estimator).__name__} predicts a list of them.")
    proba, y = proba.astype(np.float64), np.asarray(y)
    if y.ndim == 2 and y.shape == proba.shape:
        positive = proba.ravel()
        return y.ravel().astype(int), np.stack([1 - positive, positive], axis=1)
    classes = np.asarray(estimator.classes_).tolist()
    labels = y.ravel().tolist()
    known = {label: i for i, label in enumerate([*classes, *sorted({*labels} - {*classes})])}
    codes = np.array([known[label] for label in labels])
    return codes, np.pad(proba, ((0, 0), (0, len(known) - proba.shape[1])))
