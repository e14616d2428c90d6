"""H-score with a shrunk covariance (Ibrahim et al., 2021)."""

from __future__ import annotations

import numpy as np

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled


class RegularizedHScore(Transferability):
    r"""Rank models by the H-score with a covariance that is shrunk by the rule of Ledoit and Wolf.

    .. math:: \operatorname{tr}\left(\big((1 - \alpha) \Sigma + \alpha \sigma I\big)^{-1}
        (1 - \alpha) \operatorname{cov}(\mathbb{E}[F \mid Y])\right), \qquad \sigma = \operatorname{tr}(\Sigma) / d

    where :math:`\Sigma` is the covariance of the features and :math:`\alpha`, from 0 to 1, is larger where rows are
    few. With many rows it is the H-score.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.

    Notes
    -----
    Costs one singular value decomposition, O(n d min(n, d)) for n rows and d features. Rotations of the features and
    their common scale have no influence; as the shrinkage is towards equal variances, the scales of single features do.

    References
    ----------
    Ibrahim, Ponomareva and Mazumder, "Newer is not always better: rethinking transferability metrics, their
    peculiarities, stability and performance", ECML PKDD 2022, arXiv:2110.06893. Ledoit and Wolf, "A well-conditioned
    estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004,
    doi:10.1016/S0047-259X(03)00096-4.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import HScore, RegularizedHScore
    >>> rng = np.random.default_rng(0)
    >>> noise, y = rng.normal(size=(20, 30)), np.repeat([0, 1], 10)
    >>> round(HScore().score(noise, y), 2), RegularizedHScore().score(noise, y) < 0.3
    (1.0, True)
    """

    def _score(self, rows: Labelled) -> float:
        centred = rows.centred()
        U, s, _ = rows.singular(centred)
        variances = s**2 / rows.total
        alpha = shrinkage(variances, rows.weight @ (centred**2).sum(axis=1) ** 2, rows.total, centred.shape[1])
        sums = rows.class_sums((rows.weight**0.5)[:, None] * U)
        shares = (sums**2 / rows.class_weights()[:, None]).sum(axis=0)  # of the variance along each singular vector
        kept = (1 - alpha) * variances
        shrunk = kept + alpha * variances.sum() / centred.shape[1]
        return float((shares * kept / shrunk).sum())


def shrinkage(variances: np.ndarray, fourth: float, n: float, d: int) -> float:
    """Return how far to shrink a covariance of d features towards equal variances (Ledoit and Wolf, 2004).

    ``variances`` are its eigenvalues, without zeros, and ``fourth`` the sum over n rows of the fourth powers of their
    lengths.
    """
    squares = (variances**2).sum()
    distance = squares - variances.sum() ** 2 / d  # of the covariance from equal variances
    error = (fourth / n - squares) / n  # of the covariance from the true one
    return 0.0 if min(error, distance) <= 0 else float(min(error / distance, 1))
