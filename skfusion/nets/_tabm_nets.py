"""Nets with a TabM, an ensemble in one network, beside those of :mod:`skfusion.nets._tabular`."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNetClassifier, NeuralNetRegressor

from skfusion.nets._tabm_members import with_members
from skfusion.nets._tabular import tabular_classifier, tabular_regressor

_HELD_LESS = {"optimizer__weight_decay": 0.1}
"""What differs from a single network: the mean of members needs less to hold it back."""


def tabm_classifier(
    k: int = 32,
    *,
    multilabel: bool = False,
    early_stopping: bool = False,
    label_smoothing: float = 0.0,
    **params: Any,
) -> NeuralNetClassifier:
    """Return a skorch net with a :class:`TabM`, an ensemble in one network, for classification.

    Parameters
    ----------
    k : int, default=32
        Members. More predict a little better at a proportional cost.
    multilabel : bool, default=False
        Labels do not exclude each other.
    early_stopping : bool, default=False
        Validate on a tenth of the rows after each epoch, stop when 8 epochs have brought no lower loss of the averaged
        prediction, and keep the best state.
    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes. More gives probabilities farther from 0 and 1. Only for
        classes that exclude each other.
    **params : dict
        Passed on to ``skorch.NeuralNetClassifier``: ``lr``, ``max_epochs``, ``batch_size`` (``"auto"``: by the number
        of rows), ``module__categorical``, ``module__hidden``, ``module__dropout``, ...

    Returns
    -------
    skorch.NeuralNetClassifier
        An unfitted net; an estimator of this library sizes it to the data.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Seeds
    >>> from skfusion.nets import tabm_classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = tabm_classifier(k=4, max_epochs=10)
    >>> EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """
    switches: dict[str, Any] = {"multilabel": multilabel, "label_smoothing": label_smoothing}
    return with_members(tabular_classifier(early_stopping=early_stopping, **switches, **{**_HELD_LESS, **params}), k)


def tabm_regressor(k: int = 32, *, early_stopping: bool = False, **params: Any) -> NeuralNetRegressor:
    """Return a skorch net with a :class:`TabM`, an ensemble in one network, for regression.

    Parameters
    ----------
    k : int, default=32
        Members. More predict a little better at a proportional cost.
    early_stopping : bool, default=False
        Validate on a tenth of the rows after each epoch, stop when 8 epochs have brought no lower loss of the averaged
        prediction, and keep the best state.
    **params : dict
        Passed on to ``skorch.NeuralNetRegressor``: ``lr``, ``max_epochs``, ``batch_size`` (``"auto"``: by the number of
        rows), ``module__categorical``, ``module__hidden``, ``module__dropout``, ...

    Returns
    -------
    skorch.NeuralNetRegressor
        An unfitted net; an estimator of this library sizes it to the data.
    """
    return with_members(tabular_regressor(early_stopping=early_stopping, **(_HELD_LESS | params)), k)
