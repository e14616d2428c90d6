"""Boosting of networks, which vote by their weights (AdaBoost: SAMME, AdaBoost.R2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from skfusion._docs import AS_THE_NET, doc
from skfusion._rows import Task
from skfusion.collect import Boosting
from skfusion.combine import Combiner
from skfusion.estimators._base import Collected
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators.support._task_from_net import AsTheNet


class _ByWeight(Combiner):
    """Votes for classes, or medians of values, by weights of the members."""

    def __init__(self, weights: Sequence[float], task: Task):
        self.weights, self.task = weights, task

    def __call__(self, P: np.ndarray) -> np.ndarray:
        if self.task == "regression":
            return weighted_median(P, np.asarray(self.weights, np.float64))
        votes = np.eye(P.shape[2])[P.argmax(axis=2)]
        return np.tensordot(self.weighed(P)[1], votes, axes=1)

    def weighed(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = np.asarray(self.weights, np.float64)
        return P, weights / weights.sum()


def weighted_median(P: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return for each output the least value that members of half of the weight, or more, do not exceed."""
    order = np.argsort(P, axis=0, kind="stable")  # P: (n_members, n_samples, n_outputs)
    share = np.cumsum(weights[order], axis=0)
    middle = (share >= 0.5 * share[-1]).argmax(axis=0)
    return np.take_along_axis(P, np.take_along_axis(order, middle[None], axis=0), axis=0)[0]


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class BoostingFusion(AsTheNet, EnsembleDriver):
    """Let networks vote, each trained with more weight on the rows that the previous ones got wrong (AdaBoost).

    As the net is, networks vote for classes (SAMME), or values are the weighted median of theirs (AdaBoost.R2).

    Parameters
    ----------
    estimator : skorch net, optional
        The network, a small one, or for few epochs. The one for tables, for classification, when omitted.
    n_members : int, default=10
        Networks to train at most; see :class:`~skfusion.collect.Boosting`.
    learning_rate : float, default=1.0
        A smaller one trusts each member less, and needs more of them.
    resample : bool, default=False
        Whether rows are drawn by their weights; else the weights stand in the loss.
    {training}
    {class_weight}

    Attributes
    ----------
    {pool_}
    {estimators_}
    member_weights_ : dict
        The weight of each member's vote, by name.
    member_errors_ : dict
        The weighted training error of each member, by name.
    {classes_}

    Notes
    -----
    The probability of a class is its share of the votes, which is coarse, and no probability of being right.

    References
    ----------
    Freund and Schapire, "A decision-theoretic generalization of on-line learning and an application to boosting",
    Journal of Computer and System Sciences 55, 1997, doi:10.1006/jcss.1997.1504. Drucker, "Improving regressors using
    boosting techniques", ICML 1997.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import BoostingFusion
    >>> X, y = load_iris(return_X_y=True)
    >>> BoostingFusion(n_members=3, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    estimator: Any = None
    _: KW_ONLY
    n_members: int = 10
    learning_rate: float = 1.0
    resample: bool = False
    memory: Any = None
    random_state: Any = None
    verbose: int = 0
    class_weight: Any = None

    @property
    def collect(self) -> Boosting:
        """The collector that the parameters stand for."""
        return Boosting(self.n_members, self.learning_rate, self.resample)

    _takes_estimators: ClassVar[bool] = False  # which were not boosted

    def _fuse(self, collected: Collected) -> None:
        if without := [m.name for m in collected.pool if "weight" not in m.meta]:
            raise ValueError(
                f"Member {without[0]!r} has no weight in its meta, so it was not boosted. Train members with "
                "Boosting(), or fuse these with EnsembleClassifier or EnsembleRegressor."
            )
        super()._fuse(collected)
        self.member_weights_ = {m.name: m.meta["weight"] for m in self.pool_}
        self.member_errors_ = {m.name: m.meta["error"] for m in self.pool_}
        self.combine_ = _ByWeight([*self.member_weights_.values()], self._task)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags
