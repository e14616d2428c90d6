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
from skfusion.data import brier_score, codes_and_columns, expected_calibration_error
from skfusion.estimators import EnsembleClassifier, PortfolioClassifier, PortfolioRegressor, StackingFusion
from skfusion.estimators.support import all_networks, split_pipeline
from skfusion.nets import fingerprint, mlp_classifier
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
    """Return how good probabilities are, over all labels in multi-label problems, or NaN where there are none."""
    unknown = dict.fromkeys(CALIBRATION, float("nan"))
    if not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        return unknown
    proba = estimator.predict_proba(X)
    if not isinstance(proba, np.ndarray):
        return unknown
    codes, proba = codes_and_columns(estimator, proba, y)
    clipped = np.clip(proba, np.finfo(np.float32).eps, 1.0)
    loss = log_loss(codes, clipped / clipped.sum(axis=1, keepdims=True), labels=np.arange(proba.shape[1]))
    values = float(loss), brier_score(codes, proba), expected_calibration_error(codes, proba)
    return dict(zip(CALIBRATION, values, strict=True))


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
    """Return the numbers, bytes and networks that a prediction needs, and the networks collected and summed.

    Numbers and bytes are unknown where members of other libraries predict too.
    """
    pool, shares = getattr(estimator, "pool_", None), getattr(estimator, "member_weights_", None)
    stacked = isinstance(estimator, (StackingFusion, PortfolioClassifier, PortfolioRegressor))
    of_any_kind = pool is not None and not all_networks(pool)
    states = [] if of_any_kind else states_of(estimator) if not stacked else [] if pool is None else pool.states
    n_members = len(estimator.estimators_) if stacked else len(states) * getattr(estimator, "n_passes_", 1) or 1
    n_members = len(estimator.members_) if of_any_kind and not stacked else n_members
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


CALIBRATION = ["log_loss", "brier", "ece"]
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
