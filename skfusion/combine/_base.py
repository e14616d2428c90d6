"""The combiner family: many predictions to one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np
from sklearn.base import clone

from skfusion._component import Component
from skfusion._rows import Task

Ask = Callable[[int, np.ndarray], np.ndarray]
"""Gives the predictions of a member for some rows, as :meth:`Combiner.drive` asks for them."""


class Combiner(Component, ABC):
    """Turn the predictions of many members into one prediction."""

    out_of_fold: ClassVar[bool] = False
    """Whether ``fit`` must be given predictions for rows that the members were not trained on."""

    by_score: ClassVar[bool] = False
    """Whether it learns by a score and no loss, so that weights of classes are none of its weights of rows."""

    by_logs: ClassVar[bool] = False
    """Whether it combines by :meth:`of_logs` where there are logarithms, which are more exact than probabilities."""

    lazy: ClassVar[bool] = False
    """Whether :meth:`drive` asks members only for the rows that need them."""

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Self:
        """Learn how to combine; remember only the task where there is nothing to learn.

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
        self.task_: Task = task
        return self

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` where the combiner cannot do the task, or its parameters are invalid.

        It is called before members are trained, so that mistakes that need no predictions are reported early.

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

    def drive(self, predict: Ask, n_members: int, n_samples: int) -> np.ndarray:
        """Combine predictions that are asked for as they are needed, to what :meth:`__call__` makes of them all.

        Parameters
        ----------
        predict : callable
            ``predict(member, rows)`` gives the predictions of a member, by its position, for rows at some positions, of
            shape (n_rows, n_outputs), and of one dtype for all members. Each row of a member is asked for once at most.
        n_members, n_samples : int
            How many there are.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The combined prediction.
        """
        return self(np.stack([predict(k, np.arange(n_samples)) for k in range(n_members)]))

    def take_costs(self, measure: Callable[[], np.ndarray]) -> None:
        """Measure what members cost, where the parameters ask for that; it is called before :meth:`fit`.

        Parameters
        ----------
        measure : callable
            Measures the milliseconds that each member takes for 1,000 rows, shape (n_members,).
        """

    def of_logs(self, logs: np.ndarray, task: Task) -> np.ndarray | None:
        """Combine logarithms of predictions to that of the combined prediction; of a fitted combiner.

        Parameters
        ----------
        logs : ndarray of shape (n_members, n_samples, n_outputs)
            Log-probabilities of classes, or log-odds of labels, float64.
        task : {"classification", "multilabel"}
            Which of the two.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs) or None
            Of the same kind; None where it combines probabilities only.
        """
        return None

    def weighed(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the members' predictions as they are combined, and the members' weights; of a fitted combiner.

        Parameters
        ----------
        P : ndarray of shape (n_members, n_samples, n_outputs)
            As in :meth:`fit`.

        Returns
        -------
        P : ndarray of shape (n_members, n_samples, n_outputs)
            The given ones, unless the combiner changes them first.
        weights : ndarray of shape (n_members,)
            Not negative, of sum one: those of :meth:`member_weights`, and equal ones where there are none.
        """
        weights = self.member_weights(len(P))
        return P, np.full(len(P), 1 / len(P)) if weights is None else weights

    def member_weights(self, n_members: int) -> np.ndarray | None:
        """Return the weight of each member, where it is the same for all rows; of a fitted combiner.

        Parameters
        ----------
        n_members : int
            How many members there are.

        Returns
        -------
        ndarray of shape (n_members,) or None
            Not negative, of sum one; None where members have no weights, or different ones for each row.
        """
        return None

    def among(self, kept: Sequence[int], n_members: int) -> Self:
        """Return the combiner for some of the members, where others are left out before :meth:`fit`.

        Parameters
        ----------
        kept : sequence of int
            Positions of the members that stay.
        n_members : int
            How many there were.

        Returns
        -------
        Combiner
            An unfitted copy with the ``costs`` and ``weights`` of these members, where it has some of each member.
        """
        given = {key: value for key, value in self.get_params().items() if _is_of_members(key)}
        lists = {key: value for key, value in given.items() if isinstance(value, list | tuple | np.ndarray)}
        changed = {key: [values[k] for k in kept] for key, values in lists.items() if len(values) == n_members}
        return clone(self).set_params(**changed)

    def narrow(self, n_members: int) -> np.ndarray:
        """Forget members that cannot change a prediction, and return which are left; of a fitted combiner.

        Afterwards the combiner is called with the predictions of these members only, and gives the same results.

        Parameters
        ----------
        n_members : int
            Members in :meth:`fit`.

        Returns
        -------
        ndarray of int
            Positions in ascending order; all of them where the combiner learns no weights.
        """
        return np.arange(n_members)


def _is_of_members(key: str) -> bool:
    """Return whether a parameter, also of a combiner inside, has a value for each member."""
    *path, last = key.split("__")
    return last in ("costs", "weights") and all(part == "combine" for part in path)
