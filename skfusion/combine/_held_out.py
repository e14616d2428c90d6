"""Predictions for held-out rows, checked, with their targets and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skfusion._rows import Task
from skfusion.combine._weights import floating


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a combiner learns from: predictions ``P`` for rows of positive weight, with their targets ``y``.

    The weights of the rows are positive; whole numbers count as repetitions, others have the mean 1. ``weighted`` tells
    whether the rows came with weights.
    """

    P: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    task: Task
    weighted: bool

    @classmethod
    def checked(cls, owner: str, P: np.ndarray, y: np.ndarray, task: Task, weight: np.ndarray | None) -> HeldOut:
        """Return the rows of positive weight; raise where a member's predictions cannot be judged."""
        if P.ndim != 3 or not P.size or len(y) != P.shape[1]:
            raise ValueError(
                f"{owner} learns from held-out predictions of shape (n_members, n_samples, n_outputs) and one target "
                f"a row; got the shapes {P.shape} and {np.shape(y)}."
            )
        if broken := [k for k, p in enumerate(P) if not np.isfinite(p).all()]:
            raise ValueError(f"{owner}: members {broken} predict NaN or infinity for held-out rows; leave them out.")
        weights = row_weights(weight, P.shape[1], owner)
        kept = weights > 0
        if not kept.all():
            P, y, weights = P[:, kept], y[kept], weights[kept]
        return cls(P, y, weights, task, weight is not None)

    def of_truth(self) -> np.ndarray:
        """Return the probabilities that members give to the truth, shape (n_members, n_samples * n_labels), float64.

        They are kept a rounding error away from zero. Labels stand side by side; classes count as one label.
        """
        if self.task == "classification":
            truth = np.take_along_axis(self.P, self.y.astype(np.intp)[None, :, None], axis=2)
        else:
            truth = np.where(self.y == 1, self.P, 1 - self.P)
        smallest = np.finfo(floating(self.P)).eps
        return np.maximum(truth.reshape(len(self.P), -1).astype(np.float64), smallest)

    def errors(self) -> np.ndarray:
        """Return prediction minus value, shape (n_members, n_samples, n_outputs), float64."""
        return self.P.astype(np.float64) - self.y

    def variances(self) -> np.ndarray:
        """Return the variance of each value, shape (n_outputs,); 1 for a value that is always the same."""
        mean = np.average(self.y, axis=0, weights=self.weight)
        variances = np.average((self.y - mean) ** 2, axis=0, weights=self.weight)
        return np.where(variances > 0, variances, 1.0)


def row_weights(weight: np.ndarray | None, n: int, owner: str) -> np.ndarray:
    """Return one weight a row: as given where all are whole numbers, else scaled so that positive ones have mean 1."""
    if weight is None:
        return np.ones(n)
    weights = np.asarray(weight, np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"sample_weight of {owner} must be {n} finite numbers, not negative and not all zero.")
    return weights if np.array_equal(weights, np.rint(weights)) else weights / weights[weights > 0].mean()
