"""Super learner weights: those of the least held-out loss (Breiman, 1996; van der Laan et al., 2007)."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning

from skfusion.combine._predictions import HeldOut
from skfusion.combine._weights import LearnedWeights

ENOUGH = 1e-6
"""How far above the minimum the loss may end before a warning is given: nats, or a share of the squared error."""

STEPS = 100
"""Newton steps at most; some five are taken as a rule."""

TIGHT = 1e-9
"""The gap, in nats, at which Newton steps end."""

HOPELESS = 1e8
"""How many times farther than the nearest point one may lie: beyond, its weight would be lost in rounding."""


class WeightedAverage(LearnedWeights):
    r"""Average with the weights that have the least loss on held-out rows.

    .. math:: \lambda = \arg\min_{\lambda_k \ge 0,\ \sum_k \lambda_k = 1} \sum_i w_i\,
        \ell\Big(\sum_k \lambda_k p_k(x_i), y_i\Big)

    The loss :math:`\ell` is the log-loss of classes, the mean log-loss of labels, and the squared error of values,
    each value in units of its standard deviation.

    Attributes
    ----------
    weights_ : ndarray of shape (n_members,)
        The weights; many are zero as a rule.
    loss_ : float
        Mean loss on the held-out rows: nats, or squared error over variance (one minus R2).

    Notes
    -----
    The problem is convex, and active sets solve it: least squares with non-negative coefficients for values (one pass
    over the K n held-out predictions), and Newton steps that are such problems for classes and labels (some five
    passes, seldom more than thirty), of O(K^2 n) each for K members. The weights meet the Karush-Kuhn-Tucker
    conditions: with the gradient g of the loss, no loss is smaller by more than :math:`\lambda^T g - \min_k g_k`, and
    where that is above 1e-6 nats, or 1e-6 of the squared error (1e-9 of the best member's, if that is more), a
    ``ConvergenceWarning`` is given. Members whose error is 1e8 times that of the best one are left out beforehand, as
    rounding would hide what they add. Apart from that, no member alone and no fixed average has a smaller held-out
    loss. With few rows and many members the weights fit the rows too closely; there ``Average()`` is safer.

    References
    ----------
    Breiman, "Stacked regressions", Machine Learning 24, 1996, doi:10.1007/BF00117832. van der Laan, Polley and
    Hubbard, "Super learner", Statistical Applications in Genetics and Molecular Biology 6, 2007,
    doi:10.2202/1544-6115.1309. Kim, Carbonetto, Stephens and Anitescu, "A fast algorithm for maximum likelihood
    estimation of mixture proportions using sequential quadratic programming", Journal of Computational and Graphical
    Statistics 29, 2020, doi:10.1080/10618600.2019.1689985.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import WeightedAverage
    >>> y = np.array([[-1.0], [1.0]])
    >>> P = np.stack([y - 1, y + 3])  # one member is 1 too low, the other 3 too high
    >>> WeightedAverage().fit(P, y, "regression").weights_.round(3).tolist()
    [0.75, 0.25]
    """

    def _learn(self, held: HeldOut) -> None:
        least = squared_error if held.task == "regression" else log_loss
        self.weights_, self.loss_, gap, allowed = least(held)
        if gap > allowed:
            warnings.warn(
                f"The weights of {len(held.P)} members may be off the best held-out loss, {self.loss_:.6g}, by "
                f"{gap:.2g}. Predictions of very different scales do that; leave out members that are far off.",
                ConvergenceWarning,
                stacklevel=3,
            )


def log_loss(held: HeldOut) -> tuple[np.ndarray, float, float, float]:
    """Return the weights of the least mean log-loss, this loss, the bound on its error, and the allowed error."""
    truth = held.of_truth()
    weight = np.repeat(held.weight, truth.shape[1] // len(held.weight))
    weight /= weight.sum()
    weights = likeliest_mixture(truth, weight)
    mixed = weights @ truth
    gap = float((truth @ (weight / mixed)).max() - 1)
    return weights, float(-(weight @ np.log(mixed))), gap, ENOUGH


def squared_error(held: HeldOut) -> tuple[np.ndarray, float, float, float]:
    """Return the same for the least mean squared error over the variance."""
    scale = np.sqrt(held.weight[:, None] / held.weight.sum() / held.variances() / held.P.shape[2])
    errors = (held.errors() * scale).reshape(len(held.P), -1)
    weights = nearest_to_origin(errors.T)
    used = np.flatnonzero(weights)
    mixed = weights[used] @ errors[used]
    loss, alone = float(mixed @ mixed), (errors**2).sum(axis=1)
    near = alone <= 1e16 * alone.min()  # members that are farther off have no weight, and their slope is noise
    gap = float(2 * (loss - (errors[near] @ mixed).min()))
    return weights, loss, gap, ENOUGH * max(loss, 1e-3 * float(alone.min()))


def nearest_to_origin(points: np.ndarray) -> np.ndarray:
    """Return the weights of the convex combination of points that is nearest to the origin.

    Minimising :math:`\\|A x\\|^2 + (1 - \\sum x)^2 c` over :math:`x \\ge 0` gives a multiple of them for every c, so
    that least squares with non-negative coefficients (Lawson and Hanson, 1974) solves it, in finitely many steps.

    ``points`` has the shape (n_dimensions, n_points), at any scales. The weights, shape (n_points,), are not negative,
    sum to 1, and are exactly 0 for points that do not join.
    """
    size = np.linalg.norm(points, axis=0)
    nearest, weights = size.min(), np.zeros(len(size))
    if nearest == 0:
        return np.where(size == 0, 1.0, 0.0) / np.count_nonzero(size == 0)
    kept = np.flatnonzero(size < HOPELESS * nearest)
    units = points[:, kept] / size[kept]  # of length one, so that a distant point does not hide the others
    if len(units) > len(kept):
        units = np.linalg.qr(units, mode="r")
    problem = np.vstack([units, nearest / size[kept]])
    try:
        weights[kept] = nnls(problem, np.eye(len(problem))[-1], maxiter=10 * len(kept) + 100)[0] / size[kept]
    except RuntimeError:  # rounding can make it repeat its steps without end
        weights[kept] = size[kept] == nearest
    return weights / weights.sum()


def likeliest_mixture(truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weights of the mixture of least log-loss, by Newton steps (Kim et al., 2020).

    ``truth``, shape (n_members, n_samples), has the positive probabilities that members give to what is true, and the
    weights of the samples sum to 1. The weights of the members are like those of :func:`nearest_to_origin`.
    """
    weights, whole = np.full(len(truth), 1 / len(truth)), True
    mixed, root = weights @ truth, np.sqrt(weight)
    for _ in range(STEPS):
        ratio = truth / mixed
        slope = ratio @ weight  # the gradient is -slope, and its product with the weights -1
        if slope.max() - 1 <= TIGHT and whole:
            break
        # on the simplex the second-order model of the loss is the distance of these points' combination from 0
        best = nearest_to_origin((ratio * root).T - 2 * root[:, None])
        step, size = _step(best - weights, truth, mixed, weight, slope)
        if size == 0:
            break
        whole = size == 1
        weights = best if whole else weights + step
        mixed = weights @ truth
    return weights


def _step(
    way: np.ndarray, truth: np.ndarray, mixed: np.ndarray, weight: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the longest step of size 1, 1/2, 1/4 ... that lowers the log-loss, and its size; 0 if none does."""
    before, ahead, promised = weight @ np.log(mixed), way @ truth, slope @ way
    noise = 4 * np.finfo(np.float64).eps * (1 + abs(before))
    size = 1.0
    while promised > 0 and size > 1e-9:
        gain = weight @ np.log(np.maximum(mixed + size * ahead, np.finfo(np.float64).tiny)) - before
        if gain >= 1e-4 * size * promised - noise:
            return size * way, size
        size /= 2
    return 0 * way, 0.0
