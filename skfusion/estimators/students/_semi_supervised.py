"""Temporal ensembling and the Pi-model: networks that learn from rows without labels too, by their own consistency."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state

from skfusion._docs import CLASSIFIER, doc, template
from skfusion._rows import Inputs, Rows
from skfusion.data import check_inputs, check_weight, positive
from skfusion.estimators._targets import Classifies, encode_labels
from skfusion.estimators.students import _partial_labels as partial_labels
from skfusion.estimators.students._one_network import OneNetwork
from skfusion.nets import Ensembled, Twice


@template
class SemiSupervised(Classifies, OneNetwork):
    r"""{summary}

    The network minimises the mean over rows of

    .. math:: \mathbf 1[\text{labelled}] \, \ell(y, f(x)) + w(t) \, \tfrac 1 C \| p(x) - {target}

    {where}
    The weight grows with the epoch as :math:`w(t) = w \, s \exp(-5 (1 - t / r)^2)`, where s is the share of
    labelled rows by weight, and is 0 in the first epoch.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. The one for tables, sized to the data, when omitted. Its dropout is noise too. Its ``train_split``
        must be None where rows have no label. Where it names its ``classes``, as ``mlp_classifier(classes=[0, 1])``
        does, one labelled class is enough, and -1 is a class if it is among them.
    {momentum}
    max_weight : float, default={weight}
        The weight of the consistency against that of the labels after the ramp, if all rows have labels; 0 is none.
    ramp_up : float, default=0.25
        Share of the net's ``max_epochs`` in which the weight grows.
    noise : float, default=0.15
        Standard deviation of the noise of inputs in training, in units of that of each input.
    {random_state}
    verbose : int, default=0
        1 lets the net print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    {estimator_}
    {state_}
    {history_}
    classes_ : ndarray of shape (n_classes,)
        The labels, without the -1 of rows that have none.
    {features_}

    Notes
    -----
    {cost}
    The learning rate follows that of the net; the authors raise it with the weight, and lower it at the end.

    ``score`` judges the rows that have a label, and so does cross-validation without ``scoring``. Other metrics take
    rows of -1 for a class, so they are given as a function that leaves these rows out; see the example. A number of
    folds is stratified where labels are whole numbers. An array of objects, such as ``[-1, 'red']``, scikit-learn does
    not stratify: it cuts the rows into folds as they stand, so that a fold may lack a class, or raises where a string
    comes first. Give codes instead, or ``cv=StratifiedKFold(3).split(X, codes)``.

    References
    ----------
    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017, arXiv:1610.02242.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skfusion import {name}
    >>> X, y = load_wine(return_X_y=True)
    >>> some = y.copy()
    >>> some[1::2] = -1
    >>> model = {name}(random_state=0).fit(X, some)
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

    @abstractmethod
    def _consistency(self, **common: Any) -> Any:
        """Return the loss that is asked of a network besides that of the labels."""

    @doc()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SemiSupervised:
        """Train the network on labelled and unlabelled rows.

        Parameters
        ----------
        {X}
        y : array-like of shape (n_samples,)
            Labels; -1 means that a row has none, unless the net has -1 among its ``classes``. Labels that are strings
            go into an array of objects with -1 among them; the notes of the class say how to cross-validate these.
            Missing labels (NaN or None) are marked by -1 too: ``y.astype(object).fillna(-1)``.
        {sample_weight}

        {fitted}

        Raises
        ------
        ValueError
            If all labels are of one class, and the net does not name its classes, such as
            ``mlp_classifier(classes=[0, 1])``.

        Warns
        -----
        UserWarning
            If all labels are -1 or 1, and the net does not name its classes: they are taken for two classes then.
        """
        self._check()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows, labelled = self._partly_labelled(X, y, sample_weight)
        # as a row with a label is no repetition of one without
        rows = replace(rows, position=None, y=np.column_stack([rows.y, labelled])).expanded()
        rows, labelled = replace(rows, y=rows.y[:, 0]), rows.y[:, 1].astype(bool)
        net = self._sized(self.estimator, rows)
        if net.train_split is not None and not labelled.all():
            raise ValueError(
                f"The net validates on a part of the rows, and {(~labelled).sum()} of {len(labelled)} have no label: "
                "give it train_split=None."
            )
        common = {"labelled": labelled, "max_weight": float(self.max_weight), "row_weight": rows.weight}
        noise, n_ramp = spread(rows.X, rows.weight, float(self.noise)), float(self.ramp_up) * net.max_epochs
        consistency = self._consistency(noise=noise, n_ramp=n_ramp, **common)
        self._train(rows, seed, consistency, lambda _epoch, _net: consistency.end_epoch())
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows that have a label, as in :meth:`labelled`; see :meth:`fit`."""
        predicted, y = self.predict(X), partial_labels.read_labels(y, self.classes_)
        kept, weight = partial_labels.has_label(y, self.classes_), check_weight(sample_weight, len(y))
        if weight is not None:
            kept &= weight > 0
        if not kept.any():
            raise ValueError(f"No row has a label to judge by: y is -1 in all {len(y)} rows that count.")
        weight = None if weight is None else weight[kept]
        return float(accuracy_score(partial_labels.plain(y[kept]), predicted[kept], sample_weight=weight))

    def labelled(self, y: Any) -> np.ndarray:
        """Return which rows have a label: not -1, unless the net has -1 among its classes; see :meth:`fit`."""
        classes = getattr(self.estimator, "classes", None)
        return partial_labels.has_label(partial_labels.read_labels(y, classes), classes)

    def _check(self) -> None:
        for name in ("max_weight", "ramp_up", "noise"):
            if not isinstance(value := getattr(self, name), Real) or not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0; got {value!r}.")

    def _partly_labelled(self, X: Any, y: Any, sample_weight: Any) -> tuple[Rows, np.ndarray]:
        """Return rows, with code 0 where there is no label, and which of them have one."""
        classes = getattr(self.estimator, "classes", None)
        partial_labels.check_complete(y)
        X, y = check_inputs(self, X, y, reset=True)
        y = partial_labels.read_labels(y, classes)
        weight = check_weight(sample_weight, len(y))
        used = np.ones(len(y), bool) if weight is None else weight > 0
        labelled = partial_labels.has_label(y, classes)
        if not (labelled & used).any():
            raise ValueError("No row has a label: y is -1 everywhere. Label some rows of each class.")
        if classes is None and not labelled[used].all() and partial_labels.is_minus_one_a_class(y[labelled & used]):
            labelled[:] = True
        codes, weight_of_labels = np.zeros(len(y), np.int64), None if weight is None else weight[labelled]
        codes[labelled] = encode_labels(self, partial_labels.plain(y[labelled]), weight_of_labels, classes)
        rows = positive(Rows(X, codes, weight, task=self._task))
        return rows, labelled if rows.position is None else labelled[rows.position]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def spread(X: Inputs, weight: np.ndarray | None, noise: float) -> Inputs:
    """Return the standard deviation of the inputs times ``noise``, of the shape of a sample."""
    if isinstance(X, dict):
        return {name: spread(values, weight, noise) for name, values in X.items()}
    if weight is None:
        return noise * X.std(axis=0)
    centred = X - np.average(X, axis=0, weights=weight)
    return noise * np.sqrt(np.average(centred**2, axis=0, weights=weight))


@dataclass(eq=False, repr=False)
@doc(
    CLASSIFIER,
    summary="Classify with one network that agrees with what it predicted in earlier epochs (temporal ensembling).",
    target=r"""\tilde z(x) \|^2,
        \qquad \tilde z = \frac{z}{1 - a^n}, \quad z \leftarrow a z + (1 - a) \, p(x)""",
    where="""
    where :math:`z` is updated after each epoch with what the network predicted in it, under noise, and n counts the
    updates.""",
    momentum="""
    momentum : float, default=0.6
        What the mean keeps of itself from one epoch to the next, 0 or more and less than 1: the authors' alpha. At 0
        the target is what the last epoch predicted; a larger one forgets less.""",
    weight="30.0",
    cost="""
    Costs what ordinary training costs, and memory for two numbers a row and class. It takes many epochs: on digits with
    50 labels, a perceptron lost two points of accuracy in 30 and gained seven in 200.""",
)
class TemporalEnsemblingClassifier(SemiSupervised):
    estimator: Any = None
    _: KW_ONLY
    momentum: float = 0.6
    max_weight: float = 30.0
    ramp_up: float = 0.25
    noise: float = 0.15
    random_state: Any = None
    verbose: int = 0

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and less than 1; got {self.momentum!r}.")

    def _consistency(self, **common: Any) -> Ensembled:
        return Ensembled(float(self.momentum), len(self.classes_), **common)


@dataclass(eq=False, repr=False)
@doc(
    CLASSIFIER,
    summary="Classify with one network that predicts the same for a row under one noise and another (the Pi-model).",
    target=r"p'(x) \|^2",
    where="""
    where :math:`p'` is a second pass with other noise and another dropout, through which no gradient goes.""",
    momentum="",
    weight="100.0",
    cost="""
    Costs a second forward pass a batch, and takes many epochs. BatchNorm sees the rows of both passes. Whether it gains
    depends on the data, and on noise and dropout, without which both passes are one and nothing is asked.""",
)
class PiModelClassifier(SemiSupervised):
    estimator: Any = None
    _: KW_ONLY
    max_weight: float = 100.0
    ramp_up: float = 0.25
    noise: float = 0.15
    random_state: Any = None
    verbose: int = 0

    def _consistency(self, **common: Any) -> Twice:
        return Twice(**common)
