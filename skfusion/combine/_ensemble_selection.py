"""Caruana ensemble selection: forward selection with replacement (Caruana et al., 2004)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.stats import norm

from skfusion._caller import warn_caller
from skfusion._rows import Task
from skfusion.combine._budget import Budget, check_costs
from skfusion.combine._predictions import HeldOut
from skfusion.combine._running import Running, by_row, running
from skfusion.combine._weights import LearnedWeights, weighted_sum
from skfusion.data import scorer_named

DIGITS = 6
"""Decimals of a score that are compared; finer differences are rounding errors, or chance."""


@dataclass(eq=False, repr=False)
class EnsembleSelection(LearnedWeights):
    r"""Add members to an average one by one, each time the one that helps the held-out score most.

    .. math:: k_t = \arg\max_k \operatorname{score}\Big(\tfrac1t \big(p_k + \sum_{s<t} p_{k_s}\big)\Big), \qquad
        \lambda_k = \tfrac1T\, \#\{t \le T : k_t = k\}

    A member may be added many times. Of all averages on the way the first with the best score is kept, which has T
    members. Of candidates with equal scores, those that are chosen already come first. Scores are compared to six
    decimals, or more where losses are small: to seven where the loss of the best member (one minus R2, or the score
    without its sign) is below 0.1, to eight below 0.01, and so on.

    Parameters
    ----------
    n_rounds : int, default=25
        How many members are added at most. More rounds give finer weights, and fit the held-out rows closer.
    scoring : str or callable, optional
        The score, higher is better: a name that scikit-learn knows, or ``scorer(estimator, X, y)``, where X has no
        columns and classes are their codes. When omitted, that of the ensemble where it is given one by name (with
        ``confidence``, one that is a mean over rows), and else the negative log-loss, in regression R2.
    max_members : int, optional
        How many different members there may be in the end; each one costs its prediction for every new row. No limit
        when omitted.
    confidence : float, optional
        Between 0.5 and 1: a round must improve on the one before with this confidence, by a one-sided paired test over
        rows, or the selection ends there. A larger value keeps fewer members. Without a test when omitted. It needs a
        score that is a mean over rows: the default, ``"neg_log_loss"``, ``"accuracy"``, ``"neg_mean_squared_error"``.
    n_bags : int, default=0
        Selections that each see a random subset of the members; their weights are averaged, which spreads the weights
        of similar members. One selection that sees all members when 0.
    bag_fraction : float, default=0.5
        Share of the members that a bag sees.
    random_state : int, default=0
        Seed of the bags.
    max_cost : float, optional
        What the members that are used may cost together, in the unit of ``costs``, such as milliseconds a prediction.
        No limit when omitted.
    costs : sequence of float, optional
        What each member costs, not negative, in the order of the pool, shape (n_members,); needed with ``max_cost``,
        and of no use without. Where members are selected before, of those that are left.

    Attributes
    ----------
    weights_ : ndarray of shape (n_members,)
        Shares of the members in the average. In a fitted ensemble, of its ``members_``, which are those with a share.
    order_ : list of ndarray of int
        The members of each bag in the order in which they were added, those after the best average left out, as
        positions among the members that ``fit`` was given. One array when there are no bags.
    scores_ : list of ndarray of float
        The score of each bag's average after each of these additions.

    Notes
    -----
    Costs O(T K n) for n held-out rows with the scores that need no scorer: one logarithm a row with the log-loss, and
    with accuracy only rows whose outcome one member could still change. Any other score costs T K calls of its scorer.
    With bags and ``max_members`` or ``max_cost``, members are kept by their mean weight, the largest first, as long as
    the limits hold; one that costs too much is passed over. Bags are drawn from members that do not cost too much
    by themselves.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004,
    doi:10.1145/1015330.1015432. Caruana, Munson and Niculescu-Mizil, "Getting the most out of ensemble selection",
    ICDM 2006, doi:10.1109/ICDM.2006.76.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import EnsembleSelection
    >>> y = np.array([[-1.0], [1.0]])
    >>> P = np.stack([y - 1, y + 3, y - 9])  # 1 too low, 3 too high, 9 too low
    >>> EnsembleSelection().fit(P, y, "regression").weights_.tolist()
    [0.75, 0.25, 0.0]
    """

    by_score: ClassVar[bool] = True

    n_rounds: int = 25
    scoring: Any = None
    max_members: int | None = None
    confidence: float | None = None
    n_bags: int = 0
    bag_fraction: float = 0.5
    random_state: int = 0
    max_cost: float | None = None
    costs: Sequence[float] | None = None

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for parameters that are out of range; see :meth:`Combiner.check`."""
        for name, least in (("n_rounds", 1), ("n_bags", 0), ("max_members", 1)):
            value = getattr(self, name)
            if name == "max_members" and value is None:
                continue
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} of EnsembleSelection must be a whole number, {least} or more; got {value!r}.")
        if not isinstance(self.bag_fraction, Real) or not 0 < self.bag_fraction <= 1:
            raise ValueError(f"bag_fraction must be above 0 and at most 1; got {self.bag_fraction!r}.")
        if self.confidence is not None and not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence must be at least 0.5 and below 1; got {self.confidence!r}.")
        if self.scoring is not None:
            scorer_named(self.scoring)
        check_costs(self.max_cost, self.costs)
        if self.confidence is not None and not by_row(self.scoring, task):
            self._refuse_confidence(task)

    def fit(
        self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None
    ) -> EnsembleSelection:
        """Select members, of those whose predictions are finite; see :meth:`Combiner.fit`."""
        whole = np.array([np.isfinite(p).all() for p in P], bool)
        self._able = np.flatnonzero(whole)
        if 0 < len(self._able) < len(P):
            warn_caller(
                f"The members {np.flatnonzero(~whole).tolist()} predict NaN or infinity for held-out rows, so they "
                "have no score and get no weight."
            )
            P = np.where(whole[:, None, None], P, P[self._able[0]])
        return super().fit(P, y, task, sample_weight)

    def _learn(self, held: HeldOut) -> None:
        average, n_members = running(self.scoring, held), len(held.P)
        if self.confidence is not None and not average.by_row:
            self._refuse_confidence(held.task)
        needed = -math.inf if self.confidence is None else float(norm.ppf(self.confidence))
        budget = Budget.of(n_members, self.max_members, self.max_cost, self.costs)
        paths = [greedy_path(average, bag, self.n_rounds, budget, needed, held.weight) for bag in self._bags(budget)]
        self.order_, self.scores_ = [order for order, _ in paths], [scores for _, scores in paths]
        shares = [np.bincount(order, minlength=n_members) / len(order) for order in self.order_]
        self.weights_ = budget.largest(np.mean(shares, axis=0))

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the weighted mean over the members that were chosen; see :meth:`Combiner.__call__`."""
        weights = self.member_weights(len(P))
        if len(self.order_) > 1:
            return weighted_sum(weights, P)
        n = len(self.order_[0])  # sums of whole numbers are tied where they were tied in the selection
        return weighted_sum(np.rint(n * weights), P) / n

    def _refuse_confidence(self, task: Task) -> None:
        raise ValueError(
            f"confidence tests the rows of a score, and scoring={self.scoring!r} is not known to be a mean over rows "
            f"in {task}; leave out scoring= or confidence=."
        )

    def _bags(self, budget: Budget) -> list[np.ndarray]:
        able = budget.affordable(set(), self._able)
        if not len(able):
            raise ValueError(
                f"No member can be chosen: those that predict numbers cost more than max_cost={self.max_cost:g}. Raise "
                "it, or leave out the members that predict NaN."
            )
        if not self.n_bags:
            return [able]
        rng = np.random.RandomState(self.random_state)
        size = max(1, round(self.bag_fraction * len(able)))
        return [able[np.sort(rng.choice(len(able), size, replace=False))] for _ in range(self.n_bags)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"n_bags": 4}
        yield {"max_members": 2, "confidence": 0.9}


def greedy_path(
    average: Running, members: np.ndarray, n_rounds: int, budget: Budget, needed: float, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the members up to the best average, in the order in which they were added, and its score after each.

    ``needed`` is by how many standard errors a round must improve on the one before; ``weight`` has the weights of the
    rows for that test.
    """
    average.restart()
    order: list[int] = []
    scores: list[float] = []
    before = None
    digits = DIGITS
    for turn in range(n_rounds if len(members) > 1 else 1):
        allowed = budget.affordable({*order}, members)
        candidates = average.scores(allowed)
        if not turn:
            digits += _zeros_after_the_point(average.best - candidates.max())
        place = _first_of_the_best(candidates.round(digits) if turn else candidates, allowed, order)
        average.add(allowed[place])
        if needed > -math.inf:
            now = average.gains()
            if before is not None and standard_errors(now - before, weight) <= needed:
                break
            before = now
        order.append(int(allowed[place]))
        scores.append(float(candidates[place]))
    best = int(np.argmax(np.round(scores, digits))) + 1
    return np.array(order[:best]), np.array(scores[:best])


def _zeros_after_the_point(loss: float) -> int:
    """Return how many powers of ten a loss is smaller than 1: 0 for 0.3, 1 for 0.03, and so on."""
    return min(max(0, math.floor(-math.log10(abs(loss)))), 200) if loss else 0


def _first_of_the_best(scores: np.ndarray, members: np.ndarray, order: list[int]) -> int:
    best = scores.max()
    tied = np.flatnonzero(scores >= best - 1e-12 * abs(best))
    return int(next((i for i in tied if members[i] in order), tied[0]))


def standard_errors(gains: np.ndarray, weight: np.ndarray) -> float:
    """Return the weighted mean of the rows' gains in units of its standard error."""
    total = weight.sum()
    mean = weight @ gains / total
    spread = weight @ (gains - mean) ** 2
    if spread > 0 and total > 1:
        return float(mean * math.sqrt(total * (total - 1) / spread))
    return math.inf if mean > 0 else -math.inf
