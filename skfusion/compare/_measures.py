"""Measures of a fitted fusion beside its scores: calibration (Naeini et al., 2015; Guo et al., 2017), time and size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import log_loss
from torch import Tensor

from skfusion.collect import Seeds
from skfusion.estimators import EnsembleClassifier, StackingFusion
from skfusion.estimators.support import split_pipeline
from skfusion.nets import mlp_classifier
from skfusion.state import n_bytes, n_parameters

REPEATS = 5
"""Timed predictions, of which the median counts."""


@cache
def warm_up(device: str) -> None:
    """Train and run two small networks, so that no fusion is charged for the imports of the first one of a process."""
    net = mlp_classifier(max_epochs=1, module__hidden=(2,), device=device)
    X, y = np.random.RandomState(0).randn(8, 2).astype(np.float32), np.arange(8) % 2
    EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(X, y).predict(X)


def device_of(estimator: Any) -> str | None:
    """Return where the networks of a fusion are trained; None where it is none of this library."""
    last = split_pipeline(estimator)[1]
    device = getattr(getattr(last, "estimator", None), "device", None) or "cpu"
    return str(device) if type(last).__module__.startswith("skfusion.") else None


def calibration(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Return log-loss and expected calibration error, over all labels in multi-label problems, or NaN."""
    unknown = {"log_loss": float("nan"), "ece": float("nan")}
    if not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        return unknown
    proba, y = estimator.predict_proba(X), np.asarray(y)
    if not isinstance(proba, np.ndarray):
        return unknown
    if y.ndim == 2 and y.shape[1] > 1:
        positive = proba.astype(np.float64).ravel()
        proba, codes, n_classes = np.stack([1 - positive, positive], axis=1), y.ravel().astype(int), 2
    else:
        classes = list(estimator.classes_)
        classes += [label for label in np.unique(y) if label not in classes]  # that the training rows lack
        place = {label: i for i, label in enumerate(classes)}
        codes, n_classes = np.array([place[label] for label in y.ravel()]), len(classes)
        proba = np.pad(proba.astype(np.float64), ((0, 0), (0, n_classes - proba.shape[1])))
    tiny = np.finfo(np.float32).eps
    clipped = np.clip(proba, tiny, 1.0)
    loss = log_loss(codes, clipped / clipped.sum(axis=1, keepdims=True), labels=np.arange(n_classes))
    return {"log_loss": float(loss), "ece": expected_calibration_error(codes, proba)}


def microseconds_a_row(estimator: Any, X: Any, n: int) -> float:
    """Return the median time of some predictions; the first calls, which set things up, came before."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        estimator.predict(X)
        times.append(time.perf_counter() - start)
        if sum(times) > 2:
            break
    return 1e6 * median(times) / n


def size(estimator: Any) -> dict[str, float]:
    """Return the numbers, bytes and networks that a prediction needs, and the networks collected and summed."""
    pool, shares = getattr(estimator, "pool_", None), getattr(estimator, "member_weights_", None)
    stacked = isinstance(estimator, StackingFusion)
    states = states_of(estimator) if not stacked else [] if pool is None else pool.states
    n_members = len(estimator.estimators_) if stacked else len(states) * getattr(estimator, "n_passes_", 1) or 1
    merged = shares is not None and not hasattr(estimator, "members_")
    return {
        "n_parameters": sum(map(n_parameters, states)) if states else float("nan"),
        "n_bytes": sum(map(n_bytes, states)) if states else float("nan"),
        "n_members": n_members,
        "n_collected": n_members if stacked else 1 if pool is None else len(pool),
        "n_merged": sum(share != 0 for share in shares.values()) if merged else float("nan"),
    }


def states_of(estimator: Any) -> list[Any]:
    """Return the states of the networks that a fitted estimator of this library predicts with."""
    if hasattr(estimator, "members_"):
        return [m.state for m in estimator.members_]
    state = getattr(estimator, "state_", None)
    is_state = isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())
    return [state] if is_state else []


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
