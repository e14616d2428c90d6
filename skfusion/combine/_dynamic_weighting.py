"""Members weighed anew for every row (Ko, Sabourin and Britto, 2008; Cavalin et al., 2013)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from skfusion._rows import Task
from skfusion.combine._base import Combiner
from skfusion.combine._held_out import HeldOut
from skfusion.combine._neighbours import Neighbours, check_neighbors
from skfusion.combine._weights import check_fitted, check_members


class DynamicWeighting(Combiner):
    r"""Weigh members, for each row, by how many of the nearest held-out rows they are right on (KNORA-Union, KNOP).

    .. math:: f(x) = \sum_k \lambda_k(x) f_k(x), \qquad
        \lambda_k(x) \propto \#\{i \in N(x) : \text{member } k \text{ is right on row } i\}

    Where no member is right on any of them, all count alike. Labels weigh the members each by itself. In regression
    the weight of a member is the inverse of its mean squared error on the neighbours, for each value by itself
    (Rooney et al., 2004); members without any error share the weight.

    Rows are near when the members predict alike for them: a combiner sees predictions and no inputs, so neighbours are
    looked for in the space of output profiles (Cavalin, Sabourin and Suen, 2013).

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
    to all held-out rows. Where members have equal weights it is the average, which ``DynamicSelection`` leaves sooner.

    References
    ----------
    Ko, Sabourin and Britto, "From dynamic classifier selection to dynamic ensemble selection", Pattern Recognition 41,
    2008, doi:10.1016/j.patcog.2007.10.015. Cavalin, Sabourin and Suen, "Dynamic selection approaches for multiple
    classifier systems", Neural Computing and Applications 22, 2013, doi:10.1007/s00521-011-0737-9. Rooney, Patterson,
    Anand and Tsymbal, "Dynamic integration of regression models", MCS 2004, LNCS 3077.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import DynamicWeighting
    >>> y = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> P = np.stack([y + 1, y - 2])  # errors of 1 and 2, so weights of 4/5 and 1/5
    >>> DynamicWeighting(n_neighbors=2).fit(P, y, "regression")(P).ravel().round(2).tolist()
    [0.4, 0.5, 5.4, 5.5]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, n_neighbors: int = 7):
        self.n_neighbors = n_neighbors

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for a number of neighbours that can be none; see :meth:`Combiner.check`."""
        check_neighbors(self.n_neighbors, "DynamicWeighting")

    def fit(
        self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None
    ) -> DynamicWeighting:
        """Remember the held-out rows; see :meth:`Combiner.fit`."""
        self.check(task)
        held = HeldOut.checked("DynamicWeighting", P, y, task, sample_weight)
        self.neighbours_ = Neighbours("DynamicWeighting", held, self.n_neighbors)
        self.task_: Task = task
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the mean of the members, weighted for each row by itself; see :meth:`Combiner.__call__`."""
        check_fitted(self, "neighbours_")
        check_members(self, self.neighbours_.quality.shape[1], len(P))
        return self.neighbours_.combine(P, inverse_error if self.task_ == "regression" else right_count)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}


def right_count(right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weight of the neighbours that members are right on; 1 for all where it is nothing."""
    total = (right * weight[:, :, None, None]).sum(axis=1)
    return np.where(total.any(axis=1, keepdims=True), total, 1.0)


def inverse_error(errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the inverse of the members' errors, summed over the neighbours, relative to the least one."""
    total = (errors * weight[:, :, None, None]).sum(axis=1)
    least = total.min(axis=1, keepdims=True)
    return np.where(least > 0, least / np.where(least > 0, total, 1.0), total == 0)
