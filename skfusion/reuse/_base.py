"""The search family: which models of a pool fit a new task, and what is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from skfusion._component import Component

if TYPE_CHECKING:
    from skfusion.reuse._pool import ReusePool
    from skfusion.reuse._reuser import Reuser


class Search(Component, ABC):
    """Find the models of a pool that fit a new task."""

    needs_labels: ClassVar[bool] = False
    """Whether it asks for the labels of the rows."""

    @abstractmethod
    def __call__(self, pool: ReusePool, X: Any, y: Any = None) -> Found:
        """Search a pool.

        Parameters
        ----------
        pool : ReusePool
            The models.
        X : array-like of shape (n_samples, ...)
            Inputs of the new task, as the models take them.
        y : array-like of shape (n_samples,), optional
            Their labels or values.

        Returns
        -------
        Found
            What is found.
        """


@dataclass(frozen=True, eq=False)
class Found:
    """What a search has found in a pool.

    Parameters
    ----------
    pool : ReusePool
        All models that were searched.
    weights : ndarray of shape (n_members,)
        How much of each model the new task is taken to be, of sum one; zero for those that are not chosen.
    scores : ndarray of shape (n_members,)
        By which models are ranked, higher is better; NaN where a model has none.
    score_name : str
        What the scores are.
    distance : float, optional
        The maximum mean discrepancy of the mixture by these weights from the new inputs.
    threshold : float, optional
        The distance that inputs from the very sources of the chosen models exceed in at most 5 % of cases.
    reuse : Reuser, optional
        How the search would have the chosen models predict together; None where it leaves that open.
    """

    pool: ReusePool
    weights: np.ndarray
    scores: np.ndarray
    score_name: str
    distance: float | None = None
    threshold: float | None = None
    reuse: Reuser | None = None

    @classmethod
    def best_of(cls, pool: ReusePool, scores: Any, score_name: str, n_members: int = 1) -> Found:
        """Return the best models by a score, equally weighted.

        Parameters
        ----------
        pool : ReusePool
            The models.
        scores : array-like of shape (n_members,)
            Higher is better; NaN where a model has none.
        score_name : str
            What the scores are.
        n_members : int, default=1
            How many to choose, at most.

        Returns
        -------
        Found
            What is found.
        """
        scores = np.asarray(scores, np.float64)
        order = np.argsort(-scores, kind="stable")
        best = order[np.isfinite(scores[order])][:n_members]
        if not len(best):
            raise ValueError(f"None of the models has a finite {score_name}: {pool.names}.")
        weights = np.zeros(len(pool))
        weights[best] = 1 / len(best)
        return cls(pool, weights, scores, score_name)

    @property
    def names(self) -> list[str]:
        """Names of the chosen models, those of the largest weights first, and among equals of the best score."""
        order = np.lexsort((-np.nan_to_num(self.scores, nan=-np.inf), -self.weights))
        return [self.pool.names[i] for i in order if self.weights[i] > 0]

    @property
    def chosen(self) -> ReusePool:
        """The chosen models, in the order of ``names``."""
        return self.pool[self.names]

    @property
    def chosen_weights(self) -> np.ndarray:
        """The weights of the chosen models, in the order of ``names``."""
        return np.array([self.weights[self.pool.names.index(name)] for name in self.names])

    @property
    def fits(self) -> bool | None:
        """Whether the new inputs may come from the sources of the chosen models; None where that is not tested."""
        if self.distance is None or self.threshold is None:
            return None
        return self.distance <= self.threshold

    def to_frame(self) -> pd.DataFrame:
        """Return a table of the models.

        Returns
        -------
        DataFrame of shape (n_members, 3)
            The score, the weight, and whether it is chosen, of each model, the chosen ones first.
        """
        order = np.lexsort((-np.nan_to_num(self.scores, nan=-np.inf), -self.weights))
        columns = {self.score_name: self.scores, "weight": self.weights, "chosen": self.weights > 0}
        frame = pd.DataFrame(columns, index=pd.Index(self.pool.names, name="member"))
        return frame.iloc[order]

    def __str__(self) -> str:
        parts = ", ".join(f"{n} ({w:.3g})" for n, w in zip(self.names, self.chosen_weights, strict=True))
        if self.fits is None:
            return f"Chosen by {self.score_name}: {parts}. Whether they fit is not tested."
        compared = f"distance {self.distance:.3g}, threshold {self.threshold:.3g}"
        if self.fits:
            return f"Chosen by {self.score_name}: {parts}. The inputs may come from their sources ({compared})."
        return f"Nothing fits: the nearest are {parts}, and the inputs do not come from their sources ({compared})."
