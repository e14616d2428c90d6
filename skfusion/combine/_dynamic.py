"""Dynamic ensemble selection: members chosen (KNORA-Eliminate) or weighted (KNORA-Union, KNOP) anew for every row."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral
from typing import ClassVar

import numpy as np

from skfusion._docs import doc, template
from skfusion._rows import Task
from skfusion.combine._base import Combiner
from skfusion.combine._held_out import HeldOut
from skfusion.combine._neighbours import Neighbours
from skfusion.combine._weights import check_fitted, check_members


@template
class ByNeighbours(Combiner):
    """{summary}

    {rule}

    Rows are near when the members' predictions for them are similar: a combiner sees predictions and no inputs, so
    distances are taken between output profiles (Cavalin, Sabourin and Suen, 2013).

    Parameters
    ----------
    n_neighbors : int, default=7
        Held-out rows that a member is judged on; with weights, their weight. With a larger number members are judged
        more surely and less locally.

    Attributes
    ----------
    neighbours_ : Neighbours
        The held-out rows with the members' predictions; it is as large as those.

    Notes
    -----
    Costs O(n m K C) a prediction for n new and m held-out rows, K members and C outputs, for distances are computed
    to all held-out rows.
    {note}

    References
    ----------
    Ko, Sabourin and Britto, "From dynamic classifier selection to dynamic ensemble selection", Pattern Recognition 41,
    2008, doi:10.1016/j.patcog.2007.10.015. Cavalin, Sabourin and Suen, "Dynamic selection approaches for multiple
    classifier systems", Neural Computing and Applications 22, 2013, doi:10.1007/s00521-011-0737-9. Rooney, Patterson,
    Anand and Tsymbal, "Dynamic integration of regression models", MCS 2004, LNCS 3077.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import {name}
    {example}
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, n_neighbors: int = 7):
        self.n_neighbors = n_neighbors

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for an invalid number of neighbours; see :meth:`Combiner.check`."""
        n = self.n_neighbors
        if not isinstance(n, Integral) or n < 1:
            raise ValueError(f"n_neighbors of {type(self).__name__} must be a whole number, 1 or more; got {n!r}.")

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> ByNeighbours:
        """Remember the held-out rows; see :meth:`Combiner.fit`."""
        self.check(task)
        held = HeldOut.checked(type(self).__name__, P, y, task, sample_weight)
        self.neighbours_ = Neighbours(held, self.n_neighbors)
        self.task_: Task = task
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the mean of the members, weighted for each row on its own; see :meth:`Combiner.__call__`."""
        check_fitted(self, "neighbours_")
        check_members(self, self.neighbours_.quality.shape[1], len(P))
        return self.neighbours_.combine(P, self._shares)

    @abstractmethod
    def _shares(self, quality: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the weights of members; see :meth:`Neighbours.combine`."""


@doc(
    summary="Average, for each row, the members that are right on all of the nearest held-out rows (KNORA-Eliminate).",
    rule=r"""
    .. math:: S(x) = \arg\max_k \max\{r : \text{member } k \text{ is right on the } r \text{ nearest rows of } x\},
        \qquad f(x) = \frac{1}{|S(x)|} \sum_{k \in S(x)} f_k(x)

    Where no member is right on all of them, the farthest neighbours are left out until one is; where none is right on
    the nearest row, all members are averaged. Each label selects its own members. In regression each value selects the
    member of the least squared error on the neighbours (Rooney et al., 2004).""",
    note="",
    example="""
    >>> y = np.array([0, 0, 1, 1])
    >>> first = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])  # always says 0
    >>> second = np.array([[0.2, 0.8], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]])  # always says 1
    >>> P = np.stack([first, second])
    >>> DynamicSelection(n_neighbors=2).fit(P, y, "classification")(P)[:, 1].tolist()
    [0.1, 0.1, 0.9, 0.9]""",
)
class DynamicSelection(ByNeighbours):
    def _shares(self, quality: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return least_error(quality, weight) if self.task_ == "regression" else right_for_longest(quality, weight)


def right_for_longest(right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return 1 for members that are right on the most neighbours before their first mistake, the nearest first."""
    counted = right & (weight > 0)[:, :, None, None]
    length = np.logical_and.accumulate(counted, axis=1).sum(axis=1)
    return (length == length.max(axis=1, keepdims=True)).astype(np.float64)


def least_error(errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return 1 for members of the least error, summed over the neighbours."""
    total = (errors * weight[:, :, None, None]).sum(axis=1)
    return (total == total.min(axis=1, keepdims=True)).astype(np.float64)


@doc(
    summary="Weigh members, for each row, by how many of the nearest held-out rows they get right (KNORA-Union, KNOP).",
    rule=r"""
    .. math:: f(x) = \sum_k \lambda_k(x) f_k(x), \qquad
        \lambda_k(x) \propto \#\{i \in N(x) : \text{member } k \text{ is right on row } i\}

    Where no member is right on any of them, all have the same weight. Each label has its own weights of members. In
    regression the weight of a member is the inverse of its mean squared error on the neighbours, for each value
    separately (Rooney et al., 2004); members without any error share the weight.""",
    note="Where members have equal weights it is the average, which ``DynamicSelection`` leaves sooner.",
    example="""
    >>> y = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> P = np.stack([y + 1, y - 2])  # errors of 1 and 2, so weights of 4/5 and 1/5
    >>> DynamicWeighting(n_neighbors=2).fit(P, y, "regression")(P).ravel().round(2).tolist()
    [0.4, 0.5, 5.4, 5.5]""",
)
class DynamicWeighting(ByNeighbours):
    def _shares(self, quality: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return inverse_error(quality, weight) if self.task_ == "regression" else right_count(quality, weight)


def right_count(right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weight of the neighbours that members are right on; 1 for all where it is nothing."""
    total = (right * weight[:, :, None, None]).sum(axis=1)
    return np.where(total.any(axis=1, keepdims=True), total, 1.0)


def inverse_error(errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the inverse of the members' errors, summed over the neighbours, relative to the least one."""
    total = (errors * weight[:, :, None, None]).sum(axis=1)
    least = total.min(axis=1, keepdims=True)
    return np.where(least > 0, least / np.where(least > 0, total, 1.0), total == 0)
