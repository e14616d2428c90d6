"""One network that learns to predict what others predict: fit it, and predict with it."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._rows import Inputs, Rows, unlabelled
from skfusion.collect import Seeds
from skfusion.data import check_inputs, table, table_inputs
from skfusion.estimators.students._one_network import OneNetwork
from skfusion.estimators.support._fill_random_state import stream
from skfusion.estimators.support._fit_weighted import fit_weighted
from skfusion.estimators.support._named_members import prepared
from skfusion.nets import Soft
from skfusion.pool import ModelPool


class DistilDriver(OneNetwork):
    """Ask a teacher for the rows, train a student on its answers, and predict; subclasses name the parameters."""

    temperature: float = 1.0
    _ensemble: Any = None

    # ---- what a subclass fills ---------------------------------------------------------------
    @abstractmethod
    def _check_teacher(self, teacher: Any) -> None:
        """Raise where an estimator, fitted or not, cannot teach what the student is to predict."""

    @abstractmethod
    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        """Return rows of positive weight, and targets of all rows that lose nothing of y, as numbers.

        ``teacher`` is fitted, or None where it is not fitted yet.
        """

    @abstractmethod
    def _asked(self, X: Any) -> np.ndarray:
        """Return what the teacher predicts, shape (n_samples, n_outputs)."""

    @abstractmethod
    def _guessed(self, soft: np.ndarray) -> np.ndarray:
        """Return encoded targets for rows that have none but what the teacher predicts."""

    @abstractmethod
    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Return such targets as the user gave them."""

    # ---- fitting -----------------------------------------------------------------------------
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_unlabelled: Any = None) -> DistilDriver:
        """Fit the teacher where it is not fitted yet, and train the student on what it predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs. The teacher is given them as they are, and the student as an ensemble's networks are.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row.
        X_unlabelled : array-like of shape (n_unlabelled, ...), or dict of array-like, optional
            Inputs without targets, of which the student learns what the teacher predicts; each of them weighs as a
            row of weight 1 does. They are not read where ``alpha`` is 1.

        Returns
        -------
        DistilDriver
            The fitted estimator.
        """
        self._check()
        teacher_seed, seed = (int(s) for s in check_random_state(self.random_state).randint(2**31 - 1, size=2))
        teacher = self._given_teacher(X, y, sample_weight)
        rows, exact = self._validated(X, y, sample_weight, teacher)
        seen = table(table_inputs(self, X), exact)
        if rows.position is not None:  # those of weight zero are left out
            seen = seen.take(rows.position)
        seen = replace(seen, weight=rows.weight, position=None)
        self.teacher_ = self._taught(seen, teacher_seed) if teacher is None else teacher
        soft, labelled = self._once(seen), None
        rows = replace(rows, position=None)
        if X_unlabelled is not None and self.alpha < 1:
            more = check_inputs(self, X_unlabelled, reset=False)[0]
            guessed = self._once(table(table_inputs(self, X_unlabelled), unlabelled(more).y))
            labelled = np.arange(len(rows) + len(guessed)) < len(rows)
            rows, soft = self._joined(rows, more, guessed), np.concatenate([soft, guessed])
        rows = rows.expanded()
        order = slice(None) if rows.position is None else rows.position
        taught = Soft(soft[order], None if labelled is None else labelled[order], self.alpha, self.temperature)
        self._train(rows, seed, taught)
        return self

    def _check(self) -> None:
        if not isinstance(self.alpha, Real) or not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is the share of the loss of the targets, between 0 and 1; got {self.alpha!r}.")
        if not isinstance(self.temperature, Real) or not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature must be a positive number; got {self.temperature!r}.")

    def _given_teacher(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return the teacher where it is fitted; a pool as an ensemble, and a fitted net as a pool of one."""
        teacher = self.teacher
        if teacher is None:
            return None
        if isinstance(teacher, type) or not (isinstance(teacher, ModelPool) or hasattr(teacher, "fit")):
            raise TypeError(f"teacher must be an estimator or a ModelPool; got {teacher!r}.")
        if not isinstance(teacher, ModelPool):
            self._check_teacher(teacher)
        if nets.is_net(teacher) and getattr(teacher, "initialized_", False):
            teacher = ModelPool.from_estimators([teacher])
        if isinstance(teacher, ModelPool):
            return self._ensemble().fuse(teacher, X, y, sample_weight)
        try:
            check_is_fitted(teacher)
        except NotFittedError:
            return None
        return teacher

    def _taught(self, rows: Rows, seed: int) -> Any:
        """Return a teacher that is fitted on the rows."""
        teacher = self._ensemble(self.estimator, collect=Seeds(5)) if self.teacher is None else self.teacher
        teacher = prepared(teacher, seed, self._ensemble)
        rows = replace(rows, y=self._decoded(rows.y))
        with stream(teacher, seed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "y has -1 beside the classes", UserWarning)  # the student has said it
            remedy = "Fit the teacher first, or give no weights."
            return fit_weighted(teacher, rows, f"The teacher {type(teacher).__name__}", remedy)

    def _once(self, rows: Rows) -> np.ndarray:
        """Return what the teacher predicts, each row asked once: rounding depends on how many are computed together."""
        _, first, inverse = np.unique(rows.keys, return_index=True, return_inverse=True)
        soft = self._asked(rows.take(first).X)
        if not np.isfinite(soft).all():
            raise ValueError(f"The teacher {type(self.teacher_).__name__} predicts values that are NaN or infinite.")
        return soft[inverse]

    def _joined(self, rows: Rows, more: Inputs, guessed: np.ndarray) -> Rows:
        X = {k: np.concatenate([v, more[k]]) for k, v in rows.X.items()} if isinstance(rows.X, dict) else None
        weight = None if rows.weight is None else np.concatenate([rows.weight, np.ones(len(guessed))])
        y = np.concatenate([rows.y, self._guessed(guessed).astype(rows.y.dtype)])
        return Rows(np.concatenate([rows.X, more]) if X is None else X, y, weight, task=rows.task)
