"""The network that estimators use when they are given none."""

from __future__ import annotations

from skorch import NeuralNetClassifier, NeuralNetRegressor

from skfusion._rows import Task
from skfusion.nets._tabular import tabular_classifier, tabular_regressor


def default_net(task: Task) -> NeuralNetClassifier | NeuralNetRegressor:
    """Return the net that an estimator uses when it is given none: that for tables.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
        What the outputs are.

    Returns
    -------
    skorch net
        Unfitted, not sized yet: :func:`tabular_classifier` or :func:`tabular_regressor`.
    """
    return tabular_regressor() if task == "regression" else tabular_classifier(multilabel=task == "multilabel")
