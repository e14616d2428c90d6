"""From the results of each fold to one row a fusion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.exceptions import FitFailedWarning

MEANS = ["gain_over_best", "gain_over_mean", "log_loss", "ece"]
TIMES = ["collect_seconds", "fuse_seconds", "predict_us_per_row"]
SIZES = ["n_parameters", "n_bytes", "n_members", "n_collected", "n_merged"]


def framed(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the results of fusions and folds in the order of the folds, or raise where there is none."""
    folds = pd.DataFrame(rows).sort_values("fold", kind="stable").reset_index(drop=True)
    if folds.columns.isin(MEANS).any():  # which all have that were fitted
        return folds
    first = folds.iloc[0]
    raise RuntimeError(
        f"All fusions failed in all folds. Fusion {first['fusion']!r} failed in fold {first['fold']}: {first['error']}"
    )


def summary(folds: pd.DataFrame, names: Sequence[str], scores: Sequence[str]) -> pd.DataFrame:
    """Return one row a fusion, in the order of ``names``, from one row a fusion and fold.

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
    out = out.join(by_fusion[MEANS].agg(_mean)).join(by_fusion[TIMES].median())
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
