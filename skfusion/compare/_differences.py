"""Paired differences between fusions on the same folds: their intervals, and which are told apart from the best.

Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003, doi:10.1023/A:1024068626366.
Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from skfusion.compare._table import half_width

LEVEL = 0.05
"""A fusion is told apart from the best one where its p, adjusted for the number of fusions, is below this."""
ALIKE = 1e-9
"""Differences of scores that are as near as this are the same."""


def of_few_folds(n_folds: int, n_rows: int) -> str:
    """Return a sentence for tables of several rows whose test has one degree of freedom; empty for others."""
    n_freedom = n_folds - 1
    if n_freedom != 1 or n_rows < 2:
        return ""
    times, usual = (student.ppf(0.975, n) for n in (n_freedom, 4))
    return (
        f"With 2 folds, fusions can hardly be told apart, so that nearly all are tied with the best: the test has 1 "
        f"degree of freedom, and a difference must be {times:.0f} times its standard error, with 5 folds {usual:.1f} "
        "times."
    )


def differences(
    folds: pd.DataFrame, names: Sequence[str], score: str, reference: str | None
) -> tuple[pd.DataFrame, str | None, str | None]:
    """Return the columns on differences, the reference, and the best fusion (None where no mean is a number)."""
    scores = folds.pivot(index="fold", columns="fusion", values=score)[[*names]].to_numpy(np.float64)
    n_train, n_test = folds["n_train"].mean(), folds["n_test"].mean()
    means = scores.mean(axis=0)
    known = np.isfinite(means)
    best = names[int(np.where(known, means, -np.inf).argmax())] if known.any() else None
    reference = best if reference is None else reference
    columns = {name: scores[:, i] for i, name in enumerate(names)}
    nothing = np.full(len(scores), np.nan)
    less, least = columns.get(str(reference), nothing), columns.get(str(best), nothing)
    rows = [paired(columns[name] - less, n_train, n_test)[:3] for name in names]
    out = pd.DataFrame(rows, index=names, columns=["difference", "difference_low", "difference_high"])
    p = np.array([np.nan if name == best else paired(columns[name] - least, n_train, n_test)[3] for name in names])
    out["p_best"] = p = holm(p)
    out["tied_with_best"] = pd.array(np.where(np.isnan(p), None, p >= LEVEL), dtype="boolean")
    if best is not None:
        out.loc[best, ["p_best", "tied_with_best"]] = 1.0, True
    return out, reference, best


def simultaneous(
    folds: pd.DataFrame, names: Sequence[str], score: str, reference: str, n_choices: int = 1
) -> pd.DataFrame:
    """Return the mean differences of m rows to a reference, with intervals that hold together with 95 %.

    Each interval is that of the corrected resampled t-test at the level 1 - ``LEVEL`` / (m c) (Bonferroni), where the
    same folds have chosen the reference among c = ``n_choices`` rows. Differences that are the same in all folds, which
    is often chance where folds are few and small, show no spread: it is taken to be that of rounding to shares of the
    rows of a fold.
    """
    scores = folds.pivot(index="fold", columns="fusion", values=score)
    sizes = folds["n_train"].mean(), folds["n_test"].mean()
    rows = {}
    for name in names:
        gains = (scores[name] - scores[reference]).to_numpy(np.float64)
        half = half_width(_spread(gains, sizes[1]), *sizes, 1 - LEVEL / (len(names) * n_choices))
        rows[name] = gains.mean(), gains.mean() - half, gains.mean() + half
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])


def _spread(gains: np.ndarray, n_test: float) -> np.ndarray:
    """Return differences with the spread of rounding, a standard deviation of 1 / (sqrt(12) n_test), if they have none.

    Differences that are all zero need none, and those that are not known stay so.
    """
    if len(gains) < 2 or not gains.any() or not np.ptp(gains) <= ALIKE:
        return gains
    steps = np.resize([-1.0, 1.0], len(gains))
    return gains.mean() + steps / (steps.std(ddof=1) * np.sqrt(12) * n_test)


def paired(differences: np.ndarray, n_train: float, n_test: float) -> tuple[float, float, float, float]:
    """Return the mean of a difference over the folds, the ends of its interval, and the two-sided p of its being zero.

    A fold without a number leaves all unknown; a single fold has a mean alone. Differences that are the same in all
    folds have an interval of one point, and p is 1 where they are zero, else 0.
    """
    if not np.isfinite(differences).all() or not len(differences):
        return (float("nan"),) * 4
    k, mean = len(differences), float(differences.mean())
    if k < 2:
        return mean, float("nan"), float("nan"), float("nan")
    half = half_width(differences, n_train, n_test)
    error = half / student.ppf(0.975, k - 1)
    p = float(mean == 0) if error == 0 else 2 * student.sf(abs(mean) / error, k - 1)
    return mean, mean - half, mean + half, float(p)


def holm(p: Any) -> np.ndarray:
    """Return p-values that are adjusted for their number by Holm's step-down rule; NaN are left out of it.

    In rising order, the i-th of m is multiplied by m - i + 1, and is no smaller than those before it and at most 1.
    """
    p = np.array(p, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    rising = known[np.argsort(p[known], kind="stable")]
    p[rising] = np.minimum(1.0, np.maximum.accumulate(p[rising] * np.arange(len(rising), 0, -1)))
    return p
