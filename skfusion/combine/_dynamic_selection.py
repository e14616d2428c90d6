"""KNORA-Eliminate: members chosen anew for every row (Ko, Sabourin and Britto, 2008)."""

from __future__ import annotations

import numpy as np

from skfusion.combine._neighbours import ByNeighbours


class DynamicSelection(ByNeighbours):
    r"""Average, for each row, the members that are right on all of the nearest held-out rows (KNORA-Eliminate).

    .. math:: S(x) = \arg\max_k \max\{r : \text{member } k \text{ is right on the } r \text{ nearest rows of } x\},
        \qquad f(x) = \frac{1}{|S(x)|} \sum_{k \in S(x)} f_k(x)

    Where no member is right on all of them, the farthest neighbours are left out until one is; where none is right on
    the nearest row, all members are averaged. Each label selects its own members. In regression each value selects the
    member of the least squared error on the neighbours (Rooney et al., 2004).

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

    References
    ----------
    Ko, Sabourin and Britto, "From dynamic classifier selection to dynamic ensemble selection", Pattern Recognition 41,
    2008, doi:10.1016/j.patcog.2007.10.015. Cavalin, Sabourin and Suen, "Dynamic selection approaches for multiple
    classifier systems", Neural Computing and Applications 22, 2013, doi:10.1007/s00521-011-0737-9. Rooney, Patterson,
    Anand and Tsymbal, "Dynamic integration of regression models", MCS 2004, LNCS 3077.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import DynamicSelection
    >>> y = np.array([0, 0, 1, 1])
    >>> first = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])  # always says 0
    >>> second = np.array([[0.2, 0.8], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]])  # always says 1
    >>> P = np.stack([first, second])
    >>> DynamicSelection(n_neighbors=2).fit(P, y, "classification")(P)[:, 1].tolist()
    [0.1, 0.1, 0.9, 0.9]
    """

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
