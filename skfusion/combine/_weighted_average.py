"""Super learner weights: those of the least held-out loss (Breiman, 1996; van der Laan et al., 2007)."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skfusion._rows import Task
from skfusion.combine._held_out import HeldOut
from skfusion.combine._simplex import likeliest_mixture, nearest_to_origin
from skfusion.combine._weights import LearnedWeights

ENOUGH = 1e-6
"""How far above the minimum the loss may end before a warning is given: nats, or a share of the squared error."""


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

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> WeightedAverage:
        """Find the weights; see :meth:`Combiner.fit`."""
        held = HeldOut.checked("WeightedAverage", P, y, task, sample_weight)
        self.weights_, self.loss_, gap, allowed = squared_error(held) if task == "regression" else log_loss(held)
        if gap > allowed:
            warnings.warn(
                f"The weights of {len(P)} members may be off the best held-out loss, {self.loss_:.6g}, by {gap:.2g}. "
                "Predictions of very different scales do that; leave out members that are far off.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self


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
