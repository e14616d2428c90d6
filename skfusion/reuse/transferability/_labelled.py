"""Outputs of a model and labels of the same rows, as the scores of transferability read them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skfusion._rows import Task


class Labelled(NamedTuple):
    """Rows of positive weight: outputs (n, d) in float64, targets, and how often each row counts."""

    outputs: np.ndarray
    """Features or probabilities, shape (n, d)."""
    targets: np.ndarray
    """Codes of the classes that occur, shape (n,), or values of each output, shape (n, q)."""
    weight: np.ndarray
    """Times that a row counts, shape (n,)."""
    eps: float
    """Relative precision of the outputs as they were given."""

    @property
    def total(self) -> float:
        """How many rows there are, each as often as it counts."""
        return float(self.weight.sum())

    def centred(self) -> np.ndarray:
        """Return the outputs minus their mean."""
        return self.outputs - self.weight @ self.outputs / self.total

    def singular(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the singular value decomposition of weighted rows, without what is zero but for rounding.

        A feature that does not vary, or that others determine, so has no influence.
        """
        U, s, Vt = np.linalg.svd(np.sqrt(self.weight)[:, None] * outputs, full_matrices=False)
        size = np.sqrt(self.weight @ (self.outputs**2).sum(axis=1))  # rounding is that of the outputs as given
        kept = s > (10 * self.eps + max(outputs.shape) * np.finfo(np.float64).eps) * size
        return U[:, kept], s[kept], Vt[kept]

    def class_sums(self, columns: np.ndarray) -> np.ndarray:
        """Return the sums over the rows of each class, shape (n_classes, n_columns)."""
        sums = np.zeros((self.targets.max() + 1, columns.shape[1]))
        np.add.at(sums, self.targets, columns)
        return sums

    def class_weights(self) -> np.ndarray:
        """Return how often each class occurs, shape (n_classes,)."""
        return np.bincount(self.targets, self.weight)


def labelled(who: str, outputs: Any, y: Any, task: Task, sample_weight: Any = None) -> Labelled:
    """Return outputs and targets of rows, checked; ``who`` reads them and is named in errors."""
    given = np.asarray(outputs)
    Z = given.astype(np.float64).reshape(len(given), -1) if given.ndim else np.empty((0, 0))
    targets = np.asarray(y)
    if len(Z) != (len(targets) if targets.ndim else 0):
        raise ValueError(f"{who} needs a target for each row of outputs; got {len(Z)} rows and y of {targets.shape}.")
    weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weight.shape != (len(Z),) or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(f"sample_weight must hold {len(Z)} finite numbers, 0 or more; got {sample_weight!r}.")
    counted = weight > 0
    Z, targets, weight = Z[counted], targets[counted], weight[counted]
    if len(Z) < 2:
        raise ValueError(f"{who} needs at least 2 labelled rows; got {len(Z)}.")
    if Z.shape[1] == 0:
        raise ValueError(f"{who} needs outputs of at least one column; got none.")
    if not np.isfinite(Z).all():
        raise ValueError(f"{who} got outputs that are NaN or infinite, in {_rows(~np.isfinite(Z).all(axis=1))}.")
    eps = float(np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps)
    coded = _codes(who, targets) if task == "classification" else _values(who, targets)
    return Labelled(Z, coded, weight, eps)


def _codes(who: str, y: np.ndarray) -> np.ndarray:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        raise ValueError(f"{who} needs one class a row; got y of shape {y.shape}.")
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{who} needs labelled rows of at least 2 classes; all are of class {classes.tolist()[0]!r}.")
    return codes.astype(np.int64)


def _values(who: str, y: np.ndarray) -> np.ndarray:
    values = y.astype(np.float64).reshape(len(y), -1)
    if not np.isfinite(values).all():
        raise ValueError(f"{who} got targets that are NaN or infinite, in {_rows(~np.isfinite(values).all(axis=1))}.")
    if (constant := np.flatnonzero(np.ptp(values, axis=0) == 0)).size:
        column = constant[0]
        raise ValueError(
            f"{who} needs targets that vary; output {column} of y is {values[0, column]:g} in all {len(y)} rows."
        )
    return values


def _rows(bad: np.ndarray) -> str:
    places = np.flatnonzero(bad)
    return f"{len(places)} of {len(bad)} rows, first in row {places[0]}"
