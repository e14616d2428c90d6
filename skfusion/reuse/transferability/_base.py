"""Scores of transferability: how well what a model computes suits labelled rows, without training anything."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils.multiclass import type_of_target

from skfusion._caller import warn_caller
from skfusion._rows import Task
from skfusion.reuse._base import Found, Search
from skfusion.reuse.transferability._labelled import Labelled, labelled

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool


@dataclass(eq=False, repr=False)
class Transferability(Search):
    """Rank the models of a pool by a score of what they compute on labelled rows; higher is better."""

    n_members: int = 1

    needs_labels: ClassVar[bool] = True
    reads: ClassVar[Literal["features", "predictions"]] = "features"
    """What the score is of: inputs of the last layer, or probabilities of the model's own classes."""
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    """What the labels may be."""

    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool; see :meth:`Search.__call__`. A model without a score has NaN, and a warning says why."""
        name = type(self).__name__
        if y is None:
            raise ValueError(f"{name} ranks models by labels: give y. MixtureMMD() needs none.")
        if not isinstance(self.n_members, Integral) or self.n_members < 1:
            raise ValueError(f"n_members of {name} must be a whole number, 1 or more; got {self.n_members!r}.")
        task: Task = "regression" if type_of_target(y).startswith("continuous") else pool.task or "classification"
        self._checked(np.zeros((len(y), 1)), y, task)  # what is wrong with labels is no fault of a model
        scores, failures = np.full(len(pool), np.nan), dict[str, str]()
        for i, offer in enumerate(pool):
            try:
                outputs = offer.features(X) if self.reads == "features" else offer.predictions(X)
                scores[i] = self.score(outputs, y, task)
            except Exception as error:  # one failure loses one model
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                failures[offer.name] = f"{kind}{error}"
        if failures:
            shown = "; ".join(f"{who}: {why}".rstrip(".") for who, why in [*failures.items()][:3])
            more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
            if len(failures) == len(pool):
                raise ValueError(f"{name} has no score for any model: {shown}{more}.")
            warn_caller(f"{name} leaves out {len(failures)} of {len(pool)} models. {shown}{more}.")
        return Found.best_of(pool, scores, name, self.n_members)

    def score(self, outputs: Any, y: Any, task: Task = "classification", sample_weight: Any = None) -> float:
        """Return the score of what one model computes.

        Parameters
        ----------
        outputs : array-like of shape (n_samples, n_columns)
            Features, or probabilities of the model's own classes, see ``reads``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or values of the task; the model need not know them.
        task : {"classification", "multilabel", "regression"}, default="classification"
            What y is.
        sample_weight : array-like of shape (n_samples,), optional
            How often each row counts; 2 is the same as giving a row twice.

        Returns
        -------
        float
            Higher is better. Scores of different classes cannot be compared.
        """
        return self._score(self._checked(outputs, y, task, sample_weight))

    def _checked(self, outputs: Any, y: Any, task: Task, sample_weight: Any = None) -> Labelled:
        name = type(self).__name__
        if task not in self.tasks:
            raise ValueError(f"{name} is defined for {' and '.join(self.tasks)}, not for {task}; take LogME.")
        return labelled(name, outputs, y, task, sample_weight)

    @abstractmethod
    def _score(self, rows: Labelled) -> float:
        """Return the score of outputs and targets that are checked."""
