"""Averaged weights of one run: stochastic weight averaging (SWA), and any other average, such as an EMA."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import Averages, Collector, Tail
from skfusion.estimators._soup import SoupDriver
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.merge import Uniform


@template
@dataclass(eq=False, repr=False)
class _WeightAveraging(SoupDriver):
    """{Predict} by averaged weights of one run: of its last epochs (stochastic weight averaging, SWA), an EMA, ...

    It stands for ``{Soup}(estimator, collect=Tail(...), merge=Uniform(), repair=Recalibrate())``, with
    ``collect=Averages(1, average=average)`` where an average is given.

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
    average : Average, optional
        What is made of the states of the run, in the place of the mean of its last epochs, such as ``EMA(0.999)`` or
        ``Mean(0.5)`` of :mod:`skfusion.average`. The schedule of the learning rate is the net's own then, and the
        parameters above are left out.
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
    average: Any = None
    memory: Any = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> Collector:
        """The collector that the parameters stand for."""
        tail = Tail(self.burn_in, self.every, self.lr, self.lr_end, self.last)
        if self.average is None:
            return tail
        if given := {k: v for k, v in tail.get_params().items() if v != getattr(Tail, k)}:
            raise ValueError(
                f"{given} belong to the mean of the last epochs, and average={self.average!r} takes its place: leave "
                "them out, or give them to the average."
            )
        return Averages(1, average=self.average)

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
