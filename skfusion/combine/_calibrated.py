"""Members with a temperature each (Guo et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.base import clone

from skfusion.combine._average import Average
from skfusion.combine._base import Combiner
from skfusion.combine._held_out import HeldOut
from skfusion.combine._logs import from_logs, logs
from skfusion.combine._weights import check_fitted, check_members, floating
from skfusion.rows import Task

LIMIT = 20.0
"""Temperatures are looked for between 1 / LIMIT and LIMIT."""


class Calibrated(Combiner):
    r"""Give every member the temperature of the least held-out log-loss, then combine.

    .. math:: p_k^{(T)}(x) = \operatorname{softmax}(\log p_k(x) / T_k), \qquad
        T_k = \arg\min_T -\sum_i w_i \log p_{k, y_i}^{(T)}(x_i)

    Of labels, which do not exclude each other, the log-odds are divided by the temperature.

    Parameters
    ----------
    combine : Combiner, optional
        How the calibrated predictions are combined; ``Average()`` when omitted.

    Attributes
    ----------
    temperatures_ : ndarray of shape (n_members,)
        Above 1 for members that are too sure, below for those that are not sure enough. They lie between 1/20, which a
        member comes near that is always right, and 20, where one ends that is no better than chance.
    combine_ : Combiner
        Fitted on the calibrated predictions for the same rows.

    Notes
    -----
    Costs some 20 passes over the held-out predictions of each member. The loss is convex in :math:`1/T`, so the
    minimum is the only one. A member's classes keep their order, so its accuracy stays; that of the ensemble may
    change, for the members' votes of confidence become comparable.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Calibrated
    >>> y = np.array([0, 0, 0, 1])
    >>> P = np.tile([0.9, 0.1], (1, 4, 1))  # sure by nine to one, right by three to one: T = log 9 / log 3
    >>> Calibrated().fit(P, y, "classification").temperatures_.round(2).tolist()
    [2.0]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, combine: Any = None):
        self.combine = combine

    @property
    def out_of_fold(self) -> bool:
        """Whether ``fit`` must be given out-of-fold predictions: where the combiner inside must."""
        return self._part().out_of_fold

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for regression, and for what the combiner inside refuses; see :meth:`Combiner.check`."""
        if task == "regression":
            raise ValueError("Calibrated needs probabilities; for regression use the combiner inside by itself.")
        self._part().check(task)

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Calibrated:
        """Find the temperatures, and fit the combiner inside; see :meth:`Combiner.fit`."""
        self.check(task)
        held = HeldOut.checked("Calibrated", P, y, task, sample_weight)
        self.task_: Task = task
        z = logs(held.P, task)
        self.temperatures_ = np.array([temperature(member, held.y, held.weight, task) for member in z])
        self.combine_ = clone(self._part()).fit(self._scaled(P), y, task, sample_weight)
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the combination of the calibrated predictions; see :meth:`Combiner.__call__`."""
        check_fitted(self, "combine_")
        check_members(self, len(self.temperatures_), P)
        return self.combine_(self._scaled(P))

    def _part(self) -> Combiner:
        return Average() if self.combine is None else self.combine

    def _scaled(self, P: np.ndarray) -> np.ndarray:
        z = logs(P, self.task_) / self.temperatures_[:, None, None]
        return from_logs(z, self.task_).astype(floating(P), copy=False)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}


def temperature(z: np.ndarray, y: np.ndarray, weight: np.ndarray, task: Task) -> float:
    """Return the temperature at which predictions have the least log-loss.

    Parameters
    ----------
    z : ndarray of shape (n_samples, n_outputs)
        Log-probabilities of classes, or log-odds of labels.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class codes, or indicators.
    weight : ndarray of shape (n_samples,)
        Of the rows.
    task : {"classification", "multilabel"}
        What the outputs are.

    Returns
    -------
    float
        Between 1 / LIMIT and LIMIT.
    """
    if task == "multilabel":
        margin = np.where(y == 1, -z, z)[:, None, :]  # of the wrong answer over the right one
    else:
        right = np.take_along_axis(z, y.astype(np.intp)[:, None], axis=1)
        margin = (z - right)[:, :, None]

    def loss(log_t: float) -> float:
        scaled = margin / np.exp(log_t)
        if task == "multilabel":
            return float(weight @ np.logaddexp(0, scaled).mean(axis=(1, 2)))
        top = np.maximum(scaled.max(axis=1), 0)
        return float(weight @ (np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top)[:, 0])

    ends = np.log(LIMIT)
    return float(np.exp(minimize_scalar(loss, bounds=(-ends, ends), method="bounded", options={"xatol": 1e-6}).x))
