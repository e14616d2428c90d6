"""Temperature scaling of members, or of what they predict together (Guo et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, softmax
from sklearn.base import clone

from skfusion._rows import Task
from skfusion.combine._average import Average
from skfusion.combine._base import Ask, Combiner
from skfusion.combine._predictions import HeldOut, check_fitted, check_members, floating, from_logs, logs

LIMIT = 20.0
"""Temperatures are looked for between 1 / LIMIT and LIMIT."""


class Calibrated(Combiner):
    r"""Give every member the temperature of the least held-out log-loss, then combine; or first combine.

    .. math:: p_k^{(T)}(x) = \operatorname{softmax}(\log p_k(x) / T_k), \qquad
        T_k = \arg\min_T -\sum_i w_i \log p_{k, y_i}^{(T)}(x_i)

    Of labels, which do not exclude each other, the log-odds are divided by the temperature.

    Parameters
    ----------
    combine : Combiner, optional
        How predictions are combined; ``Average()`` when omitted.
    of : {"members", "ensemble"}, default="members"
        What has a temperature: each member, before they are combined, or what they predict together, as a whole.
        The average of calibrated members is underconfident, as it evens out where they differ; the temperature of the
        ensemble corrects that. ``Calibrated(Calibrated(), of="ensemble")`` has both.

    Attributes
    ----------
    temperatures_ : ndarray of shape (n_members,), or (1,) of an ensemble
        Above 1 for overconfident members, below 1 for underconfident ones. They lie between 1/20, that of a member that
        is always right, and 20, that of one that is no better than chance. A member that finds all classes equally
        probable, which a temperature does not change, has 1.
    combine_ : Combiner
        Fitted on the same rows, with ``of="members"`` on the calibrated predictions.

    Notes
    -----
    Costs some 20 passes over the held-out predictions of each member, or of the ensemble. The loss is convex in
    :math:`1/T`, so the minimum is the only one. A temperature keeps the order of the classes, but for probabilities
    that rounding makes equal: in float32, those that differ by less than about 1e-7. So the accuracy of a member, or
    of an ensemble as a whole, stays; with temperatures of members that of the ensemble may change, for their votes of
    confidence become comparable. The temperature of an ensemble is fitted on the rows that ``combine`` has learned
    from, if it learns: where that overfits, the ensemble stays overconfident.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599. Rahaman
    and Thiery, "Uncertainty quantification and deep ensembles", NeurIPS 2021, arXiv:2007.08792 (of the ensemble).

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Calibrated
    >>> y = np.array([0, 0, 0, 1])
    >>> P = np.tile(
    ...     [0.9, 0.1], (1, 4, 1)
    ... )  # confident by nine to one, right by three to one: T = log 9 / log 3
    >>> Calibrated().fit(P, y, "classification").temperatures_.round(2).tolist()
    [2.0]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, combine: Any = None, of: str = "members"):
        self.combine = combine
        self.of = of

    @property
    def out_of_fold(self) -> bool:
        """Whether ``fit`` must be given out-of-fold predictions: where the combiner inside must."""
        return self._part().out_of_fold

    @property
    def by_score(self) -> bool:
        """Whether the combiner inside learns by a score, on the same weights of rows."""
        return self._part().by_score

    @property
    def lazy(self) -> bool:
        """Whether the combiner inside asks members only for the rows that need them."""
        return self._part().lazy

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for regression, and for what the combiner inside refuses; see :meth:`Combiner.check`."""
        if self.of not in ("members", "ensemble"):
            raise ValueError(f"of must be 'members' or 'ensemble' in Calibrated; got {self.of!r}.")
        if task == "regression":
            raise ValueError("Calibrated needs probabilities; for regression use the combiner inside by itself.")
        self._part().check(task)

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Calibrated:
        """Find the temperatures, and fit the combiner inside; see :meth:`Combiner.fit`."""
        self.check(task)
        held = HeldOut.checked("Calibrated", P, y, task, sample_weight)
        self.task_: Task = task
        self.of_, part, judged = self.of, clone(self._part()), held.P
        if self.of == "ensemble":
            self.combine_ = part.fit(P, y, task, sample_weight)
            judged = np.asarray(self.combine_(held.P))[None]
        self.temperatures_ = np.array([temperature(z, held.y, held.weight, task) for z in logs(judged, task)])
        if self.of == "members":
            self.combine_ = part.fit(self._scaled(P), y, task, sample_weight)
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the combination of calibrated predictions, or a calibrated one; see :meth:`Combiner.__call__`."""
        check_fitted(self, "combine_")
        if self.of_ == "ensemble":
            return self._scaled(self.combine_(P)[None])[0].astype(floating(P), copy=False)
        check_members(self, len(self.temperatures_), len(P))
        return self.combine_(self._scaled(P))

    def drive(self, predict: Ask, n_members: int, n_samples: int) -> np.ndarray:
        """Combine calibrated predictions, or calibrate what they come to; see :meth:`Combiner.drive`."""
        check_fitted(self, "combine_")
        if self.of_ == "ensemble":
            return self._scaled(self.combine_.drive(predict, n_members, n_samples)[None])[0]

        def calibrated(k: int, rows: np.ndarray) -> np.ndarray:
            return at_temperatures(predict(k, rows)[None], self.temperatures_[k : k + 1], self.task_)[0]

        return self.combine_.drive(calibrated, n_members, n_samples)

    def weighed(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the combiner inside weighs, which is calibrated or not; see :meth:`Combiner.weighed`."""
        check_fitted(self, "combine_")
        if self.of_ == "ensemble":
            return self.combine_.weighed(P)
        check_members(self, len(self.temperatures_), len(P))
        return self.combine_.weighed(self._scaled(P))

    def member_weights(self, n_members: int) -> np.ndarray | None:
        """Return the weights of the combiner inside; see :meth:`Combiner.member_weights`."""
        check_fitted(self, "combine_")
        return self.combine_.member_weights(n_members)

    def narrow(self, n_members: int) -> np.ndarray:
        """Forget members that the combiner inside forgets; see :meth:`Combiner.narrow`."""
        kept = self.combine_.narrow(n_members)
        if self.of_ == "members":
            self.temperatures_ = self.temperatures_[kept]
        return kept

    def _part(self) -> Combiner:
        if self.combine is not None and not isinstance(self.combine, Combiner):
            hint = f" Write {self.combine.__name__}()." if isinstance(self.combine, type) else ""
            raise TypeError(f"combine of Calibrated must be a Combiner, such as Average(); got {self.combine!r}.{hint}")
        return Average() if self.combine is None else self.combine

    def _scaled(self, P: np.ndarray) -> np.ndarray:
        return at_temperatures(P, self.temperatures_, self.task_)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"of": "ensemble"}


def at_temperatures(P: np.ndarray, temperatures: np.ndarray, task: Task) -> np.ndarray:
    """Return the predictions of members, each at its temperature."""
    z = logs(P, task) / temperatures[:, None, None]
    return from_logs(z, task).astype(floating(P), copy=False)


def temperature(z: np.ndarray, y: np.ndarray, weight: np.ndarray, task: Task) -> float:
    """Return the temperature, between 1 / LIMIT and LIMIT, at which predictions have the least log-loss.

    ``z`` has log-probabilities of classes, or log-odds of labels, shape (n_samples, n_outputs).
    """
    if task == "multilabel":
        margin = np.where(y == 1, -z, z)  # of the wrong answer above the right one
    else:
        margin = z - np.take_along_axis(z, y.astype(np.intp)[:, None], axis=1)
    if not margin.any():
        return 1.0

    def slope(log_t: float) -> float:  # of the loss in 1 / T, in which it grows
        scaled = margin / np.exp(log_t)
        wrong = expit(scaled) if task == "multilabel" else softmax(scaled, axis=1)
        return float(weight @ (wrong * margin).sum(axis=1))

    coldest, hottest = -np.log(LIMIT), np.log(LIMIT)
    if slope(coldest) <= 0:  # also where the slope is rounded to zero
        return 1 / LIMIT
    if slope(hottest) >= 0:
        return LIMIT
    return float(np.exp(brentq(slope, coldest, hottest, xtol=1e-9)))
