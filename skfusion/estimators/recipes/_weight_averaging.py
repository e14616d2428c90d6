"""Stochastic weight averaging (SWA): the mean weights of the last epochs of one run."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import Tail
from skfusion.estimators._soup import SoupDriver
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.merge import Uniform


@template
@dataclass(eq=False, repr=False)
class _WeightAveraging(SoupDriver):
    """{Predict} by the mean weights of one run's last epochs (stochastic weight averaging, SWA).

    It stands for ``{Soup}(estimator, collect=Tail(...), merge=Uniform(), repair=Recalibrate())``.

    Parameters
    ----------
    {estimator}
    burn_in : float, default=0.75
        Share of the net's ``max_epochs`` before the first checkpoint.
    every : int, default=1
        Epochs between checkpoints.
    lr : float or "net", optional
        Learning rate after the burn-in; the net's own when omitted. A larger one explores more. ``"net"`` leaves the
        rate to the net's own schedule, and averages the last epochs that there are.
    lr_end : float, optional
        Learning rate at the end of each cycle of ``every`` epochs; constant at ``lr`` when omitted.
    last : int, optional
        Average only that many latest checkpoints (latest weight averaging, LAWA); all when omitted.
    {training}
    {class_weight}

    Attributes
    ----------
    {pool_}
    {estimator_}
    {state_}
    {classes_}

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, arXiv:1803.05407.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    burn_in: float = 0.75
    every: int = 1
    lr: float | str | None = None
    lr_end: float | None = None
    last: int | None = None
    memory: Any = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> Tail:
        """The collector that the parameters stand for."""
        return Tail(self.burn_in, self.every, self.lr, self.lr_end, self.last)

    @property
    def merge(self) -> Uniform:
        """The merger that the recipe stands for."""
        return Uniform()


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER)
class WeightAveragingClassifier(Classifies, _WeightAveraging):
    class_weight: Any = None


@doc(REGRESSOR)
class WeightAveragingRegressor(Regresses, _WeightAveraging): ...
