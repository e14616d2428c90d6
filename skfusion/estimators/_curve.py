"""A curve of networks."""

from __future__ import annotations

from typing import Any

from skfusion._docs import fill
from skfusion.estimators._curve_driver import CurveDriver
from skfusion.estimators._targets import Classifies, Regresses

PARAGRAPHS = {
    "fitting": """
``fit`` collects members (which trains them), joins them by curves (which trains those), and predicts with points
of the curves. More than two members are joined along the minimum spanning tree of the barriers on the straight
lines between them, by one curve less than there are members.
""",
    "members": """
estimator : skorch net, optional
    The network. A perceptron sized to the data when omitted. Module classes that take ``n_in`` and ``n_out`` are
    given the sizes of the data.
collect : Collector or ModelPool, optional
    Where members come from, two or more of one architecture; ``Seeds(2)`` when omitted. With a pool only the
    curves are trained, on the data given to ``fit``.
align : Aligner, optional
    How to align the units of members, which makes curves shorter; they are not aligned when omitted.
""",
    "predicting": """
repair : Repairer, optional
    How to re-estimate the statistics of networks on the curve; ``Recalibrate()`` when omitted.
n_points : int, default=11
    Equally spaced points of each curve, 3 or more, both ends included, which the loss is measured at and of which
    ensembles are made. More cost more in prediction.
arc_length : bool, default=False
    Whether points are equally spaced by the length of the curve, and not in its position t, in which it may be
    slow near its ends, so that many points are almost the members.
predict_with : {"ensemble", "best", "midpoint"}, default="ensemble"
    What predicts: the mean of the predictions of all points, in which a member that several curves share counts
    once; the one point with the best held-out score, of equal ones that with the lowest loss; or the point in the
    middle of the curve between two members.
validation_fraction : float, default=0.2
    Share of the rows that is held out, where the best point is chosen; otherwise all rows are trained on.
""",
    "running": """
memory : str or joblib.Memory, optional
    Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
n_jobs : int, optional
    Members trained at a time; they do not depend on it.
random_state : int or RandomState, optional
    Seed of the split and of the members; ``connect`` has another one.
verbose : int, default=0
    1 shows a progress bar.
""",
    "attributes": """
pool_ : ModelPool
    The members, as they were trained.
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
estimators_ : list of skorch nets
    Fitted copies of the net, one a point that predicts.
estimator_ : skorch net
    The same, where one point predicts.
state_ : dict of Tensor
    Its weights.
edge_, t_ : (str, str) and float, or None
    On which curve it lies, and where.
symmetry_ : Symmetry or None
    The units that may change places, where members were aligned.
permutations_ : dict or None
    By member: where its units went, by group, where members were aligned.
held_out_ : ndarray of int or None
    Positions of the held-out rows among the rows of positive weight.
""",
    "inputs": """
n_features_in_ : int
    Features in ``fit``.
feature_names_in_ : ndarray of str
    Names of the features, where X had some.
""",
    "cost": """
A curve costs about a training of the network for the epochs of its connector. K members need K (K - 1) / 2 straight
lines to be measured, at ``n_points`` points each. An ensemble has K + (K - 1) (``n_points`` - 2) networks, which
are all run in prediction; where the connector trains ends too, so that no curves meet, it has (K - 1) ``n_points``.
What is trained is the loss of the net's criterion, by its ``get_loss`` with ``training=False``: terms that a net of
yours adds in training only, such as penalties, are not in it.
""",
    "papers": """
Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.
Draxler et al., "Essentially no barriers in neural network energy landscape", ICML 2018, arXiv:1803.00885 (the
spanning tree).
""",
}
"""What the docstrings of both estimators say."""


class _Curve(CurveDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        collect: Any = None,
        align: Any = None,
        connect: Any = None,
        repair: Any = None,
        n_points: int = 11,
        arc_length: bool = False,
        predict_with: str = "ensemble",
        validation_fraction: float = 0.2,
        scoring: Any = None,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.collect = collect
        self.align = align
        self.connect = connect
        self.repair = repair
        self.n_points = n_points
        self.arc_length = arc_length
        self.predict_with = predict_with
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@fill(**PARAGRAPHS)
class CurveClassifier(Classifies, _Curve):
    """Classify with networks on curves of low loss between members.

    {fitting}

    Parameters
    ----------
    {members}
    connect : Connector, optional
        How to join two members; ``Bezier()`` when omitted, which is trained on the rows that members are trained on.
    {predicting}
    scoring : str or callable, optional
        The held-out score: accuracy when omitted.
    {running}

    Attributes
    ----------
    {attributes}
    classes_ : ndarray of shape (n_classes,)
        The labels.
    {inputs}

    Notes
    -----
    {cost}

    References
    ----------
    {papers}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import CurveClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> curve = CurveClassifier(random_state=0).fit(X, y)
    >>> curve.score(X, y) > 0.9
    True
    >>> curve.barrier_["curve"] < curve.barrier_["line"]
    True
    """


@fill(**PARAGRAPHS)
class CurveRegressor(Regresses, _Curve):
    """Predict values with networks on curves of low loss between members.

    {fitting}

    Parameters
    ----------
    {members}
    connect : Connector, optional
        How to join two members; ``Bezier()`` when omitted, which is trained on the rows that members are trained on.
        Its loss is divided by that of the mean target, so that its ``lr`` and ``weight_decay`` do not depend on the
        units of the targets. Divide the weight decay of the networks' own training by the same number, which is the
        variance of the targets where the criterion is the squared error.
    {predicting}
    scoring : str or callable, optional
        The held-out score: R2 when omitted.
    {running}

    Attributes
    ----------
    {attributes}
    {inputs}

    Notes
    -----
    {cost}

    References
    ----------
    {papers}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import CurveRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> curve = CurveRegressor(random_state=0).fit(X, y)
    >>> curve.score(X, y) > 0.5
    True
    """
