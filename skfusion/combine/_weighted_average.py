"""The weights of the least held-out loss (Breiman, 1996; van der Laan et al., 2007)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from skfusion.combine._base import Combiner
from skfusion.combine._held_out import HeldOut
from skfusion.combine._weights import learned_sum
from skfusion.rows import Task

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A convex function of weights of shape (n_members,), with its gradient."""

ENOUGH = 1e-6
"""How far above the minimum the loss may end before a warning is given: nats, or a share of the members' loss."""


class WeightedAverage(Combiner):
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
    The problem is convex, and sequential quadratic programming solves it: some ten passes over the K n held-out
    predictions, and O(K^3) each for K members. No member alone and no fixed average has a smaller held-out loss.
    With few rows and many members the weights fit the rows too closely; there ``Average()`` is safer.

    References
    ----------
    Breiman, "Stacked regressions", Machine Learning 24, 1996, doi:10.1007/BF00117832. van der Laan, Polley and
    Hubbard, "Super learner", Statistical Applications in Genetics and Molecular Biology 6, 2007,
    doi:10.2202/1544-6115.1309.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import WeightedAverage
    >>> y = np.array([[-1.0], [1.0]])
    >>> P = np.stack([y - 1, y + 3])  # one member is 1 too low, the other 3 too high
    >>> WeightedAverage().fit(P, y, "regression").weights_.round(3).tolist()
    [0.75, 0.25]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> WeightedAverage:
        """Find the weights; see :meth:`Combiner.fit`."""
        held = HeldOut.checked("WeightedAverage", P, y, task, sample_weight)
        loss, scale = squared_error(held) if task == "regression" else (log_loss(held), 1.0)
        self.weights_ = best_on_simplex(loss, len(P), scale)
        self.loss_ = float(loss(self.weights_)[0])
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the weighted mean over members; see :meth:`Combiner.__call__`."""
        return learned_sum(self, P)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}


def log_loss(held: HeldOut) -> Loss:
    """Return the mean log-loss of a weighted average as a function of the weights."""
    truth = held.of_truth()
    weight = np.repeat(held.weight, truth.shape[1] // len(held.weight))
    weight /= weight.sum()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(weights @ truth, np.finfo(np.float64).tiny)  # a step of the solver may overshoot
        return float(-(weight @ np.log(mixed))), -(truth @ (weight / mixed))

    return loss


def squared_error(held: HeldOut) -> tuple[Loss, float]:
    """Return the mean squared error of a weighted average over the variance, and the mean of the members'."""
    scale = np.sqrt(held.weight[:, None] / held.weight.sum() / held.variances() / held.P.shape[2])
    errors = (held.errors() * scale).reshape(len(held.P), -1)
    products = errors @ errors.T

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        slope = products @ weights
        return float(weights @ slope), 2 * slope

    return loss, float(np.trace(products)) / len(products) or 1.0


def best_on_simplex(loss: Loss, n_members: int, scale: float) -> np.ndarray:
    """Return the weights, not negative and of sum one, at which a convex loss of some scale is least."""

    def scaled(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(weights)
        return value / scale, slope / scale

    sum_is_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones((1, n_members))}
    found = minimize(
        scaled, np.full(n_members, 1 / n_members), jac=True, method="SLSQP", bounds=[(0, 1)] * n_members,
        constraints=sum_is_one, options={"maxiter": 1000, "ftol": 1e-15},
    )  # fmt: skip
    weights = np.where(found.x > 1e-12, found.x, 0.0)
    weights /= weights.sum()
    slope = scaled(weights)[1]
    gap = float(weights @ slope - slope.min()) * scale  # a convex loss has no value that is smaller by more than this
    if gap > ENOUGH * scale:
        warnings.warn(
            f"The weights of {n_members} members may be off the best held-out loss by {gap:.2g}: {found.message}.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return weights
