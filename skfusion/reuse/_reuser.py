"""The reuser family: how models that were found predict together for a new task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from skfusion._component import Component
from skfusion.reuse._base import Found


class Reuser(Component, ABC):
    """Make one predictor of the models that a search has found."""

    needs_labels: ClassVar[bool] = False
    """Whether it learns from labelled rows, also of labels that none of the models knows."""

    @abstractmethod
    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Learn what there is to learn.

        Parameters
        ----------
        found : Found
            The models, with weights.
        X : array-like of shape (n_samples, ...)
            Labelled rows of the new task, or rows without labels where ``y`` is None.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs), optional
            Codes of the classes, or values.
        classes : ndarray of shape (n_classes,), optional
            The user's labels in the order of their codes; None in regression.
        seed : int
            Of what is random.

        Returns
        -------
        Reuser
            This object, fitted.
        """

    @abstractmethod
    def __call__(self, X: Any) -> np.ndarray:
        """Predict with what was fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs, as the models take them.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Probabilities of the classes, or values.
        """


def check_known(found: Found, classes: np.ndarray | None) -> None:
    """Raise ``ValueError`` where no model that was found predicts one of the user's labels."""
    if classes is None:
        return
    known = {label for offer in found.chosen for label in offer.labels or ()}
    if not known.intersection(classes.tolist()):
        raise ValueError(
            f"None of the models {found.names} predicts one of the labels {classes.tolist()[:5]}; they predict "
            f"{sorted(known, key=str)[:5]}. Rename them by labels= in ReusePool.add, or learn from labelled rows."
        )


def check_outputs(predictions: dict[str, np.ndarray]) -> None:
    """Raise ``ValueError`` where models predict different numbers of outputs, which cannot be those of one task."""
    widths = {name: P.shape[1] for name, P in predictions.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"The models predict different numbers of outputs, {widths}: search among those of one task.")
