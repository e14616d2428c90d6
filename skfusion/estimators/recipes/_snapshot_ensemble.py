"""Snapshot ensembles: networks at the ends of the cycles of one run's learning rate."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import Snapshots
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _SnapshotEnsemble(EnsembleDriver):
    """{Predict} by snapshots of one run with a cyclic learning rate (snapshot ensembles).

    It stands for ``{Ensemble}(estimator, collect=Snapshots(...), combine=Average())``.

    Parameters
    ----------
    {estimator}
    n_cycles : int, default=5
        Cycles of the learning rate in the net's ``max_epochs``. More give more members, each trained for less long.
    last : int, optional
        Use the snapshots of the last cycles only; all when omitted.
    {training}
    {class_weight}

    Attributes
    ----------
    {fitted_ensemble}

    References
    ----------
    Huang et al., "Snapshot ensembles: train 1, get M for free", ICLR 2017, arXiv:1704.00109.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    n_cycles: int = 5
    last: int | None = None
    memory: Any = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> Snapshots:
        """The collector that the parameters stand for."""
        return Snapshots(self.n_cycles, self.last)


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER)
class SnapshotEnsembleClassifier(Classifies, _SnapshotEnsemble):
    class_weight: Any = None


@doc(REGRESSOR)
class SnapshotEnsembleRegressor(Regresses, _SnapshotEnsemble): ...
