"""The columns of a comparison: what is measured of a fusion beside its scores, and one row a fusion for all folds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from skfusion.collect import Seeds
from skfusion.estimators import EnsembleClassifier, PortfolioClassifier, PortfolioRegressor, StackingFusion
from skfusion.estimators.support import fingerprint, split_pipeline
from skfusion.nets import mlp_classifier
from skfusion.state import n_bytes, n_parameters


@cache
def warm_up(device: str) -> None:
    """Train and run two small networks, so that no fusion is charged for the imports of the first one of a process.

    The hash of this library's files, which keys of shared members begin with, is made once too.
    """
    net = mlp_classifier(max_epochs=1, module__hidden=(2,), device=device)
    X, y = np.random.RandomState(0).randn(8, 2).astype(np.float32), np.arange(8) % 2
    EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(X, y).predict(X)
    fingerprint()


@cache
def warm_up_others() -> None:
    """Fit two small models of scikit-learn, which also starts its threads, for estimators of other libraries."""
    X, y = np.random.RandomState(0).randn(40, 2), np.arange(40) % 2
    for model in (LogisticRegression(), HistGradientBoostingClassifier(max_iter=2, random_state=0)):
        model.fit(X, y).predict_proba(X)


def device_of(estimator: Any) -> str | None:
    """Return where the networks of a fusion are trained; None where it is none of this library."""
    last = split_pipeline(estimator)[1]
    device = getattr(getattr(last, "estimator", None), "device", None) or "cpu"
    return str(device) if type(last).__module__.startswith("skfusion.") else None


def calibration(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Return log-loss and expected calibration error, over all labels in multi-label problems, or NaN."""
    unknown = dict.fromkeys(CALIBRATION, float("nan"))
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


def microseconds_a_row(estimator: Any, X: Any, n: int) -> dict[str, float]:
    """Return the median time of some predictions; the first calls, which set things up, came before."""
    times = []
    for _ in range(5):  # of which the median counts
        start = time.perf_counter()
        estimator.predict(X)
        times.append(time.perf_counter() - start)
        if sum(times) > 2:
            break
    return {"predict_us_per_row": 1e6 * median(times) / n}


def size(estimator: Any) -> dict[str, float]:
    """Return the numbers, bytes and networks that a prediction needs, and the networks collected and summed."""
    pool, shares = getattr(estimator, "pool_", None), getattr(estimator, "member_weights_", None)
    stacked = isinstance(estimator, (StackingFusion, PortfolioClassifier, PortfolioRegressor))
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


CALIBRATION = ["log_loss", "ece"]
MEANS = ["gain_over_best", "gain_over_mean", *CALIBRATION]
TIMES = ["collect_seconds", "fuse_seconds", "predict_us_per_row"]
SIZES = ["n_parameters", "n_bytes", "n_members", "n_collected", "n_merged", "n_held_out"]


def framed(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the results of fusions and folds in the order of the folds, or raise where there is none."""
    folds = pd.DataFrame(rows).sort_values("fold", kind="stable").reset_index(drop=True)
    if folds.columns.isin(MEANS).any():  # which all have that were fitted
        return folds
    first = folds.iloc[0]
    raise RuntimeError(
        f"All fusions failed in all folds. Fusion {first['fusion']!r} failed in fold {first['fold']}: {first['error']}"
    )


def summary(
    folds: pd.DataFrame, names: Sequence[str], scores: Sequence[str], differences: pd.DataFrame
) -> pd.DataFrame:
    """Return one row a fusion, in the order of ``names``, from one row a fusion and fold, and their ``differences``.

    A mean with a fold that has no score is NaN: one over the folds that are left would be that of other rows.
    """
    by_fusion = folds.groupby("fusion", sort=False)
    out = pd.DataFrame(index=pd.Index(names, name="fusion"))
    for score in scores:
        spread = by_fusion[score].agg(mean=_mean, std=lambda values: values.std(skipna=False))
        half = by_fusion[[score, "n_train", "n_test"]].apply(
            lambda part: half_width(part.iloc[:, 0].to_numpy(), part["n_train"].mean(), part["n_test"].mean())
        )
        out[f"{score}_mean"], out[f"{score}_std"] = spread["mean"], spread["std"]
        out[f"{score}_low"], out[f"{score}_high"] = spread["mean"] - half, spread["mean"] + half
    out = out.join(differences).join(by_fusion[MEANS].agg(_mean)).join(by_fusion[TIMES].median())
    for column, values in by_fusion[SIZES].mean().items():
        out[column] = values.astype("int64") if (values % 1 == 0).all() else values
    return out


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))


def warn_of_gaps(folds: pd.DataFrame, scores: Sequence[str]) -> None:
    """Warn of fusions that have no score in some folds, with the reason where one is known."""
    for name, part in folds.groupby("fusion", sort=False):
        gaps = part[part[[*scores]].isna().any(axis=1) | (part["error"] != "")]
        if len(gaps):
            unknown = [score for score in scores if gaps[score].isna().any()]
            failed = ["gain_over_best", "log_loss", "predict_us_per_row"]
            unknown += [column for column in failed if gaps["error"].str.contains(f"(?:^|; ){column}: ").any()]
            errors = [f"fold {fold}: {error}" for fold, error in zip(gaps["fold"], gaps["error"], strict=True) if error]
            why = errors[0] if errors else "undefined there, as where the rows of a fold lack a class"
            warnings.warn(
                f"Fusion {name!r} has no {', '.join(unknown) or 'score of its own'} in folds {gaps['fold'].tolist()}, "
                f"so that the mean is {'NaN' if unknown else 'that of error_score'} ({why.rstrip('.')}).",
                FitFailedWarning,
                stacklevel=3,
            )


def half_width(scores: np.ndarray, n_train: float, n_test: float, level: float = 0.95) -> float:
    r"""Return half the width of a t interval for a mean over k overlapping training sets; NaN for k = 1.

    Training sets that share rows make scores similar, so that :math:`s^2 / k` is too small a variance. The correction
    of Nadeau and Bengio (2003, doi:10.1023/A:1024068626366), for folds that train and test on that many rows, is

    .. math:: \left(\frac{1}{k} + \frac{n_\mathrm{test}}{n_\mathrm{train}}\right) s^2
    """
    k = len(scores)
    if k < 2:
        return float("nan")
    return float(student.ppf(0.5 + level / 2, k - 1) * np.sqrt((1 / k + n_test / n_train) * np.var(scores, ddof=1)))
