"""Scores of transferability: how well what a member computes suits labelled rows, without training anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from skfusion._component import Component
from skfusion._rows import Task
from skfusion.reuse.transferability._labelled import Labelled, labelled


class Transferability(Component, ABC):
    """Rank members by a score of their outputs on labelled rows; higher is better."""

    reads: ClassVar[Literal["features", "probabilities", "outputs"]] = "features"
    """What the score is computed of: inputs of the last layer, probabilities of classes, or any outputs."""
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    """What the labels may be."""

    def score(self, outputs: Any, y: Any, task: Task = "classification", sample_weight: Any = None) -> float:
        """Return the score of what one member computes.

        Parameters
        ----------
        outputs : array-like of shape (n_samples, n_columns)
            Features or predictions of a member, see ``reads``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or values of the task; the member need not know them.
        task : {"classification", "multilabel", "regression"}, default="classification"
            What y is.
        sample_weight : array-like of shape (n_samples,), optional
            How often each row counts; 2 is the same as giving a row twice.

        Returns
        -------
        float
            Higher is better. Scores of different classes cannot be compared.
        """
        name = type(self).__name__
        if task not in self.tasks:
            raise ValueError(f"{name} is defined for {' and '.join(self.tasks)}, not for {task}; take LogME.")
        return self._score(labelled(name, outputs, y, task, sample_weight))

    @abstractmethod
    def _score(self, rows: Labelled) -> float:
        """Return the score of outputs and targets that are checked."""
