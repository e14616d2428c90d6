"""Displays of subspaces: the arrays are those of the networks, and drawing shows them."""

import numpy as np
import pytest
from matplotlib.text import Text

from skfusion import SubspaceClassifier
from skfusion.connect import Bezier, Simplicial
from skfusion.plots import SubspaceDisplay


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def fitted(data, net, pool):
    connect = Simplicial(n_epochs=3, lr=0.1, volume=1e-2, n_samples=2)
    return SubspaceClassifier(net, collect=pool[:2], connect=connect, n_points=3).fit(*data[:2])


def test_a_triangle_has_the_shape_and_the_losses_of_its_networks(fitted, data):
    display = SubspaceDisplay.from_estimator(fitted, *data[2:], n_points=4)
    assert [*display.corners] == ["network 0", "connector 0", "connector 1"]
    assert len(display.places) == 10
    from skfusion.state import distance

    states = [fitted.subspace_.controls[k] for k in (0, 2, 3)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        a, b = (np.array([*display.corners.values()][k]) for k in (i, j))
        assert np.linalg.norm(a - b) == pytest.approx(distance(states[i], states[j]), rel=1e-4)
    by_hand = SubspaceClassifier(fitted.estimator, collect=fitted.pool_, connect=Simplicial(0)).fit(*data[2:])
    assert by_hand.subspace_.basis.simplexes == ((0, 1),)
    assert np.isfinite(display.z).all()
    display.plot()
    assert {"network 0", "connector 1"} <= {t.get_text() for t in display.figure_.findobj(Text)}
    assert display.contours_ is not None


def test_a_plane_goes_beyond_its_triangle(fitted, data):
    inside = SubspaceDisplay.from_estimator(fitted, *data[2:], n_points=5)
    beyond = SubspaceDisplay.from_estimator(fitted, *data[2:], n_points=5, margin=0.5)
    assert len(beyond.places) == 25
    assert beyond.places[:, 0].min() < inside.places[:, 0].min()
    assert beyond.places[:, 0].max() > inside.places[:, 0].max()
    assert beyond.corners.keys() == inside.corners.keys()


def test_a_chain_goes_through_corners_in_any_order(fitted, data):
    corners = ["network 0", "connector 1", "network 1"]
    display = SubspaceDisplay.from_estimator(fitted, *data[2:], corners=corners, n_points=5, response="score")
    assert [*display.corners] == corners
    by_place = SubspaceDisplay.from_estimator(fitted, *data[2:], corners=np.array([0, 3, 1]), n_points=2)
    assert [*by_place.corners] == corners
    assert display.places.shape == (9, 1)
    assert (np.diff(display.places[:, 0]) > 0).all()
    assert display.higher_is_better
    ends = [display.z[0], display.z[-1]]
    for score, member in zip(ends, fitted.pool_[:2], strict=True):
        own = SubspaceClassifier(fitted.estimator, collect=fitted.pool_[[member.name]], connect=Simplicial(0))
        assert own.fit(*data[2:]).score(*data[2:]) == pytest.approx(score)
    display.plot()
    assert display.contours_ is None


def test_a_path_is_shown_by_its_positions(data, net, pool):
    curve = SubspaceClassifier(net, collect=pool[:2], connect=Bezier(n_epochs=2), n_points=3).fit(*data[:2])
    display = SubspaceDisplay.from_estimator(curve, *data[2:], n_points=5).plot()
    assert display.places[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert display.ax_.get_xlabel() == "position t on the path"


def test_what_cannot_be_shown_is_named(fitted, data, curve):
    for corners in (["network 0"], ["network 0", "nobody"], [0, 9]):
        with pytest.raises(ValueError, match="corners must be two or more of"):
            SubspaceDisplay.from_estimator(fitted, *data[2:], corners=corners)
    with pytest.raises(ValueError, match="response must be 'loss' or 'score'"):
        SubspaceDisplay.from_estimator(fitted, *data[2:], response="both")
    with pytest.raises(TypeError, match="CurveClassifier has no subspace_: give a fitted SubspaceClassifier"):
        SubspaceDisplay.from_estimator(curve, *data[2:])
    with pytest.raises(ValueError, match="places have the shape"):
        SubspaceDisplay([[0.0, 0.0, 0.0]], [1.0])
