"""Dynamic ensemble selection: members chosen (KNORA-Eliminate) or weighted (KNORA-Union, KNOP) anew for every row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from skfusion._docs import doc, template
from skfusion._rows import Task
from skfusion.combine._predictions import HeldOut, Learner, check_fitted, check_members, floating

AT_A_TIME = 2_000_000
"""Distances, or judgements of members, that are held in memory."""

ROUNDING = 1e-9
"""A weight that is left over by rounding makes no neighbour."""


@template
class ByNeighbours(Learner):
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

    by_score: ClassVar[bool] = True

    def __init__(self, n_neighbors: int = 7):
        self.n_neighbors = n_neighbors

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for an invalid number of neighbours; see :meth:`Combiner.check`."""
        n = self.n_neighbors
        if not isinstance(n, Integral) or n < 1:
            raise ValueError(f"n_neighbors of {type(self).__name__} must be a whole number, 1 or more; got {n!r}.")

    def _learn(self, held: HeldOut) -> None:
        self.neighbours_ = Neighbours(held, self.n_neighbors)

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
        weight = weight[:, :, None, None]
        if self.task_ == "regression":
            badness = (quality * weight).sum(axis=1)
        else:  # less the number of neighbours, the nearest first, before the first mistake
            badness = -np.logical_and.accumulate(quality & (weight > 0), axis=1).sum(axis=1)
        return (badness == badness.min(axis=1, keepdims=True)).astype(np.float64)


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
        total = (quality * weight[:, :, None, None]).sum(axis=1)
        if self.task_ != "regression":  # the weight of the neighbours that members are right on
            return np.where(total.any(axis=1, keepdims=True), total, 1.0)
        least = total.min(axis=1, keepdims=True)  # errors, of which the inverses are relative to the least one
        return np.where(least > 0, least / np.where(least > 0, total, 1.0), total == 0)


class Neighbours:
    """Held-out rows with the members' predictions for them, of which those are near that have a weight in sum.

    ``quality``, shape (n_samples, n_members, n_targets), tells whether a member is right, or in regression has its
    squared errors; classes have one target. ``most`` is how many rows can be near.
    """

    def __init__(self, held: HeldOut, n_neighbors: int):
        self.n_neighbors, self.weight = n_neighbors, held.weight
        self.scale = np.sqrt(held.variances()) if held.task == "regression" else np.ones(held.P.shape[2])
        self.profiles = self._profiles(held.P)
        quality = {
            "classification": lambda: (held.P.argmax(axis=2) == held.y)[:, :, None],
            "multilabel": lambda: (held.P > 0.5) == (held.y == 1),
            "regression": lambda: held.errors() ** 2,
        }[held.task]()
        self.quality = quality.transpose(1, 0, 2)
        lightest = np.cumsum(np.sort(self.weight))  # most rows are near where those of the least weight are
        self.most = min(len(self.weight), 1 + int(np.searchsorted(lightest, n_neighbors - ROUNDING)))

    def combine(self, P: np.ndarray, shares: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return predictions, shape (n_samples, n_outputs), that are averaged with other weights for each row.

        ``shares(quality, weight)`` of the nearest rows, the nearest first, shapes (n_samples, n_near, n_members,
        n_targets) and (n_samples, n_near), are weights of members, shape (n_samples, n_members, n_targets).
        """
        combined = np.empty(P.shape[1:], floating(P))
        step = max(1, AT_A_TIME // max(len(self.profiles), self.most * self.quality[0].size))
        for start in range(0, P.shape[1], step):
            part = P[:, start : start + step]
            near, weight = self.nearest(part)
            share = shares(self.quality[near], weight)
            share = share / share.sum(axis=1, keepdims=True)
            combined[start : start + step] = (share * part.transpose(1, 0, 2)).sum(axis=1)
        return combined

    def nearest(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest rows and the weights with which they count, both of shape (n_samples, n_near).

        The nearest come first; of rows at the same distance the earlier one. The weights of each row sum to
        ``n_neighbors``, or to the weight of all held-out rows where that is less; they are zero beyond that.
        """
        order = np.argsort(cdist(self._profiles(P), self.profiles, "sqeuclidean"), axis=1, kind="stable")
        weight = self.weight[order]
        before = np.cumsum(weight, axis=1) - weight
        left = self.n_neighbors - before
        weight = np.where(left > ROUNDING, np.minimum(left, weight), 0.0)
        n_near = int((weight > 0).sum(axis=1).max())
        return order[:, :n_near], weight[:, :n_near]

    def _profiles(self, P: np.ndarray) -> np.ndarray:
        return (P.astype(np.float64) / self.scale).transpose(1, 0, 2).reshape(P.shape[1], -1)
