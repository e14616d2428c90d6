"""Whether two scores differ by more than chance: compared row by row, where the score is a mean over rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from skfusion._rows import Rows, Task

ByRow = Callable[[np.ndarray, Rows], np.ndarray]
"""What each row adds to a score: ``by_row(prediction, rows)`` has a mean that is the score, up to a constant."""


def by_row(scoring: Any, task: Task) -> ByRow | None:
    """Return how a score is made up of its rows; None where it is not known to be a mean over rows."""
    if not (scoring is None or isinstance(scoring, str)):
        return None
    if scoring is None:
        scoring = "r2" if task == "regression" else "accuracy"
    return _KNOWN.get((scoring, task))


def doubt(one: np.ndarray | None, other: np.ndarray | None, tolerance: float) -> float:
    """Return up to which difference two scores may be equal, given what each row adds to them.

    It is two standard errors of the mean difference of the same rows, and the tolerance where rows are not known.
    """
    if one is None or other is None:
        return tolerance
    error = 2 * float(np.std(one - other, ddof=1)) / math.sqrt(len(one))
    return error if math.isfinite(error) else tolerance


def _log_probability(p: np.ndarray, rows: Rows) -> np.ndarray:
    true = p[np.arange(len(p)), rows.y] / p.sum(1)
    return np.log(np.clip(true, np.finfo(p.dtype).eps, None)).astype(np.float64)  # as scikit-learn clips it


def _explained(p: np.ndarray, rows: Rows) -> np.ndarray:
    spread = rows.y.var(0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # targets that do not vary have no such share
        return (1 - (p.astype(np.float64) - rows.y) ** 2 / spread).mean(1)


_KNOWN: dict[tuple[str, str], ByRow] = {
    ("accuracy", "classification"): lambda p, rows: (p.argmax(1) == rows.y).astype(np.float64),
    ("accuracy", "multilabel"): lambda p, rows: ((p > 0.5) == rows.y).all(1).astype(np.float64),
    ("neg_log_loss", "classification"): _log_probability,
    ("r2", "regression"): _explained,
    ("neg_mean_squared_error", "regression"): lambda p, rows: -((p.astype(np.float64) - rows.y) ** 2).mean(1),
}
