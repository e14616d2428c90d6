"""Ensembles of averages (EoA): networks that are each the mean of a run."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.collect import Averages
from skfusion.combine import Combiner, GeometricAverage
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _EnsembleOfAverages(EnsembleDriver):
    """{Predict} by {combined} of networks that are each the mean of the late steps of a run (ensemble of averages).

    It stands for ``{Ensemble}(estimator, collect=Averages(...), combine={combiner}())``.

    Parameters
    ----------
    {estimator}
    n_members : int, default=5
        Networks to train, each from another seed.
    burn_in : float or int, default=0.5
        Where the mean over steps begins: a share of the run's steps, or as an int a step, from 1; the paper takes 100.
    average : Average, optional
        What is made of the states of each run in the place of their mean, such as ``EMA(0.999)`` of
        :mod:`skfusion.average`; with it leave ``burn_in`` out.
    {parallel_training}
    {class_weight}

    Attributes
    ----------
    {fitted_ensemble}

    Notes
    -----
    The BatchNorm statistics of each member are re-estimated, and are not the mean of those of its run as in the paper.
    A best state that a callback loads gives way to the mean: see :class:`~skfusion.collect.Averages`.

    References
    ----------
    Arpit, Wang, Zhou and Xiong, "Ensemble of averages: improving model selection and boosting performance in domain
    generalization", NeurIPS 2022, arXiv:2110.10832.

    Examples
    --------
    {example}
    """

    estimator: Any = None
    _: KW_ONLY
    n_members: int = 5
    burn_in: float = 0.5
    average: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0

    @property
    def collect(self) -> Averages:
        """The collector that the parameters stand for."""
        return Averages(self.n_members, self.burn_in, self.average)


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, combined="the summed logits", combiner="GeometricAverage", arguments="n_members=2, ")
class EnsembleOfAveragesClassifier(Classifies, _EnsembleOfAverages):
    class_weight: Any = None

    @property
    def combine(self) -> Combiner:
        """The combiner that the recipe stands for, which sums logits."""
        return GeometricAverage()


@doc(REGRESSOR, combined="the mean", combiner="Average", arguments="n_members=2, ")
class EnsembleOfAveragesRegressor(Regresses, _EnsembleOfAverages): ...
