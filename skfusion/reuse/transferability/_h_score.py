"""H-score (Bao et al., 2019)."""

from __future__ import annotations

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled


class HScore(Transferability):
    r"""Rank models by the spread of the class means of their features, in units of the spread of all (H-score).

    .. math:: \operatorname{tr}\left(\operatorname{cov}(F)^{+}\, \operatorname{cov}(\mathbb{E}[F \mid Y])\right)

    It lies between 0 and C - 1 for C classes; C - 1 is reached where the features determine the class linearly.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.

    Notes
    -----
    Costs one singular value decomposition, O(n d min(n, d)) for n rows and d features. Invertible linear maps of the
    features have no influence, and what does not vary or follows from other features is left out. **Take it with many
    more rows than features only**: for random labels it is (C - 1) d / (n - 1), which is the largest value where n = d
    + 1. :class:`RegularizedHScore` is the score for fewer rows.

    References
    ----------
    Bao, Li, Huang, Zhang, Zheng, Zamir and Guibas, "An information-theoretic approach to transferability in task
    transfer learning", ICIP 2019, doi:10.1109/ICIP.2019.8803726.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import HScore
    >>> y = np.array([0, 0, 1, 1, 2, 2])
    >>> round(HScore().score(np.eye(3)[y], y), 6)
    2.0
    """

    def _score(self, rows: Labelled) -> float:
        """Return the squares of the class means in whitened coordinates, which are the left singular vectors."""
        U, _, _ = rows.singular(rows.centred())
        sums = rows.class_sums((rows.weight**0.5)[:, None] * U)
        return float(((sums**2).sum(axis=1) / rows.class_weights()).sum())
