"""The recipes of ensembles whose members are each the mean of a run."""

from __future__ import annotations

from typing import Any

from skfusion.collect import Averages
from skfusion.combine import Average, GeometricAverage
from skfusion.estimators._ensemble_driver import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


class _EnsembleOfAverages(EnsembleDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        n_members: int = 5,
        burn_in: float = 0.5,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.n_members = n_members
        self.burn_in = burn_in
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def collect(self) -> Averages:
        """The collector that the parameters stand for."""
        return Averages(self.n_members, self.burn_in)


class EnsembleOfAveragesClassifier(Classifies, _EnsembleOfAverages):
    """Classify by the summed logits of networks that are each the mean of the late steps of a run.

    It stands for ``EnsembleClassifier(estimator, collect=Averages(...), combine=GeometricAverage())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_members : int, default=5
        Networks to train, each from a seed of its own.
    burn_in : float or int, default=0.5
        Where the mean over steps begins: a float is a share of the run's steps, an int is a step, counted from 1. The
        paper takes step 100, from pretrained networks.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members, each the mean of its run.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member.
    classes_ : ndarray of shape (n_classes,)
        The labels.

    Notes
    -----
    Each member has BatchNorm statistics of its own, and not the mean of those of its run as in the paper. A best state
    that a callback loads, as ``EarlyStopping(load_best=True)`` does, gives way to the mean: see
    :class:`~skfusion.collect.Averages`.

    References
    ----------
    Arpit, Wang, Zhou and Xiong, "Ensemble of averages: improving model selection and boosting performance in domain
    generalization", NeurIPS 2022, arXiv:2110.10832.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleOfAveragesClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> EnsembleOfAveragesClassifier(n_members=2, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    @property
    def combine(self) -> GeometricAverage:
        """The combiner that the recipe stands for."""
        return GeometricAverage()


class EnsembleOfAveragesRegressor(Regresses, _EnsembleOfAverages):
    """Predict values by the mean of networks that are each the mean of the late steps of a run.

    It stands for ``EnsembleRegressor(estimator, collect=Averages(...), combine=Average())``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted.
    n_members : int, default=5
        Networks to train, each from a seed of its own.
    burn_in : float or int, default=0.5
        Where the mean over steps begins: a float is a share of the run's steps, an int is a step, counted from 1. The
        paper takes step 100, from pretrained networks.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members, each the mean of its run.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member.

    Notes
    -----
    Each member has BatchNorm statistics of its own, and not the mean of those of its run as in the paper. A best state
    that a callback loads, as ``EarlyStopping(load_best=True)`` does, gives way to the mean: see
    :class:`~skfusion.collect.Averages`.

    References
    ----------
    Arpit, Wang, Zhou and Xiong, "Ensemble of averages: improving model selection and boosting performance in domain
    generalization", NeurIPS 2022, arXiv:2110.10832.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import EnsembleOfAveragesRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> EnsembleOfAveragesRegressor(n_members=2, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    @property
    def combine(self) -> Average:
        """The combiner that the recipe stands for."""
        return Average()
