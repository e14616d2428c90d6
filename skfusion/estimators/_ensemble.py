"""Many networks whose predictions are combined."""

from __future__ import annotations

from typing import Any

from skfusion.estimators._ensemble_driver import EnsembleDriver
from skfusion.estimators._targets import Classifies, Regresses


class _Ensemble(EnsembleDriver):
    def __init__(
        self,
        estimator: Any = None,
        *,
        collect: Any = None,
        select: Any = None,
        combine: Any = None,
        validation_fraction: float = 0.2,
        cv: Any = 5,
        scoring: Any = None,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.collect = collect
        self.select = select
        self.combine = combine
        self.validation_fraction = validation_fraction
        self.cv = cv
        self.scoring = scoring
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


class EnsembleClassifier(Classifies, _Ensemble):
    """Classify by the combined predictions of many networks.

    ``fit`` collects members (which trains them), selects some and learns how to combine their predictions. Prediction
    costs one network a member.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Module classes that take ``n_in`` and ``n_out`` are
        given the sizes of the data.
    collect : Collector or ModelPool, optional
        Where members come from; ``Seeds(5)`` when omitted. With a pool nothing is trained, and the data given to
        ``fit`` judges its members, which may then be of unlike architectures.
    select : Selector, optional
        Which members; all when omitted.
    combine : Combiner, optional
        How to combine predictions; ``Average()`` when omitted.
    validation_fraction : float, default=0.2
        Share of the rows that is held out, where a component scores; the others train on all rows.
    cv : int, splitter or iterable, default=5
        Folds for combiners that learn from out-of-fold predictions, such as ``Stack()``.
    scoring : str or callable, optional
        The held-out score by which members are selected: accuracy when omitted. Where it is a name, a combiner that
        has a ``scoring`` and was given none judges by it too, such as ``EnsembleSelection()``; one with a
        ``confidence`` only by a score that is a mean over rows. A function stays with the selection of members.
    memory : str or joblib.Memory, optional
        Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the split and of the members.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members.
    estimators_ : list of skorch nets
        Fitted copies of the net, one for each of ``members_``.
    members_ : list of Member
        Those that predict: the selected members, without any that the combiner has learned to give no weight.
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        What the combiner weighs each selected member by, by name, of sum one: given or learned weights, zeros too. None
        where members have no weights, or others for each row.
    held_out_ : ndarray of int or None
        Positions of the held-out rows among the rows of positive weight.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    References
    ----------
    Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990, doi:10.1109/34.58871. Lakshminarayanan, Pritzel
    and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017,
    arXiv:1612.01474.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Snapshots
    >>> X, y = load_iris(return_X_y=True)
    >>> ensemble = EnsembleClassifier(collect=Snapshots(3), random_state=0).fit(X, y)
    >>> ensemble.score(X, y) > 0.9
    True
    """


class EnsembleRegressor(Regresses, _Ensemble):
    """Predict values by the combined predictions of many networks.

    ``fit`` collects members (which trains them), selects some and learns how to combine their predictions. Prediction
    costs one network a member.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Module classes that take ``n_in`` and ``n_out`` are
        given the sizes of the data.
    collect : Collector or ModelPool, optional
        Where members come from; ``Seeds(5)`` when omitted. With a pool nothing is trained, and the data given to
        ``fit`` judges its members, which may then be of unlike architectures.
    select : Selector, optional
        Which members; all when omitted.
    combine : Combiner, optional
        How to combine predictions; ``Average()`` when omitted.
    validation_fraction : float, default=0.2
        Share of the rows that is held out, where a component scores; the others train on all rows.
    cv : int, splitter or iterable, default=5
        Folds for combiners that learn from out-of-fold predictions, such as ``Stack()``.
    scoring : str or callable, optional
        The held-out score by which members are selected: R2 when omitted. Where it is a name, a combiner that has
        a ``scoring`` and was given none judges by it too, such as ``EnsembleSelection()``; one with a ``confidence``
        only by a score that is a mean over rows. A function stays with the selection of members.
    memory : str or joblib.Memory, optional
        Where to cache members, so that a search over fusions trains each fold once. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the split and of the members.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members.
    estimators_ : list of skorch nets
        Fitted copies of the net, one for each of ``members_``.
    members_ : list of Member
        Those that predict: the selected members, without any that the combiner has learned to give no weight.
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        What the combiner weighs each selected member by, by name, of sum one: given or learned weights, zeros too. None
        where members have no weights, or others for each row.
    held_out_ : ndarray of int or None
        Positions of the held-out rows among the rows of positive weight.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    References
    ----------
    Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990, doi:10.1109/34.58871. Lakshminarayanan, Pritzel
    and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017,
    arXiv:1612.01474.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skfusion import EnsembleRegressor
    >>> from skfusion.collect import Bootstrap
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ensemble = EnsembleRegressor(collect=Bootstrap(3), random_state=0).fit(X, y)
    >>> ensemble.score(X, y) > 0.5
    True
    """
