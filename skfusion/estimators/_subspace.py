"""A subspace of networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.estimators._subspace_driver import SubspaceDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _Subspace(SubspaceDriver):
    """{Predict} with networks of a subspace of low loss: a simplex, a complex of them, a curve.

    ``fit`` collects members, joins all of them by one subspace (which trains it), and predicts with points of it. Where
    members are joined pair by pair, along curves, there is ``{Curve}``.

    Parameters
    ----------
    {estimator}
    collect : Collector or ModelPool, optional
        Where members come from. When omitted, ``Seeds(2)``; where ``connect`` trains from scratch, ``Untrained(3)``, or
        2 for a line. With a pool only the subspace is trained.
    align : Aligner, optional
        How to match the units of the members; they stay as they are when omitted.
    connect : Connector, optional
        How to join the members; ``Simplicial()`` when omitted. It is trained on the rows that members are trained on,
        by its own settings.
        {loss_scale}
    {repair}
    n_points : int, default=10
        Points of an ensemble, or from which the best is chosen, beside the corners: equally spaced on a path, and
        random in simplexes, of which each has its share. More cost more.
    predict_with : {"ensemble", "best", "midpoint"}, default="ensemble"
        What predicts: the mean of the predictions of ``n_points`` points; the one point with the best score on rows
        that nothing was trained on, of equal ones that with the lowest loss; or the point in the middle.
    {validation_fraction}
    {scoring}
    {memory}
    {n_jobs}
    random_state : int or RandomState, optional
        Seed of the split and of the members; ``connect`` has its own, which draws the points too.
    {verbose}
    {class_weight}

    Attributes
    ----------
    {pool_}
    subspace_ : Subspace
        What joins the members, with its ``history`` of losses.
    point_ : float, ndarray or None
        The one point that predicts, by its place on the subspace.
    members_ : list of Member
        The points that predict, with their scores where rows are held out: of ``predict_with="best"`` the largest of
        many on the rows that chose it, which new rows seldom reach.
    {estimators_}
    estimator_, state_ : skorch net and dict of Tensor
        The same and its weights, where one point predicts.
    {alignment_}
    {held_out_}
    {classes_}
    {features_}

    Notes
    -----
    Costs the training of the members and that of ``connect``; an ensemble runs ``n_points`` networks in prediction.
    BatchNorm statistics are estimated anew at every point that is no member as its training left it. What is trained is
    the loss of the net's criterion, by its ``get_loss`` with ``training=False``.

    References
    ----------
    Benton et al., "Loss surface simplexes for mode connecting volumes and fast ensembling", ICML 2021,
    arXiv:2102.13042. Wortsman et al., "Learning neural network subspaces", ICML 2021, arXiv:2102.10472.

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> from skfusion.connect import LearnedSubspace
    >>> X, y = {load}(return_X_y=True)
    >>> line = {name}(connect=LearnedSubspace(), predict_with="midpoint", random_state=0)
    >>> line.fit(X, y).score(X, y) > {least}
    True
    """

    estimator: Any = None
    _: KW_ONLY
    collect: Any = None
    align: Any = None
    connect: Any = None
    repair: Any = None
    n_points: int = 10
    predict_with: str = "ensemble"
    validation_fraction: float = 0.2
    scoring: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


_LOSS_SCALE = """
    Its loss is divided by that of the mean target, so that its ``lr`` and ``weight_decay`` do not depend on the
    units of the targets.
"""


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, loss_scale="", Curve="CurveClassifier")
class SubspaceClassifier(Classifies, _Subspace):
    class_weight: Any = None


@doc(REGRESSOR, loss_scale=_LOSS_SCALE, Curve="CurveRegressor")
class SubspaceRegressor(Regresses, _Subspace): ...
