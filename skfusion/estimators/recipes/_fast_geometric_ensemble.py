"""Fast geometric ensembling (FGE): networks that one run visits in short cycles of its learning rate."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import FastGeometric
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _FastGeometricEnsemble(EnsembleDriver):
    """{Predict} by networks that one run visits in short cycles of its learning rate (fast geometric ensembling, FGE).

    It stands for ``{Ensemble}(estimator, collect=FastGeometric(...), combine=Average())``.

    Parameters
    ----------
    {estimator}
    n_members : int, optional
        Networks to keep; the run ends with the last one. When omitted, as many as the net's ``max_epochs`` hold.
    burn_in : float, default=0.8
        Share of the net's ``max_epochs`` before the first cycle.
    cycle : int, default=2
        Epochs of a cycle, an even number. Larger ones make members more diverse and more expensive.
    lr_max : float, optional
        Learning rate at both ends of a cycle; the net's own when omitted.
    lr_min : float, optional
        Learning rate in the middle of a cycle; a hundredth of ``lr_max`` when omitted.
    {training}
    {class_weight}

    Attributes
    ----------
    {fitted_ensemble}

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    n_members: int | None = None
    burn_in: float = 0.8
    cycle: int = 2
    lr_max: float | None = None
    lr_min: float | None = None
    memory: Any = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> FastGeometric:
        """The collector that the parameters stand for."""
        return FastGeometric(self.n_members, self.burn_in, self.cycle, self.lr_max, self.lr_min)


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER)
class FastGeometricEnsembleClassifier(Classifies, _FastGeometricEnsemble):
    class_weight: Any = None


@doc(REGRESSOR)
class FastGeometricEnsembleRegressor(Regresses, _FastGeometricEnsemble): ...
