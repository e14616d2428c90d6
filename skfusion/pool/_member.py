"""One trained network as a value, and the marks of the rows that it was trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skfusion import state as states_of
from skfusion._numbers import to_numpy, to_torch
from skfusion._rows import Inputs, Rows
from skfusion.state import State


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network: its state and what is known about it.

    Parameters
    ----------
    name : str
        Unique in its pool.
    state : State
        Parameters and buffers by name.
    score : float, default=nan
        Held-out score, higher is better; NaN when unknown.
    meta : dict, optional
        What else is known: seed, epoch, history. Must be writable as JSON.
    rows : ndarray of shape (n_rows,), optional
        64-bit marks of the training rows, see :attr:`skfusion._rows.Rows.marks`; None when unknown.
    net : object, optional
        The unfitted net that the state belongs to; kept in memory only, never in a file.
    predictions : ndarray of shape (n_held_out, n_outputs), optional
        Probabilities or values for the held-out rows, where there were some.
    """

    name: str
    state: State
    score: float = math.nan
    meta: Mapping[str, Any] = field(default_factory=dict)
    rows: np.ndarray | None = None
    net: Any = None
    predictions: np.ndarray | None = None

    def __repr__(self) -> str:
        score = "" if math.isnan(self.score) else f", score={self.score:.4g}"
        return f"Member({self.name!r}, {states_of.n_parameters(self.state)} numbers{score})"

    def replace(self, **changes: Any) -> Member:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : dict
            New values by field.

        Returns
        -------
        Member
            The copy.
        """
        return dataclasses.replace(self, **changes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": to_numpy(self.state)}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        self.__dict__.update({**stored, "state": to_torch(stored["state"])})


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
