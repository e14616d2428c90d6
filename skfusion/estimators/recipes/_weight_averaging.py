"""Recipes: well-known fusions under their own names, each a sentence made of components."""

from __future__ import annotations

from typing import Any

from skfusion.collect import Snapshots, Tail
from skfusion.estimators._ensemble_driver import EnsembleDriver
from skfusion.estimators._soup import SoupDriver
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.merge import Uniform


class _WeightAveraging(SoupDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        burn_in: float = 0.75,
        every: int = 1,
        lr: float | None = None,
        lr_end: float | None = None,
        last: int | None = None,
        memory: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.burn_in = burn_in
        self.every = every
        self.lr = lr
        self.lr_end = lr_end
        self.last = last
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @property
    def collect(self) -> Tail:
        """The collector that the parameters stand for."""
        return Tail(self.burn_in, self.every, self.lr, self.lr_end, self.last)

    @property
    def merge(self) -> Uniform:
        """The merger that the recipe stands for."""
        return Uniform()


class _SnapshotEnsemble(EnsembleDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        n_cycles: int = 5,
        last: int | None = None,
        memory: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.n_cycles = n_cycles
        self.last = last
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @property
    def collect(self) -> Snapshots:
        """The collector that the parameters stand for."""
        return Snapshots(self.n_cycles, self.last)


class WeightAveragingClassifier(Classifies, _WeightAveraging):
    """Classify with the mean weights of one run's last epochs (stochastic weight averaging).

    It stands for ``SoupClassifier(estimator, collect=Tail(...), merge=Uniform(), repair=Recalibrate())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    burn_in : float, default=0.75
        Burn-in before the first checkpoint, as a share of the net's ``max_epochs``.
    every : int, default=1
        Epochs between checkpoints.
    lr : float, optional
        Learning rate after the burn-in; the net's own when omitted. A larger one explores more.
    lr_end : float, optional
        Learning rate at the end of each cycle of ``every`` epochs; constant at ``lr`` when omitted.
    last : int, optional
        Average only that many latest checkpoints (LAWA); all when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The checkpoints.
    estimator_ : skorch net
        A fitted copy of the net with the mean weights.
    state_ : dict of Tensor
        The mean weights.
    classes_ : ndarray of shape (n_classes,)
        The labels.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    arXiv:1803.05407.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import WeightAveragingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> WeightAveragingClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """


class WeightAveragingRegressor(Regresses, _WeightAveraging):
    """Predict values with the mean weights of one run's last epochs (stochastic weight averaging).

    It stands for ``SoupRegressor(estimator, collect=Tail(...), merge=Uniform(), repair=Recalibrate())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    burn_in : float, default=0.75
        Burn-in before the first checkpoint, as a share of the net's ``max_epochs``.
    every : int, default=1
        Epochs between checkpoints.
    lr : float, optional
        Learning rate after the burn-in; the net's own when omitted. A larger one explores more.
    lr_end : float, optional
        Learning rate at the end of each cycle of ``every`` epochs; constant at ``lr`` when omitted.
    last : int, optional
        Average only that many latest checkpoints (LAWA); all when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The checkpoints.
    estimator_ : skorch net
        A fitted copy of the net with the mean weights.
    state_ : dict of Tensor
        The mean weights.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    arXiv:1803.05407.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import WeightAveragingRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> WeightAveragingRegressor(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """


class SnapshotEnsembleClassifier(Classifies, _SnapshotEnsemble):
    """Classify by snapshots of one run with a cyclic learning rate.

    It stands for ``EnsembleClassifier(estimator, collect=Snapshots(...), combine=Average())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_cycles : int, default=5
        Cycles of the learning rate in the net's ``max_epochs``. More give more members, each less trained.
    last : int, optional
        Use the snapshots of the last cycles only; all when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The snapshots.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a snapshot.
    classes_ : ndarray of shape (n_classes,)
        The labels.

    References
    ----------
    Huang et al., "Snapshot ensembles: train 1, get M for free", ICLR 2017, arXiv:1704.00109.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import SnapshotEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> SnapshotEnsembleClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """


class SnapshotEnsembleRegressor(Regresses, _SnapshotEnsemble):
    """Predict values by snapshots of one run with a cyclic learning rate.

    It stands for ``EnsembleRegressor(estimator, collect=Snapshots(...), combine=Average())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_cycles : int, default=5
        Cycles of the learning rate in the net's ``max_epochs``. More give more members, each less trained.
    last : int, optional
        Use the snapshots of the last cycles only; all when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The snapshots.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a snapshot.

    References
    ----------
    Huang et al., "Snapshot ensembles: train 1, get M for free", ICLR 2017, arXiv:1704.00109.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import SnapshotEnsembleRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> SnapshotEnsembleRegressor(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """
