"""TransRate (Huang et al., 2022)."""

from __future__ import annotations

import math

import numpy as np

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled


class TransRate(Transferability):
    r"""Rank models by how much shorter the labels make a code of their features (TransRate).

    .. math:: R(F) - \sum_c \frac{n_c}{n} R(F_c), \qquad
        R(F) = \frac{1}{2} \log\det\left(I + \frac{1}{n \varepsilon} F^\top F\right)

    with the features centred, and scaled to rows of mean square 1, and :math:`F_c` those of class c.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.
    eps : float, default=1e-4
        Error of the code, as a share of the mean square of the features. With a larger one small differences between
        features count less.

    Notes
    -----
    Costs C + 1 singular value decompositions, O(n d min(n, d)) for n rows, d features and C classes. It is not
    negative. The scaling makes the unit of the features irrelevant. The code in the paper weighs classes alike, as its
    data were balanced; here they count by their rows, as in its formula. With fewer rows in a class than features it
    grows with the number of features whatever the labels are: compare models of equal width then, or take
    :class:`LogME`.

    References
    ----------
    Huang, Huang, Rong, Yang and Wei, "Frustratingly easy transferability estimation", ICML 2022, arXiv:2106.09362.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import TransRate
    >>> features = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> round(TransRate(eps=0.5).score(features, [0, 0, 1, 1]), 3)  # each class on an axis of its own
    0.144
    >>> round(TransRate(eps=0.5).score(features, [0, 1, 0, 1]), 3)
    0.0
    """

    _test_sets = ({}, {"eps": 0.1})

    def __init__(self, n_members: int = 1, eps: float = 1e-4):
        self.n_members = n_members
        self.eps = eps

    def _score(self, rows: Labelled) -> float:
        if not 0 < self.eps < math.inf:
            raise ValueError(f"eps of TransRate must be positive and finite; got {self.eps!r}.")
        centred = rows.centred()
        size = np.sqrt(rows.weight @ (centred**2).sum(axis=1) / rows.total)
        if size == 0:  # no feature varies
            return 0.0
        counts = rows.class_weights()
        of_class = [rows.targets == c for c in range(len(counts))]
        rates = [self._rate(centred[own] / size, rows.weight[own]) for own in of_class]
        return self._rate(centred / size, rows.weight) - float(counts @ rates) / rows.total

    def _rate(self, features: np.ndarray, weight: np.ndarray) -> float:
        s = np.linalg.svd(np.sqrt(weight)[:, None] * features, compute_uv=False)
        return float(np.log1p(s**2 / (weight.sum() * self.eps)).sum() / 2)
