"""Cascades: the next member is asked only where those before it are not sure (Wang et al., 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from skfusion._rows import Task
from skfusion.combine._average import Average
from skfusion.combine._base import Ask, Combiner
from skfusion.combine._budget import each_cost
from skfusion.combine._calibrated import Calibrated, at_temperatures
from skfusion.combine._cost_curve import CostCurve
from skfusion.combine._member_order import order_by_gain
from skfusion.combine._predictions import HeldOut, check_fitted, check_members, floating
from skfusion.combine._running_mean import RunningMean
from skfusion.combine._weighted_average import WeightedAverage
from skfusion.combine._weights import LearnedWeights

CHANGED = 0.01
"""Share of answers that may differ from those of all members where no budget is given."""


@dataclass(eq=False, repr=False)
class Cascade(Combiner):
    r"""Ask members one by one, and for each row only until their mean is sure enough.

    .. math:: f(x) = m_{u(x)}(x), \qquad u(x) = \min\{j : \max_c m_j(x)_c \ge h\}, \qquad
        m_j = \frac{\sum_{k \le j} \lambda_k p_k}{\sum_{k \le j} \lambda_k}

    and all members where no mean is that sure. An ensemble asks a member for the rows that reach it and for no others,
    so that most rows, which are easy, cost a member or two. Of several labels the least sure one must reach the
    threshold. In regression a row stops where the standard error of the mean of its members, of which there are two at
    least, is below the threshold.

    Parameters
    ----------
    combine : Combiner, optional
        The mean that is approximated, and its weights: ``Average()`` when omitted, ``WeightedAverage()`` or
        ``EnsembleSelection()``.
    budget : float, optional
        What a row may cost in the mean over held-out rows: a share of what all members cost, such as 0.4, those of
        weight 0 too, or in the unit of ``costs`` where these are numbers. The largest threshold that keeps it is taken;
        where none does, each row asks the cheapest member, with a warning.
    threshold : float, optional
        The confidence of classes or labels from which a row asks no more members; above 1, all are asked. In regression
        the standard error below which it asks no more, in standard deviations of the target. In place of a budget. When
        both are omitted, the cheapest threshold at which no more than 1 % of the held-out rows get another answer than
        that of all members (in regression: at which the mean squared difference is no more than 1 % of the error).
    costs : sequence of float or "measured", optional
        What each member costs for a row, not negative, in the order of the pool, shape (n_members,), such as
        milliseconds. Where members are selected before, of those that are left. ``"measured"`` takes the time of
        predictions in ``fit``, so that results depend on the clock. All cost the same when omitted.
    calibrate : bool, default=True
        Whether each member gets a temperature first, as by :class:`Calibrated`, so that confidences of members can be
        compared, and the threshold is near the accuracy where rows stop. In regression there is nothing to calibrate.

    Attributes
    ----------
    order_ : ndarray of int, shape (n_members,)
        The members in the order in which they are asked: by how much less loss than a constant prediction they have
        for what they cost. Members of weight 0 are not among them.
    threshold_ : float
        The threshold: infinity, or 0 in regression, where all members are always asked.
    cost_ : float
        Mean cost of a held-out row, in the unit of the budget.
    reached_ : ndarray of shape (n_members,)
        The share of held-out rows that ask each member, in the order of ``order_``.
    pareto_ : DataFrame
        What other thresholds give on the held-out rows, by rising cost: ``threshold``, ``cost``, ``n_members`` asked in
        the mean, ``log_loss`` with ``accuracy``, or ``squared_error`` over the variance; ``changed``, the share of rows
        whose answer is not that of all members, or the squared difference over their squared error; and ``efficient``,
        whether no cheaper one has as small a loss.
    combine_ : Combiner
        What combines all members, fitted.
    costs_ : ndarray of shape (n_members,)
        What each member costs, in the unit of the budget.

    Notes
    -----
    The budget holds for rows like the held-out ones: others, on which members are less sure, cost more. Which
    threshold keeps a budget, or changes few answers, does not depend on the held-out targets, so ``cost_`` is as honest
    as a mean over these rows can be. Losses in ``pareto_`` are those of rows by which the order, temperatures and
    weights were chosen. They flatter, those of few members most: the first member is the best of all on these rows.

    A row's result does not depend on the rows beside it but for what networks in single precision do: their outputs
    differ by about 1e-5 from one number of rows to another. A row whose confidence is that near to the threshold may
    ask one member more or less. A chosen threshold lies half-way between confidences of held-out rows.

    Members in parallel are faster than a cascade where there is nothing else to do: few rows of small networks are
    predicted by all members at once in the time of one. It pays for many rows, large networks and slow members.

    References
    ----------
    Wang, Kondratyuk, Christiansen, Kitani, Movshovitz-Attias and Eban, "Wisdom of committees: an overlooked approach to
    faster and more accurate models", ICLR 2022, arXiv:2012.01988. Jitkrittum, Gupta, Menon, Narasimhan, Rawat and
    Kumar, "When does confidence-based cascade deferral suffice?", NeurIPS 2023, arXiv:2307.02764.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Cascade
    >>> y = np.array([0, 0, 1, 1])
    >>> first = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])  # unsure of the last row
    >>> second = np.array([[0.6, 0.4], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    >>> cascade = Cascade(threshold=0.7, calibrate=False)
    >>> cascade.fit(np.stack([first, second]), y, "classification").cost_
    0.625
    >>> cascade(np.stack([first, second]))[:, 1].round(2).tolist()
    [0.1, 0.2, 0.9, 0.65]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    lazy: ClassVar[bool] = True

    combine: Any = None
    budget: float | None = None
    threshold: float | None = None
    costs: Sequence[float] | str | None = None
    calibrate: bool = True

    @property
    def by_score(self) -> bool:
        """Whether the combiner inside learns by a score, on the same weights of rows."""
        return self._part().by_score

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for parameters that are out of range; see :meth:`Combiner.check`."""
        self._part().check(task)
        if self.budget is not None and self.threshold is not None:
            raise ValueError("Cascade takes a budget or a threshold, not both: the budget sets the threshold.")
        for name in ("budget", "threshold"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool) or not value > 0):
                raise ValueError(f"{name} of Cascade must be a number above 0, or None; got {value!r}.")
        if isinstance(self.costs, str) and self.costs != "measured":
            raise ValueError(f"costs of Cascade must be numbers or 'measured'; got {self.costs!r}.")
        if self._relative and self.budget is not None and self.budget > 1:
            raise ValueError(
                f"budget={self.budget} of Cascade must be at most 1, a share of what all members cost; give costs= for "
                "a budget in their unit."
            )
        if self.costs is not None and not isinstance(self.costs, str):
            each_cost(self.costs)

    def take_costs(self, measure: Callable[[], np.ndarray]) -> None:
        """Measure what members cost where ``costs="measured"``; see :meth:`Combiner.take_costs`."""
        if isinstance(self.costs, str):
            self.costs_ = measure()

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Cascade:
        """Calibrate and order the members, and find the threshold; see :meth:`Combiner.fit`."""
        self.check(task)
        held = HeldOut.checked("Cascade", P, y, task, sample_weight)
        self.task_: Task = task
        part = self._part()
        inner = Calibrated(part) if self.calibrate and task != "regression" else clone(part)
        self.combine_ = inner.fit(P, y, task, sample_weight)
        scaled, self.weights_ = self.combine_.weighed(held.P)
        held = replace(held, P=scaled)
        self.scale_ = np.sqrt(held.variances()) if task == "regression" else np.ones(P.shape[2])
        self.costs_ = self._costs_of(self.weights_)
        self.order_ = order_by_gain(held, self.weights_, self.costs_, self.budget)
        curve = CostCurve.of(held, self.order_, self.weights_, self.costs_, self.scale_)
        levels, loss = curve.levels(), "squared_error" if task == "regression" else "log_loss"
        self.pareto_ = curve.table(levels, loss)
        self.pareto_.insert(0, "threshold", [self._threshold_of(sure) for sure in levels])
        if self.threshold is not None:
            self.threshold_ = float(self.threshold)
        elif self.budget is not None:
            self.threshold_ = self._threshold_of(curve.at_cost(self.budget))
        else:
            self.threshold_ = float(self.pareto_["threshold"][self.pareto_["changed"] <= CHANGED].iloc[0])
        self.reached_ = curve.reached(self._least_sure())
        self.cost_ = float(self.reached_ @ curve.costs)
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the mean of the members that each row asks; see :meth:`Combiner.__call__`."""
        return self.drive(lambda k, rows: P[k, rows], *P.shape[:2])

    def drive(self, predict: Ask, n_members: int, n_samples: int) -> np.ndarray:
        """Ask members in turn for the rows that are not sure yet; see :meth:`Combiner.drive`."""
        check_fitted(self, "order_")
        check_members(self, len(self.weights_), n_members)
        rows, mean, sure = np.arange(n_samples), RunningMean(self.task_, self.scale_), self._least_sure()
        for k in self.order_:
            p = self._calibrated(predict(int(k), rows), k)
            if not mean.n:
                P = np.zeros((n_members, *p.shape), floating(p))
                combined = np.zeros(p.shape, P.dtype)
            P[k, rows] = p
            mean.add(p, self.weights_[k])
            if mean.n == len(self.order_):
                combined[rows] = self._inside()(P if len(rows) == n_samples else P[:, rows])
                break
            done = mean.sureness() >= sure
            combined[rows[done]] = mean.mean[done]
            rows, mean = rows[~done], mean.take(~done)
            if not len(rows):
                break
        return combined

    def asked(self, P: np.ndarray) -> np.ndarray:
        """Return how many members each row asks.

        Parameters
        ----------
        P : ndarray of shape (n_members, n_samples, n_outputs)
            As in :meth:`fit`, such as ``ensemble.predict_members(X)``.

        Returns
        -------
        ndarray of int, shape (n_samples,)
            The first so many of ``order_``.
        """
        n_asked = np.zeros(P.shape[1], np.intp)

        def predict(k: int, rows: np.ndarray) -> np.ndarray:
            n_asked[rows] += 1
            return P[k, rows]

        self.drive(predict, *P.shape[:2])
        return n_asked

    def weighed(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what all members predict, calibrated, and their weights; see :meth:`Combiner.weighed`."""
        check_fitted(self, "order_")
        return self.combine_.weighed(P)

    def narrow(self, n_members: int) -> np.ndarray:
        """Forget members that the combiner inside forgets; see :meth:`Combiner.narrow`."""
        kept = self.combine_.narrow(n_members)
        self.order_ = np.searchsorted(kept, self.order_)
        self.weights_, self.costs_ = self.weights_[kept], self.costs_[kept]
        return kept

    @property
    def _relative(self) -> bool:
        return self.costs is None or isinstance(self.costs, str)

    def _part(self) -> Combiner:
        part = Average() if self.combine is None else self.combine
        if not isinstance(part, (Average, LearnedWeights)):
            raise TypeError(
                "Cascade stops at a mean of some of the members, so its combine must be Average(), WeightedAverage() "
                f"or EnsembleSelection(); got {part!r}."
            )
        return part

    def _costs_of(self, weights: np.ndarray) -> np.ndarray:
        """Return what each member costs: in the unit of ``costs``, or as a share of what all cost."""
        if self.costs is None:
            costs = np.ones(len(weights))
        elif isinstance(self.costs, str):
            if not hasattr(self, "costs_"):
                raise ValueError(
                    "costs='measured' takes an ensemble, which measures its members in fit; with predictions alone, "
                    "give numbers."
                )
            costs = self.costs_
        else:
            costs = each_cost(self.costs)
        if len(costs) != len(weights):
            raise ValueError(f"Cascade got {len(costs)} costs for {len(weights)} members; give one a member.")
        total = costs.sum()
        return costs / total if self._relative and total > 0 else costs

    def _threshold_of(self, sure: float) -> float:
        """Return the threshold at which rows must be so sure; the standard error must be below it."""
        return max(0.0, float(-sure if self.task_ == "regression" else sure))

    def _least_sure(self) -> float:
        """Return how sure rows must be; see :meth:`RunningMean.sureness`."""
        return float(np.nextafter(-self.threshold_, np.inf)) if self.task_ == "regression" else self.threshold_

    def _inside(self) -> Combiner:
        """Return what combines predictions that are calibrated already."""
        combine: Combiner = self.combine_
        return combine.combine_ if isinstance(combine, Calibrated) else combine

    def _calibrated(self, p: np.ndarray, k: int) -> np.ndarray:
        if not isinstance(self.combine_, Calibrated):
            return p
        return at_temperatures(p[None], self.combine_.temperatures_[k : k + 1], self.task_)[0]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"budget": 0.7}
        yield {"combine": WeightedAverage(), "threshold": 0.6, "calibrate": False}
