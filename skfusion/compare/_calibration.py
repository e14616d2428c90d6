"""How well probabilities match frequencies (Naeini et al., 2015; Guo et al., 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np


def expected_calibration_error(y: Any, proba: Any, n_bins: int = 15) -> float:
    r"""Return the expected calibration error of the most probable class.

    The confidences :math:`\max_c p_c(x)` are sorted into M bins of equal width, of which bin m holds the rows
    :math:`B_m` with a confidence in :math:`((m - 1) / M, m / M]`:

    .. math:: \mathrm{ECE} = \sum_{m=1}^M \frac{|B_m|}{n}\,\bigl|\mathrm{acc}(B_m) - \mathrm{conf}(B_m)\bigr|

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class codes: the column of ``proba`` that stands for the true class.
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.
    n_bins : int, default=15
        Bins M. More show finer faults and are noisier.

    Returns
    -------
    float
        From 0 (in each bin, as many are right as the confidence says) to 1.

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
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1; got {n_bins}.")
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    edges = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
    excess = np.bincount(np.searchsorted(edges, confidence), right - confidence, minlength=n_bins)
    return float(np.abs(excess).sum() / len(y))
