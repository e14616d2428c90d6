"""Many networks whose predictions are combined: deep ensembles, and all other fusions of predictions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.estimators._ensemble_driver import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _Ensemble(EnsembleDriver):
    """{Predict} by the combined predictions of many networks (a deep ensemble, with the defaults).

    ``fit`` collects members, which trains them, selects some and learns how to combine their predictions. Prediction
    costs one network a member. The members of a pool may have different architectures.

    Parameters
    ----------
    {estimator}
    {collect}
    {select}
    {combine}
    {validation_fraction}
    {cv}
    scoring : str or callable, optional
        The held-out score by which members are selected: {score} when omitted. Where it is a name, a combiner with a
        parameter ``scoring`` that is left at None judges by it too, such as ``EnsembleSelection()`` (Caruana); one with
        a ``confidence`` only by a score that is a mean over rows. A function is used to select members alone.
    {parallel_training}

    Attributes
    ----------
    {pool_}
    {estimators_}
    {members_}
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        The weight that the combiner gives to each selected member, by name, of sum one, zeros too. None where members
        have no weights, or others for each row.
    {held_out_}
    {classes_}
    {features_}

    References
    ----------
    Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990, doi:10.1109/34.58871. Lakshminarayanan, Pritzel
    and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017,
    arXiv:1612.01474.

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> from skfusion.collect import {collector}
    >>> X, y = {load}(return_X_y=True)
    >>> ensemble = {name}(collect={collector}(3), random_state=0).fit(X, y)
    >>> ensemble.score(X, y) > {least}
    True
    """

    estimator: Any = None
    _: KW_ONLY
    collect: Any = None
    select: Any = None
    combine: Any = None
    validation_fraction: float = 0.2
    cv: Any = 5
    scoring: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


@doc(CLASSIFIER, collector="Snapshots")
class EnsembleClassifier(Classifies, _Ensemble): ...


@doc(REGRESSOR, collector="Bootstrap")
class EnsembleRegressor(Regresses, _Ensemble): ...
