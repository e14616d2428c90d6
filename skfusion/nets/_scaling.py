"""Means and standard deviations of the data, by which default networks standardise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skfusion.rows import Rows, Task


def scaling(rows: Rows, task: Task) -> dict[str, np.ndarray] | None:
    """Return the mean and deviation of each column of X, and of y where it holds values; None where X is a dict."""
    if isinstance(rows.X, dict):
        return None
    columns = {"x": rows.X.reshape(len(rows), -1)} | ({"y": rows.y} if task == "regression" else {})
    out = {}
    for name, values in columns.items():
        mean = _mean(values, rows.weight, lambda part: part)
        std = np.sqrt(_mean(values, rows.weight, lambda part, m=mean: (part - m) ** 2))
        out |= {f"{name}_mean": mean, f"{name}_std": np.where(std > 1e-6 * np.abs(mean), std, 1.0)}
    return out


def _mean(values: np.ndarray, weight: np.ndarray | None, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the mean of a function of the rows: in float64, and some thousand rows at a time to spare memory."""
    total = np.zeros(values.shape[1])
    for i in range(0, len(values), 4096):
        part = function(values[i : i + 4096].astype(np.float64))
        total += part.sum(axis=0) if weight is None else weight[i : i + 4096] @ part
    return total / (len(values) if weight is None else weight.sum())
