"""A curve of networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion.estimators._curve_driver import CurveDriver
from skfusion.estimators._targets import Classifies, Regresses


@template
@dataclass(eq=False, repr=False)
class _Curve(CurveDriver):
    """{Predict} with networks on curves of low loss between members (mode connectivity).

    ``fit`` collects members (which trains them), joins them by curves (which trains those), and predicts with points
    of the curves. More than two members are joined along the minimum spanning tree of the barriers on the straight
    lines between them.

    Parameters
    ----------
    {estimator}
    collect : Collector or ModelPool, optional
        Where members come from, two or more; ``Seeds(2)`` when omitted. With a pool only the curves are trained.
    align : Aligner, optional
        How to match the units of the members, which makes curves shorter; they stay as they are when omitted.
    connect : Connector, optional
        How to join two members; ``Bezier()`` when omitted, which is trained on the rows that members are trained on.
        {loss_scale}
    {repair}
    n_points : int, default=11
        Equally spaced points of each curve, 3 or more with both ends, for its loss and for ensembles. More cost more.
    arc_length : bool, default=False
        Whether points are equally spaced by the length of the curve, and not in its own parameter, in which it may be
        slow near its ends, so that many points are almost the members.
    predict_with : {"ensemble", "best", "midpoint"}, default="ensemble"
        What predicts: the mean of the predictions of all points, in which a member that several curves share counts
        once; the one point with the best held-out score, of equal ones that with the lowest loss; or the point in the
        middle of the curve between two members.
    {validation_fraction}
    {scoring}
    {memory}
    {n_jobs}
    random_state : int or RandomState, optional
        Seed of the split and of the members; ``connect`` has its own.
    {verbose}
    {class_weight}

    Attributes
    ----------
    {pool_}
    curves_ : dict of Path
        The curve by (name, name) of the members that it joins.
    spanning_tree_ : list of (str, str)
        The pairs that are joined.
    profiles_, line_profiles_ : dict of Profile
        Loss and score at ``n_points`` points of each curve, and of the straight line between the same members after
        the alignment; on the held-out rows, or on all where none are held out.
    barrier_ : dict of float
        The mean loss barrier of the ``"line"`` and of the ``"curve"``, in units of the loss, on the same rows.
    members_ : list of Member
        The points that predict, such as ``"seed-0--seed-1@0.5"``, with their scores where rows are held out: of
        ``predict_with="best"`` the largest of many on the rows that chose it, which new rows seldom reach. Ends have
        the names that they have in ``pool_``, and after an alignment their units in another order.
    {estimators_}
    estimator_, state_ : skorch net and dict of Tensor
        The same and its weights, where one point predicts.
    edge_, t_ : (str, str) and float, or None
        On which curve it lies, and where.
    {alignment_}
    {held_out_}
    {classes_}
    {features_}

    Notes
    -----
    A curve costs about a training of the network for the epochs of its connector. K members need K (K - 1) / 2 straight
    lines to be measured, at ``n_points`` points each. An ensemble has K + (K - 1) (``n_points`` - 2) networks, which
    are all run in prediction; where the connector trains ends too, so that no curves meet, it has (K - 1) ``n_points``.
    What is trained is the loss of the net's criterion, by its ``get_loss`` with ``training=False``: terms that a net of
    yours adds in training only, such as penalties, are not in it.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.
    Draxler et al., "Essentially no barriers in neural network energy landscape", ICML 2018, arXiv:1803.00885 (the
    spanning tree).

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> X, y = {load}(return_X_y=True)
    >>> curve = {name}(random_state=0).fit(X, y)
    >>> curve.score(X, y) > {least}
    True
    {and_barrier}
    """

    estimator: Any = None
    _: KW_ONLY
    collect: Any = None
    align: Any = None
    connect: Any = None
    repair: Any = None
    n_points: int = 11
    arc_length: bool = False
    predict_with: str = "ensemble"
    validation_fraction: float = 0.2
    scoring: Any = None
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0


_BARRIER = """
    >>> curve.barrier_["curve"] < curve.barrier_["line"]
    True
"""
_LOSS_SCALE = """
    Its loss is divided by that of the mean target, so that its ``lr`` and ``weight_decay`` do not depend on the
    units of the targets. Divide the weight decay of the networks' own training by the same number, which is the
    variance of the targets where the criterion is the squared error.
"""


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, loss_scale="", and_barrier=_BARRIER)
class CurveClassifier(Classifies, _Curve):
    class_weight: Any = None


@doc(REGRESSOR, loss_scale=_LOSS_SCALE, and_barrier="")
class CurveRegressor(Regresses, _Curve): ...
