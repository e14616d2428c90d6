"""Scores of predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.metrics import r2_score

from skfusion._rows import Rows, Task

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
        What the predictions are.

    Returns
    -------
    callable
        ``score(prediction, rows)``, higher is better.
    """

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        right = ((p > 0.5) == rows.y).all(axis=1) if task == "multilabel" else p.argmax(axis=1) == rows.y
        return float(np.average(right, weights=rows.weight))

    accuracy.by_rank = task == "classification"  # which output is largest is all that it reads

    def r2(p: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(p).all():
            return -np.inf
        if len(rows) < 2:  # undefined for a single row
            return -float(np.mean((p - rows.y) ** 2))
        return float(r2_score(rows.y, p, sample_weight=rows.weight))

    return r2 if task == "regression" else accuracy
