"""CurveClassifier and CurveRegressor with bands, strings and geodesics."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

from skfusion import CurveClassifier, CurveRegressor, EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.connect import AutoNEB, DynamicString, ElasticBand, Geodesic
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
NET = mlp_classifier(max_epochs=5, module__hidden=(8,), lr=0.02)
NORMED = mlp_classifier(max_epochs=5, module__hidden=(8, 8), module__norm="batch", lr=0.02)
BAND = AutoNEB(n_cycles=3, n_epochs=3, n_points=3)
CONNECTORS = [BAND, ElasticBand(n_bends=3, n_epochs=5), DynamicString(n_points=5), Geodesic(n_bends=3, n_epochs=3)]
EDGE = "seed-0", "seed-1"
every = pytest.mark.parametrize("connect", CONNECTORS, ids=lambda c: type(c).__name__)


def curve(connect, net=NET, **params):
    return CurveClassifier(net, **{"connect": connect, "n_points": 5, "random_state": 0, **params})


@every
@pytest.mark.parametrize("net", [NET, NORMED], ids=["plain", "batch norm"])
def test_networks_along_the_path_predict(connect, net):
    fitted = curve(connect, net).fit(X, Y)
    assert fitted.score(X, Y) > 0.6
    (path,) = fitted.curves_.values()
    for k, t in ((0, 0.0), (-1, 1.0)):
        state = fitted.members_[k].state
        assert all(torch.equal(state[name], tensor) for name, tensor in fitted.pool_[k].state.items())
        assert all(torch.equal(path.at(t)[name], tensor) for name, tensor in state.items())
    assert fitted.barrier_["curve"] <= fitted.barrier_["line"] + 0.05


@every
def test_pickled_and_fitted_again_it_is_the_same(connect):
    fitted = curve(connect).fit(X, Y)
    (path,) = fitted.curves_.values()
    for other in (pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(X, Y)):
        np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
        (again,) = other.curves_.values()
        assert type(again) is type(path)
        assert repr(again) == repr(path)


def test_several_members_are_joined_by_bands():
    fitted = curve(BAND, collect=Seeds(3)).fit(X, Y)
    assert len(fitted.spanning_tree_) == 2
    assert fitted.score(X, Y) > 0.6


def test_values_are_predicted_along_every_kind_of_path():
    inputs, values = load_diabetes(return_X_y=True)
    net = mlp_regressor(max_epochs=5, module__hidden=(8,), lr=0.02)
    for connect in CONNECTORS:
        fitted = CurveRegressor(net, connect=connect, n_points=5, random_state=0).fit(inputs, values)
        assert np.isfinite(fitted.predict(inputs)).all()
        (path,) = fitted.curves_.values()
        if isinstance(connect, Geodesic):
            assert 0 < path.energy <= path.line_energy
            assert 0.1 < path.history[0] / path.line_energy < 10  # both are energies


def test_strings_are_judged_on_rows_that_nothing_was_trained_on():
    fitted = curve(DynamicString(n_points=5)).fit(X, Y)
    assert len(fitted.held_out_) == 30
    (path,) = fitted.curves_.values()
    assert fitted.profiles_[EDGE].loss.max() <= 1.05 * path.level
    band = curve(BAND).fit(X, Y)
    assert band.held_out_ is None  # which is trained on labelled rows and chooses among its own
    pool = EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, Y).pool_
    with pytest.warns(LeakageWarning):
        again = curve(DynamicString(n_points=5)).fuse(pool, X, Y)
    assert len(again.held_out_) == 30


def test_a_level_below_the_members_is_refused_with_their_losses():
    with pytest.raises(ValueError, match=r"held-out losses of the two networks are \d.*, and level is 0.001"):
        curve(DynamicString(level=0.001)).fit(X, Y)


def test_parameters_are_checked_before_anything_is_trained():
    for connect in (AutoNEB(n_cycles=0), ElasticBand(spring=-1), DynamicString(alpha=2), Geodesic(n_bends=-1)):
        with pytest.raises(ValueError, match="must be"):
            curve(connect, net=None).fit(X, Y)


def test_the_pivots_do_not_learn_from_rows_that_are_held_out():
    """Labels of the held-out rows are shuffled: neither the band nor the geodesic changes."""
    fitted = curve(BAND, predict_with="best").fit(X, Y)
    shuffled = Y.copy()
    shuffled[fitted.held_out_] = np.random.RandomState(0).permutation(Y[fitted.held_out_])
    pool = fitted.pool_
    for connect in (BAND, Geodesic(n_bends=3, n_epochs=3)):
        joined = curve(connect, predict_with="best")
        first, second = (clone(joined).fuse(pool, X, y, held_out=fitted.held_out_) for y in (Y, shuffled))
        for a, b in zip(first.curves_[EDGE].controls, second.curves_[EDGE].controls, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
