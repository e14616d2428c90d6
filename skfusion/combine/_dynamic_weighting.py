"""KNORA-Union and KNOP: members weighted anew for every row (Ko, Sabourin and Britto, 2008; Cavalin et al., 2013)."""

from __future__ import annotations

import numpy as np

from skfusion.combine._neighbours import ByNeighbours


class DynamicWeighting(ByNeighbours):
    r"""Weigh members, for each row, by how many of the nearest held-out rows they are right on (KNORA-Union, KNOP).

    .. math:: f(x) = \sum_k \lambda_k(x) f_k(x), \qquad
        \lambda_k(x) \propto \#\{i \in N(x) : \text{member } k \text{ is right on row } i\}

    Where no member is right on any of them, all have the same weight. Each label has its own weights of members. In
    regression the weight of a member is the inverse of its mean squared error on the neighbours, for each value
    separately (Rooney et al., 2004); members without any error share the weight.

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
