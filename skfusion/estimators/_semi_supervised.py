"""Networks that learn from rows without labels too: to predict for each what they predicted before, or under noise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d

from skfusion.estimators._data import check_inputs, check_weight, encode_classes
from skfusion.estimators._one_network import OneNetwork
from skfusion.estimators._targets import Classifies, positive
from skfusion.nets import Ensembled, Twice
from skfusion.rows import Inputs, Rows


class SemiSupervised(Classifies, OneNetwork):
    """Train a network on labels and on its own consistency; subclasses name the parameters."""

    @abstractmethod
    def _consistency(self, **common: Any) -> Any:
        """Return what is asked of a network besides the labels."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SemiSupervised:
        """Train the network on labelled and unlabelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs. A dict names the arguments of the module's ``forward``.
        y : array-like of shape (n_samples,)
            Labels; -1 means that a row has none. Where there is only one other label, -1 is a class as well, as two
            classes are often called -1 and 1. Labels that are strings go into an array of objects with -1 among them.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row.

        Returns
        -------
        SemiSupervised
            The fitted estimator.
        """
        self._check()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows, labelled = self._half_labelled(X, y, sample_weight)
        # a row with a label is no repetition of one without
        rows = replace(rows, position=None, y=np.column_stack([rows.y, labelled])).expanded()
        rows, labelled = replace(rows, y=rows.y[:, 0]), rows.y[:, 1].astype(bool)
        net = self._sized(rows)
        if net.train_split is not None and not labelled.all():
            raise ValueError(
                f"The net validates on a part of the rows, and {(~labelled).sum()} of {len(labelled)} have no label: "
                "give it train_split=None."
            )
        consistency = self._consistency(
            labelled=labelled,
            max_weight=float(self.max_weight),
            n_ramp=float(self.ramp_up) * net.max_epochs,
            noise=_spread(rows.X, float(self.noise)),
        )
        self._train(rows, seed, consistency, lambda _epoch, _net: consistency.end_epoch())
        return self

    def _check(self) -> None:
        for name in ("max_weight", "ramp_up", "noise"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0; got {value!r}.")

    def _half_labelled(self, X: Any, y: Any, sample_weight: Any) -> tuple[Rows, np.ndarray]:
        """Return rows, with code 0 where there is no label, and which of them have one."""
        X, y = check_inputs(self, X, y, reset=True)
        y = column_or_1d(y, warn=True)
        if y.dtype.kind in "US" and "-1" in y:
            raise ValueError(
                "y has the string '-1'. Unlabelled rows are marked by the number -1: give y as an array of objects."
            )
        weight, named = check_weight(sample_weight, len(y)), getattr(self.estimator, "classes", None)
        labelled = np.ones(len(y), bool) if y.dtype.kind in "US" else np.array(y != -1, bool)
        used = labelled if weight is None else labelled & (weight > 0)
        if not used.any():
            raise ValueError("No row has a label: y is -1 everywhere. Label some rows of each class.")
        if len({*y[used].tolist()}) == 1 if named is None else -1 in [*named]:
            labelled[:] = True  # then -1 is a class
        given = np.array(y[labelled].tolist()) if y.dtype.kind == "O" else y[labelled]
        codes = np.zeros(len(y), np.int64)
        part = None if weight is None else weight[labelled]
        codes[labelled], self.classes_, self._task = encode_classes(given, part, named)
        rows = positive(Rows(X, codes, weight))
        return rows, labelled if rows.position is None else labelled[rows.position]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def _spread(X: Inputs, noise: float) -> Inputs:
    """Return the standard deviation of the inputs times ``noise``, of the shape of a sample."""
    if isinstance(X, dict):
        return {name: noise * values.std(axis=0) for name, values in X.items()}
    return noise * X.std(axis=0)


class TemporalEnsemblingClassifier(SemiSupervised):
    r"""Classify with one network that agrees with what it predicted in the epochs before (temporal ensembling).

    The network minimises the mean over rows of

    .. math:: \mathbf 1[\text{labelled}] \, \ell(y, f(x)) + w(t) \, \tfrac 1 C \| p(x) - \tilde z(x) \|^2,
        \qquad \tilde z = \frac{z}{1 - a^n}, \quad z \leftarrow a z + (1 - a) \, p(x)

    where :math:`z` is updated after each epoch with what the network predicted in it, under noise, and n counts the
    updates. The weight grows with the epoch as :math:`w(t) = w \, (m / n) \exp(-5 (1 - t / r)^2)` for m labelled rows
    of n, and is 0 in the first epoch, which has no target.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Its dropout is noise too.
    momentum : float, default=0.6
        What the mean keeps of itself from one epoch to the next, 0 or more and less than 1. At 0 the target is what
        the last epoch predicted; a larger one forgets less.
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
    50 labels, a perceptron gained nothing in 30 and six points of accuracy in 200. The learning rate follows the net's
    own schedule; the authors raise it with the weight, and lower it at the end.

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
    >>> TemporalEnsemblingClassifier(random_state=0).fit(X, some).score(X[1::2], y[1::2]) > 0.9
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
    grows with the epoch as :math:`w(t) = w \, (m / n) \exp(-5 (1 - t / r)^2)` for m labelled rows of n, and is 0 in the
    first epoch.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron sized to the data when omitted. Its dropout is noise too.
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
    rate follows the net's own schedule; the authors raise it with the weight, and lower it at the end.

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
