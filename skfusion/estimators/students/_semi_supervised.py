"""Networks that learn from rows without labels too: to predict for each what they predicted before, or under noise."""

from __future__ import annotations

from numbers import Real
from typing import Any

from skfusion.estimators.students._half_labelled import SemiSupervised
from skfusion.nets import Ensembled, Twice


class TemporalEnsemblingClassifier(SemiSupervised):
    r"""Classify with one network that agrees with what it predicted in the epochs before (temporal ensembling).

    The network minimises the mean over rows of

    .. math:: \mathbf 1[\text{labelled}] \, \ell(y, f(x)) + w(t) \, \tfrac 1 C \| p(x) - \tilde z(x) \|^2,
        \qquad \tilde z = \frac{z}{1 - a^n}, \quad z \leftarrow a z + (1 - a) \, p(x)

    where :math:`z` is updated after each epoch with what the network predicted in it, under noise, and n counts the
    updates. The weight grows with the epoch as :math:`w(t) = w \, s \exp(-5 (1 - t / r)^2)`, where s is the share of
    labelled rows by weight, and is 0 in the first epoch, which has no target.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Its dropout is noise too. Its ``train_split`` must be
        None where rows have no label. Where it names its ``classes``, as ``mlp_classifier(classes=[0, 1])`` does, one
        labelled class is enough, and -1 is a class if it is among them.
    momentum : float, default=0.6
        What the mean keeps of itself from one epoch to the next, 0 or more and less than 1: the authors' alpha. At 0
        the target is what the last epoch predicted; a larger one forgets less.
    max_weight : float, default=30.0
        What the consistency weighs against labels after the ramp, if all rows have labels. 0 learns from labels alone.
    ramp_up : float, default=0.25
        Share of the net's ``max_epochs`` in which the weight grows.
    noise : float, default=0.15
        Standard deviation of the noise of inputs in training, in units of that of each input.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 lets the net print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    estimator_ : skorch net
        A fitted copy of the net.
    state_ : dict of Tensor
        Its weights.
    history_ : list of dict
        Its losses, one dict an epoch.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the -1 of rows that have none.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    Notes
    -----
    Costs what ordinary training costs, and memory for two numbers a row and class. It takes many epochs: on digits with
    50 labels, a perceptron lost two points of accuracy in 30 and gained seven in 200. The learning rate follows that of
    the net; the authors raise it with the weight, and lower it at the end.

    ``score`` judges the rows that have a label, and so does cross-validation without ``scoring``. Other metrics take
    rows of -1 for a class of their own, so they are given as a function that leaves these rows out; see the example. A
    number of folds is stratified where labels are whole numbers. An array of objects, such as ``[-1, 'red']``,
    scikit-learn does not stratify: it cuts the rows into folds as they stand, so that a fold may lack a class, or
    raises where a string comes first. Give codes instead, or ``cv=StratifiedKFold(3).split(X, codes)``.

    References
    ----------
    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017, arXiv:1610.02242.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skfusion import TemporalEnsemblingClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> some = y.copy()
    >>> some[1::2] = -1
    >>> model = TemporalEnsemblingClassifier(random_state=0).fit(X, some)
    >>> model.score(X[1::2], y[1::2]) > 0.9
    True

    Cross-validate by another metric:

    >>> from sklearn.metrics import balanced_accuracy_score
    >>> from sklearn.model_selection import cross_val_score
    >>> def balanced(model, X, y):
    ...     known = y != -1
    ...     return balanced_accuracy_score(y[known], model.predict(X[known]))
    >>> print(cross_val_score(model, X, some, cv=2, scoring=balanced).mean() > 0.8)
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        momentum: float = 0.6,
        max_weight: float = 30.0,
        ramp_up: float = 0.25,
        noise: float = 0.15,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.momentum = momentum
        self.max_weight = max_weight
        self.ramp_up = ramp_up
        self.noise = noise
        self.random_state = random_state
        self.verbose = verbose

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and less than 1; got {self.momentum!r}.")

    def _consistency(self, **common: Any) -> Ensembled:
        return Ensembled(float(self.momentum), len(self.classes_), **common)


class PiModelClassifier(SemiSupervised):
    r"""Classify with one network that predicts the same for a row under one noise and another (the Pi-model).

    The network minimises the mean over rows of

    .. math:: \mathbf 1[\text{labelled}] \, \ell(y, f(x)) + w(t) \, \tfrac 1 C \| p(x) - p'(x) \|^2

    where :math:`p'` is a second pass with other noise and another dropout, through which no gradient goes. The weight
    grows with the epoch as :math:`w(t) = w \, s \exp(-5 (1 - t / r)^2)`, where s is the share of labelled rows by
    weight, and is 0 in the first epoch.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Its dropout is noise too. Its ``train_split`` must be
        None where rows have no label. Where it names its ``classes``, as ``mlp_classifier(classes=[0, 1])`` does, one
        labelled class is enough, and -1 is a class if it is among them.
    max_weight : float, default=100.0
        What the consistency weighs against labels after the ramp, if all rows have labels. 0 learns from labels alone.
    ramp_up : float, default=0.25
        Share of the net's ``max_epochs`` in which the weight grows.
    noise : float, default=0.15
        Standard deviation of the noise of inputs in training, in units of that of each input.
    random_state : int or RandomState, optional
        Seed of the training.
    verbose : int, default=0
        1 lets the net print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    estimator_ : skorch net
        A fitted copy of the net.
    state_ : dict of Tensor
        Its weights.
    history_ : list of dict
        Its losses, one dict an epoch.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the -1 of rows that have none.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    Notes
    -----
    Costs a second forward pass a batch, and takes many epochs. BatchNorm sees the rows of both passes. The learning
    rate follows the net's own schedule; the authors raise it with the weight, and lower it at the end. Whether it gains
    depends on the data, and on noise and dropout, without which both passes are one and nothing is asked.

    ``score`` judges the rows that have a label; see :class:`TemporalEnsemblingClassifier` for other metrics,
    and for the folds of labels that are strings.

    References
    ----------
    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017, arXiv:1610.02242.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skfusion import PiModelClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> some = y.copy()
    >>> some[1::2] = -1
    >>> PiModelClassifier(random_state=0).fit(X, some).score(X[1::2], y[1::2]) > 0.9
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        max_weight: float = 100.0,
        ramp_up: float = 0.25,
        noise: float = 0.15,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.max_weight = max_weight
        self.ramp_up = ramp_up
        self.noise = noise
        self.random_state = random_state
        self.verbose = verbose

    def _consistency(self, **common: Any) -> Twice:
        return Twice(**common)
