"""Networks that the displays are tested on."""

import pytest
from sklearn.datasets import load_breast_cancer

from skfusion import CurveClassifier, EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.nets import mlp_classifier


@pytest.fixture(scope="package")
def data():
    """Rows to train on, and rows to judge on."""
    X, y = load_breast_cancer(return_X_y=True)
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.fixture(scope="package")
def net():
    return mlp_classifier(max_epochs=5, module__hidden=(8,))


@pytest.fixture(scope="package")
def pool(data, net):
    return EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(*data[:2]).pool_


@pytest.fixture(scope="package")
def curve(data, net):
    """Three members joined by two curves."""
    connect = Bezier(n_epochs=3)
    return CurveClassifier(net, collect=Seeds(3), connect=connect, n_points=5, random_state=0).fit(*data[:2])
