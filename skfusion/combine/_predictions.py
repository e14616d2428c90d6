"""Predictions of members: checked and with their targets, to learn from, their logarithms, and their dtype."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, softmax

from skfusion._rows import Task
from skfusion.combine._base import Combiner


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions ``P`` for rows of positive weight, and targets; weights that are no whole numbers have the mean 1."""

    P: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    task: Task
    weighted: bool  # whether the rows came with weights

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
        """Return the probabilities of the truth, shape (n_members, n_samples * n_labels), a rounding error above 0."""
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


class Learner(Combiner):
    """A combiner that learns from predictions for held-out rows."""

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Self:
        """Learn from held-out predictions; see :meth:`Combiner.fit`."""
        self.check(task)
        self._learn(HeldOut.checked(type(self).__name__, P, y, task, sample_weight))
        self.task_: Task = task
        return self

    @abstractmethod
    def _learn(self, held: HeldOut) -> None:
        """Set what is learned."""


def row_weights(weight: np.ndarray | None, n: int, owner: str) -> np.ndarray:
    """Return one weight a row: as given where all are whole numbers, else scaled so that positive ones have mean 1."""
    if weight is None:
        return np.ones(n)
    weights = np.asarray(weight, np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"sample_weight of {owner} must be {n} finite numbers, not negative and not all zero.")
    return weights if np.array_equal(weights, np.rint(weights)) else weights / weights[weights > 0].mean()


def logs(P: np.ndarray, task: Task) -> np.ndarray:
    """Return log-probabilities of classes, or log-odds of labels, in float64."""
    smallest = float(np.finfo(floating(P)).eps)  # so that no member can rule anything out for good
    P = P.astype(np.float64)
    if task == "multilabel":
        P = P.clip(smallest, 1 - smallest)
        return np.log(P) - np.log1p(-P)
    return np.log(np.maximum(P, smallest))


def from_logs(z: np.ndarray, task: Task) -> np.ndarray:
    """Return the probabilities of classes or labels that have such log-probabilities, up to a constant, or log-odds."""
    if task == "multilabel":
        return expit(z)
    return softmax(z, axis=-1)


def check_fitted(combiner: Any, attribute: str) -> None:
    """Raise where a combiner has not been fitted."""
    if not hasattr(combiner, attribute):
        raise ValueError(f"{type(combiner).__name__} must be fitted before it can combine: call fit(P, y, task) first.")


def check_members(combiner: Any, n_members: int, n_given: int) -> None:
    """Raise where predictions come from another number of members than in ``fit``."""
    if n_given != n_members:
        raise ValueError(
            f"{type(combiner).__name__} was fitted on {n_members} members and is given {n_given}; fit it again."
        )


def floating(P: np.ndarray) -> np.dtype:
    """Return the dtype of a mean of predictions: their own where it is one of real numbers, else float64."""
    return P.dtype if np.issubdtype(P.dtype, np.floating) else np.dtype(np.float64)
