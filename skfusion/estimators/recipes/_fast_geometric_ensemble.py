"""The recipes of fast geometric ensembling."""

from __future__ import annotations

from typing import Any

from skfusion.collect import FastGeometric
from skfusion.estimators._ensemble_driver import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


class _FastGeometricEnsemble(EnsembleDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        n_members: int | None = None,
        burn_in: float = 0.8,
        cycle: int = 2,
        lr_max: float | None = None,
        lr_min: float | None = None,
        memory: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.n_members = n_members
        self.burn_in = burn_in
        self.cycle = cycle
        self.lr_max = lr_max
        self.lr_min = lr_min
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @property
    def collect(self) -> FastGeometric:
        """The collector that the parameters stand for."""
        return FastGeometric(self.n_members, self.burn_in, self.cycle, self.lr_max, self.lr_min)


class FastGeometricEnsembleClassifier(Classifies, _FastGeometricEnsemble):
    """Classify by networks that one run visits in short cycles of its learning rate.

    It stands for ``EnsembleClassifier(estimator, collect=FastGeometric(...), combine=Average())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_members : int, optional
        Networks to keep; the run ends with the last one. When omitted, as many as the net's ``max_epochs`` hold.
    burn_in : float, default=0.8
        Burn-in before the first cycle, as a share of the net's ``max_epochs``.
    cycle : int, default=2
        Epochs of a cycle, an even number. Larger ones make members more diverse and dearer.
    lr_max : float, optional
        Learning rate at both ends of a cycle; the net's own when omitted.
    lr_min : float, optional
        Learning rate in the middle of a cycle; a hundredth of ``lr_max`` when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member.
    classes_ : ndarray of shape (n_classes,)
        The labels.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import FastGeometricEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> FastGeometricEnsembleClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """


class FastGeometricEnsembleRegressor(Regresses, _FastGeometricEnsemble):
    """Predict values by networks that one run visits in short cycles of its learning rate.

    It stands for ``EnsembleRegressor(estimator, collect=FastGeometric(...), combine=Average())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_members : int, optional
        Networks to keep; the run ends with the last one. When omitted, as many as the net's ``max_epochs`` hold.
    burn_in : float, default=0.8
        Burn-in before the first cycle, as a share of the net's ``max_epochs``.
    cycle : int, default=2
        Epochs of a cycle, an even number. Larger ones make members more diverse and dearer.
    lr_max : float, optional
        Learning rate at both ends of a cycle; the net's own when omitted.
    lr_min : float, optional
        Learning rate in the middle of a cycle; a hundredth of ``lr_max`` when omitted.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import FastGeometricEnsembleRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> FastGeometricEnsembleRegressor(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """
