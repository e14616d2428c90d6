"""The rows that a network was trained on elsewhere, marked as training here would have marked them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion._rows import Inputs, Rows


def rows_of(X: Any, y: Any, classes: np.ndarray | None) -> np.ndarray | None:
    """Return the hashes that training on X and y would have recorded."""
    if X is None and y is None:
        return None
    if X is None or y is None:
        raise ValueError("Give both X and y, or neither: a row is known by its inputs and its target.")
    inputs: Inputs
    if isinstance(X, dict):
        inputs = {key: _as_input(np.asarray(value)) for key, value in X.items()}
    else:
        inputs = np.ascontiguousarray(X, dtype=np.float32)
    target = np.asarray(y)
    lengths = {len(target), *map(len, inputs.values() if isinstance(inputs, dict) else [inputs])}
    if len(lengths) > 1:
        raise ValueError(f"X and y have different numbers of rows: {sorted(lengths)}.")
    if classes is None or (target.ndim > 1 and target.shape[1] > 1):
        if target.dtype.kind not in "biuf":  # of a net that was not fitted, which names no classes: their codes
            target = np.unique(target, return_inverse=True)[1].reshape(target.shape)
        return Rows(inputs, target.astype(np.float32)).marks
    target = target.reshape(-1)
    order = np.argsort(classes, kind="stable")
    codes = order[np.searchsorted(classes, target, sorter=order).clip(max=len(classes) - 1)].astype(np.int64)
    if (unknown := classes[codes] != target).any():
        raise ValueError(
            f"y has labels that the nets do not know: {np.unique(target[unknown])[:5].tolist()}; their classes are "
            f"{classes.tolist()}. Give the y that the nets were fitted with."
        )
    return Rows(inputs, codes).marks


def _as_input(value: np.ndarray) -> np.ndarray:
    dtype = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.int64}.get(value.dtype.kind, value.dtype)
    return np.ascontiguousarray(value, dtype=dtype)
