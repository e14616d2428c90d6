"""Means and standard deviations of the data, by which default networks standardise, and targets of extreme size are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skfusion._rows import Rows, Task

FAR = 1e3
"""How many standard deviations from zero the mean of targets may lie before networks get standardised ones."""

EXTREME = 1e18
"""Size of targets, or one over it, at which the squares of errors leave the range of float32."""


def standardising(y: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the shift and the scale by which targets are standardised for networks; None where they are not.

    They are where the mean of one lies ``FAR`` standard deviations or more from zero, as that of timestamps, so that
    float32 loses digits of it; and where the sizes of one are above ``EXTREME`` or below its inverse, so that float32
    cannot hold the squares of errors. The scale is a power of two near the standard deviation, and the shift the
    multiple of it near the mean, so that no digit is lost in float64. Other columns have the shift 0 and the scale 1.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_outputs)
        Targets, float64.
    weight : ndarray of shape (n_samples,), optional
        Weights of the rows.

    Returns
    -------
    (ndarray, ndarray) or None
        ``(y - shift) / scale`` is what networks learn; both have shape (n_outputs,).
    """
    size = np.abs(y).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    mean = np.average(y / size, axis=0, weights=weight)
    std = np.sqrt(np.average((y / size - mean) ** 2, axis=0, weights=weight)) * size
    mean = mean * size
    varied, largest = std > 1e-15 * np.abs(mean), np.maximum(np.abs(mean), std)
    far = varied & (np.abs(mean) >= FAR * std)
    asked = far | (largest > EXTREME) | ((largest > 0) & (largest < 1 / EXTREME))
    if not asked.any():
        return None
    scale = np.where(asked, 2.0 ** np.rint(np.log2(np.where(varied, std, np.where(size > 0, size, 1.0)))), 1.0)
    return np.where(asked, np.rint(mean / scale) * scale, 0.0), scale


def scaling(rows: Rows, task: Task) -> dict[str, np.ndarray] | None:
    """Return the mean and deviation of each column of X, and of y where it holds values; None where X is a dict."""
    if isinstance(rows.X, dict):
        return None
    columns = {"x": rows.X.reshape(len(rows), -1)} | ({"y": rows.y.astype(np.float32)} if task == "regression" else {})
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
