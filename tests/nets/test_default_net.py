"""The network that estimators use when they are given none."""

import numpy as np
import pytest
from sklearn.base import is_classifier
from torch import nn

from skfusion import (
    DropoutEnsembleClassifier,
    EnsembleRegressor,
    NeuralDecisionForestClassifier,
    ReBasinMerger,
    SoupClassifier,
)
from skfusion.collect import Seeds
from skfusion.nets import TabularMLP, default_net
from skfusion.nets.losses._smoothed import SmoothedCrossEntropyLoss

rng = np.random.RandomState(0)
X = np.where(rng.rand(40, 3) < 0.02, 1e6, rng.normal(size=(40, 3)))  # with outliers
CLASSES = np.where(X[:, 0] > 0, "above", "below")
VALUES = np.stack([X[:, 1] > 0, X[:, 2] > 0], axis=1) * 1.0


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_it_is_the_one_for_tables(task):
    net = default_net(task)
    assert net.module is TabularMLP
    assert is_classifier(net) == (task != "regression")
    losses = {"regression": nn.MSELoss, "multilabel": nn.BCEWithLogitsLoss, "classification": SmoothedCrossEntropyLoss}
    assert net.criterion is losses[task]


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (SoupClassifier(), CLASSES),
        (SoupClassifier(), VALUES.astype(int)),
        (EnsembleRegressor(collect=Seeds(1)), VALUES),
        (DropoutEnsembleClassifier(n_passes=2), CLASSES),
        (ReBasinMerger(n_points=0), CLASSES),
        (NeuralDecisionForestClassifier(n_trees=2, depth=2), CLASSES),
    ],
    ids=lambda given: type(given).__name__ if hasattr(given, "fit") else "",
)
def test_estimators_size_it_to_the_data(estimator, y):
    fitted = estimator.set_params(random_state=0).fit(X, y)
    assert fitted.net_.module is TabularMLP
    assert fitted.score(X, y) > 0.5


def test_units_of_which_lines_and_curves_are_summed_change_places_together():
    merger = ReBasinMerger(n_points=0, random_state=0).fit(X, CLASSES)
    axes = merger.symmetry_.axes
    (summed,) = {block.groups for name in ("lines.weight", "lines.bias", "curves.weight") for block in axes[name][0]}
    assert summed in {block.groups for block in axes["layers.2.weight"][1]}
    assert len(merger.symmetry_.groups) == 2


def test_inputs_of_more_axes_are_flattened():
    images = rng.normal(size=(30, 2, 3, 1)).astype(np.float32)
    y = (images[:, 0, 0, 0] > 0).astype(int)
    flat, deep = (SoupClassifier(random_state=0).fit(A, y) for A in (images.reshape(30, -1), images))
    assert np.array_equal(flat.predict(images.reshape(30, -1)), deep.predict(images))


@pytest.mark.parametrize("rows", [X[:2], X[:2, :1], np.ones((4, 2))])
def test_tables_of_nearly_nothing(rows):
    y = np.arange(len(rows)) % 2
    assert set(SoupClassifier(random_state=0).fit(rows, y).predict(rows)) <= {0, 1}
