"""The combiner family: many predictions to one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from skfusion._component import Component
from skfusion.rows import Task


class Combiner(Component, ABC):
    """Turn the predictions of many members into one prediction."""

    out_of_fold: ClassVar[bool] = False
    """Whether ``fit`` must be given predictions for rows that the members were not trained on."""

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Self:
        """Learn how to combine; does nothing where there is nothing to learn.

        Parameters
        ----------
        P : ndarray of shape (n_members, n_samples, n_outputs)
            Class probabilities, label probabilities (multi-label), or values (regression).
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class codes, indicators, or values.
        task : {"classification", "multilabel", "regression"}
            What the outputs are.
        sample_weight : ndarray of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Combiner
            This object, fitted.
        """
        self.check(task)
        return self

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` where the combiner cannot do the task.

        Parameters
        ----------
        task : {"classification", "multilabel", "regression"}
            What the outputs are.
        """

    @abstractmethod
    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Combine predictions.

        Parameters
        ----------
        P : ndarray of shape (n_members, n_samples, n_outputs)
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The combined prediction; rows of class probabilities sum to one.
        """
