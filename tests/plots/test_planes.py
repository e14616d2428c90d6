"""Pictures of planes: through networks, with curves, around one network, and along a training."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion import CurveClassifier, EnsembleClassifier
from skfusion.collect import Seeds, Tail
from skfusion.connect import Bezier, CellPlane, Cells, Line
from skfusion.connect._base import inner
from skfusion.evaluate import pool_on_data
from skfusion.landscape import loss_at
from skfusion.nets import mlp_classifier, with_module
from skfusion.objective import ModuleObjective
from skfusion.plots import PlaneDisplay, TrajectoryDisplay
from skfusion.plots._on_planes import levels_of, plane_of, principal
from skfusion.pool import Member
from skfusion.repair import Recalibrate
from skfusion.state import weighted_sum


def cross_entropy(P, y):
    return -np.log(P[np.arange(len(y)), y]).mean()


def loss_of(pool, data, states):
    """Loss and accuracy of some states on the rows to judge on."""
    asked = pool.replace([Member(str(k), s, net=pool[0].net) for k, s in enumerate(states)])
    P = EnsembleClassifier().fuse(asked, *data[2:]).predict_members(data[2])
    return [cross_entropy(p, data[3]) for p in P], [float((p.argmax(axis=1) == data[3]).mean()) for p in P]


def between(display, name):
    """Value at a network, by linear interpolation on the grid."""
    from scipy.interpolate import RegularGridInterpolator

    x, y = display.points[name]
    return float(RegularGridInterpolator((display.y, display.x), display.z)((y, x)))


def vector(state):
    return torch.cat([v.flatten() for v in state.values()]).double().numpy()


def test_plane_of_three_members(pool, data):
    display = PlaneDisplay.from_pool(pool, *data[2:], n_points=61)
    losses, _ = loss_of(pool, data, pool.states)
    assert [between(display, name) for name in pool.names] == pytest.approx(losses, rel=0.02)
    a, b, c = (np.array(p) for p in display.points.values())
    va, vb, vc = (vector(s) for s in pool.states)
    np.testing.assert_allclose(a, 0, atol=1e-6)
    assert b == pytest.approx([np.linalg.norm(vb - va), 0], rel=1e-5, abs=1e-5)  # an isometry
    assert np.linalg.norm(c - b) == pytest.approx(np.linalg.norm(vc - vb), rel=1e-5)
    assert (display.off, display.path, len(display.bends)) == ({}, None, 0)
    assert display.x[0] < 0 < b[0] < display.x[-1]
    assert (display.z_name, display.higher_is_better) == ("cross-entropy (nats)", False)
    assert (display.x_name, display.y_name) == (
        "distance of weights from seed-0 towards seed-1",
        "distance of weights from that line",
    )


def test_points_of_the_grid_are_networks_of_the_plane(pool, data):
    display = PlaneDisplay.from_pool(pool, *data[2:], members=(2, 0, 1), n_points=4, margin=0.1)
    va, vb, vc = (vector(pool[name].state) for name in display.points)
    u = (vb - va) / np.linalg.norm(vb - va)
    v = (vc - va) - (vc - va) @ u * u
    v /= np.linalg.norm(v)
    states, like = [], pool[0].state
    for y in display.y:
        for x in display.x:
            flat = torch.from_numpy(va + x * u + y * v).split([t.numel() for t in like.values()])
            states.append({k: f.view(t.shape).to(t.dtype) for (k, t), f in zip(like.items(), flat, strict=True)})
    losses, scores = loss_of(pool, data, states)
    np.testing.assert_allclose(display.z.ravel(), losses, rtol=1e-3)
    display = PlaneDisplay.from_pool(pool, *data[2:], members=(2, 0, 1), n_points=4, margin=0.1, response="score")
    np.testing.assert_allclose(display.z.ravel(), scores, atol=1.5 / len(data[3]))  # a tie may fall either way
    assert (display.z_name, display.higher_is_better) == ("accuracy", True)


def test_plane_is_drawn(pool, data):
    display = PlaneDisplay.from_pool(pool, *data[2:], n_points=7)
    assert display.plot() is display
    assert display.figure_ is display.ax_.figure
    levels = display.contours_.levels
    assert levels[0] <= display.z.min() <= levels[1]
    np.testing.assert_array_equal(levels, levels_of(display.z, higher_is_better=False))
    marks = [tuple(line.get_xydata()[0]) for line in display.ax_.lines]
    assert marks == [pytest.approx(p) for p in display.points.values()]
    assert [text.get_text() for text in display.ax_.texts] == pool.names
    assert display.ax_.get_xlabel() == display.x_name
    assert display.ax_.child_axes[0].get_ylabel() == "cross-entropy (nats)"
    assert display.ax_.get_aspect() == 1
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize(("height", "aspect"), [(10.0, 1), (4.0, 1), (3.0, "auto"), (40.0, "auto")])
def test_a_narrow_plane_is_stretched(height, aspect):
    grid = np.linspace(0, 1, 5)
    display = PlaneDisplay(10 * grid, height * grid, 1 + np.add.outer(grid, grid)).plot()
    assert display.ax_.get_aspect() == aspect


def test_a_member_off_the_plane_is_hollow(data, net):
    pool = EnsembleClassifier(net, collect=Seeds(4), random_state=0).fit(*data[:2]).pool_
    display = PlaneDisplay.from_pool(pool, *data[2:], members=(0, 1, 2, 3), n_points=3)
    vectors = [vector(s) for s in pool.states]
    basis = np.linalg.qr(np.column_stack([vectors[1] - vectors[0], vectors[2] - vectors[0]]))[0]
    gap = vectors[3] - vectors[0]
    assert display.off == {"seed-3": pytest.approx(np.linalg.norm(gap - basis @ (basis.T @ gap)), rel=1e-4)}
    display.plot()
    faces = [line.get_markerfacecolor() for line in display.ax_.lines]
    assert faces == ["white"] * 3 + ["none"]
    (said,) = display.ax_.get_legend().get_texts()
    assert said.get_text() == f"seed-3: {display.off['seed-3']:.3g} off the plane"


def test_plane_of_a_curve(curve, data):
    display = PlaneDisplay.from_estimator(curve, *data[2:], n_points=41)
    (a, b), path = next(iter(curve.curves_.items()))
    assert [*display.points] == [a, b]
    assert display.off == {}
    assert display.path[[0, -1]] == pytest.approx(np.array([*display.points.values()]), abs=1e-4)
    middle = display.path[len(display.path) // 2]
    corners = [*display.points.values()]
    assert middle == pytest.approx(0.25 * np.array(corners[0]) + 0.5 * display.bends[0] + 0.25 * np.array(corners[1]))
    assert np.hypot(*display.bends[0]) == pytest.approx(
        np.linalg.norm(vector(path.controls[1]) - vector(path.controls[0])), rel=1e-4
    )
    losses, _ = loss_of(curve.pool_, data, [path.at(0), path.at(1)])
    assert [between(display, name) for name in (a, b)] == pytest.approx(losses, rel=0.02)
    display.plot()
    said = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert said == ["trained curve", "straight line", "bend"]
    other = PlaneDisplay.from_estimator(curve, *data[2:], pair=[*curve.curves_][1], n_points=2)
    assert [*other.points] == list([*curve.curves_][1])
    assert PlaneDisplay.from_estimator(curve, *data[2:], n_points=2, response="score").z_name == "accuracy"


def test_no_name_covers_a_curve_or_the_straight_line():
    t = np.linspace(0, 1, 49)[:, None]
    curve = t * [15.0, 0.0] + 2 * t * (1 - t) * [0.0, 7.5]
    points = {"first": curve[0], "second": curve[-1], "mean of both: 53%": (7.5, 0.0), "the curve: 97%": curve[24]}
    x, y = np.linspace(-5, 20, 9), np.linspace(-5, 8, 7)
    drawn = PlaneDisplay(x, y, np.hypot(*np.meshgrid(x, y)) + 1, points, curve).plot()
    drawn.figure_.draw_without_rendering()
    paths = drawn.ax_.transData.transform(np.concatenate([curve, np.linspace(curve[0], curve[-1], 49)]))
    written = [text for text in drawn.ax_.texts if text.get_text() in points]
    assert len(written) == len(points)
    for text in written:
        box = text.get_window_extent()
        assert not any(box.contains(*at) for at in paths), text


def test_a_curve_of_several_bends_leaves_the_plane(pool, data, net):
    estimator = CurveClassifier(net, collect=pool[:2], connect=Bezier(n_bends=3, n_epochs=3)).fit(*data[2:])
    display = PlaneDisplay.from_estimator(estimator, *data[2:], n_points=3)
    assert len(display.bends) == 3
    assert [*display.off] == ["path"]
    assert display.off["path"] > 0
    label = display.plot().ax_.get_legend().get_texts()[0].get_text()
    assert label == f"trained curve, up to {display.off['path']:.3g} off the plane"


def test_a_curve_on_members_of_a_pool(curve, data):
    (a, b), path = next(iter(curve.curves_.items()))
    pool = curve.pool_
    display = PlaneDisplay.from_pool(pool, *data[2:], members=(a, b), path=path, n_points=3)
    np.testing.assert_array_equal(display.z, PlaneDisplay.from_estimator(curve, *data[2:], n_points=3).z)
    (third,) = {*pool.names} - {a, b}
    shown = PlaneDisplay.from_pool(pool, *data[2:], members=(third, a), path=path, n_points=2)
    assert [*shown.off] == [third]
    assert shown.x_name == "distance of weights"  # the first member shown is no end
    with pytest.raises(ValueError, match="has no bend, so it spans no plane"):
        PlaneDisplay.from_pool(pool, *data[2:], members=(a, b), path=Line()([pool[a].state, pool[b].state]))


def test_planes_that_are_none(pool, data):
    same = pool.replace([pool[0], pool[1], pool[1].replace(name="twin")])
    with pytest.raises(ValueError, match="lie on one line"):
        PlaneDisplay.from_pool(same, *data[2:])
    with pytest.raises(ValueError, match=r"needs 3 members.*it has 2"):
        PlaneDisplay.from_pool(pool[:2], *data[2:])
    with pytest.raises(ValueError, match="needs 3 members; got"):
        PlaneDisplay.from_pool(pool, *data[2:], members=(0, 1))
    with pytest.raises(ValueError, match="response must be 'loss' or 'score'; got 'accuracy'"):
        PlaneDisplay.from_pool(pool, *data[2:], response="accuracy")
    with pytest.raises(ValueError, match="a row for each of the 2 y and a column for each of the 3 x"):
        PlaneDisplay([0, 1, 2], [0, 1], np.zeros((3, 2)))
    wide = EnsembleClassifier(mlp_classifier(max_epochs=1, module__hidden=(9,)), collect=Seeds(1), random_state=0)
    odd = wide.fit(*data[:2]).pool_[0].replace(name="wide")
    with pytest.raises(ValueError, match="'wide'"):
        PlaneDisplay.from_pool(pool.replace([*pool[:2], odd]), *data[2:])


def test_plane_around_a_member(pool, data):
    display = PlaneDisplay.around_member(pool, *data[2:], member="seed-1", radius=0.5, n_points=3)
    losses, _ = loss_of(pool, data, [pool["seed-1"].state])
    assert display.z[1, 1] == pytest.approx(losses[0], rel=1e-5)
    assert display.points == {"seed-1": (0.0, 0.0)}
    assert display.x.tolist() == display.y.tolist() == [-0.5, 0.0, 0.5]
    assert display.x_name == "step along random direction 1, in filter lengths"
    again = PlaneDisplay.around_member(pool, *data[2:], member=1, radius=0.5, n_points=3)
    np.testing.assert_array_equal(again.z, display.z)
    other = PlaneDisplay.around_member(pool, *data[2:], member=1, radius=0.5, n_points=3, random_state=1)
    assert not np.allclose(other.z, display.z)
    assert display.plot().ax_.get_ylabel() == "step along random direction 2, in filter lengths"
    with pytest.raises(ValueError, match="radius must be above 0"):
        PlaneDisplay.around_member(pool, *data[2:], radius=0)


def test_plane_on_given_axes_and_where_networks_overflow():
    import matplotlib.pyplot as plt

    _, (ax, other) = plt.subplots(1, 2)
    z = np.array([[0.1, 0.5, np.nan], [0.4, 2.0, np.inf]])
    display = PlaneDisplay([0, 1, 2], [0, 1], z).plot(ax)
    assert display.ax_ is ax
    assert not other.has_data()
    with pytest.raises(ValueError, match="No value on the plane is finite"):
        PlaneDisplay([0, 1], [0, 1], np.full((2, 2), np.nan)).plot()


@pytest.mark.parametrize(
    ("z", "higher"),
    [
        (np.geomspace(0.07, 3, 400), False),
        (np.geomspace(1e-5, 20, 400), False),
        (np.linspace(0.4, 0.42, 400), False),
        (np.linspace(-3, 5, 400), False),
        (np.linspace(0.31, 0.97, 400), True),
        (np.full(4, 0.5), True),
        (np.zeros(4), False),
    ],
    ids=["losses", "many decades", "nearly equal", "negative", "accuracies", "equal", "zero"],
)
def test_levels(z, higher):
    levels = levels_of(z, higher)
    assert 3 <= len(levels) <= 18
    assert (np.diff(levels) > 0).all()
    low, high = (np.quantile(z, 0.05), z.max()) if higher else (z.min(), np.quantile(z, 0.95))
    assert levels[0] <= low + 1e-9
    assert levels[-1] >= high - 1e-9


def test_principal_components_are_those_of_svd():
    V = np.random.default_rng(0).normal(size=(6, 9)) * [9, 5, *[1] * 7]
    V -= V[-1]  # differences from the last one
    places, shares, variance = principal(V @ V.T)
    centred = V - V.mean(axis=0)
    _, s, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(np.sum((shares.T @ V) * axes[:2], axis=1))
    np.testing.assert_allclose(shares.T @ V, axes[:2] * signs[:, None], atol=1e-10)  # of length 1
    np.testing.assert_allclose(places, V @ axes[:2].T * signs, atol=1e-10)
    np.testing.assert_allclose(variance, s[:2] ** 2 / (s**2).sum())
    assert (places[0] <= 0).all()
    assert (places[-1] == 0).all()


@pytest.fixture(scope="module")
def training(data):
    net = mlp_classifier(max_epochs=6, module__hidden=(8,))
    return EnsembleClassifier(net, collect=Tail(0), random_state=0).fit(*data[:2]).pool_


def test_trajectory(training, data):
    display = TrajectoryDisplay.from_pool(training)
    assert display.labels == [f"epoch {k}" for k in range(1, 7)]
    V = np.array([vector(s) for s in training.states])
    expected, _, variance = principal((V - V[-1]) @ (V - V[-1]).T)
    np.testing.assert_allclose(display.places, expected, atol=1e-4)
    assert display.variance == pytest.approx(tuple(variance), rel=1e-4)
    assert display.z is None
    assert display.plot() is display
    np.testing.assert_allclose(display.ax_.lines[0].get_xydata(), display.places)
    assert display.ax_.get_xlabel() == f"principal component 1 ({display.variance[0]:.0%} of the variance)"
    said = [text.get_text() for text in display.ax_.texts]
    assert {"epoch 1", "epoch 6"} <= {*said}
    assert display.contours_ is None


def test_trajectory_with_its_loss(training, data):
    display = TrajectoryDisplay.from_pool(training, *data[2:], n_points=5, margin=0.3)
    losses, _ = loss_of(training, data, training.states)
    V = np.array([vector(s) for s in training.states])
    _, shares, _ = principal((V - V[-1]) @ (V - V[-1]).T)
    axes, like = shares.T @ (V - V[-1]), training[-1].state
    states = []
    for y in display.y:
        for x in display.x:
            flat = torch.from_numpy(V[-1] + x * axes[0] + y * axes[1]).split([t.numel() for t in like.values()])
            states.append({k: f.view(t.shape).to(t.dtype) for (k, t), f in zip(like.items(), flat, strict=True)})
    np.testing.assert_allclose(display.z.ravel(), loss_of(training, data, states)[0], rtol=1e-3)
    assert display.z.min() < max(losses)
    assert display.plot().contours_ is not None
    assert display.ax_.child_axes[0].get_ylabel() == "cross-entropy (nats)"


def test_trajectories_that_are_none(training, data, pool):
    with pytest.raises(ValueError, match="lie on one line"):
        TrajectoryDisplay.from_pool(training.replace([*training[:2], training[1].replace(name="twin")]))
    with pytest.raises(ValueError, match="A trajectory needs 3 members"):
        TrajectoryDisplay.from_pool(training[:2])
    with pytest.raises(ValueError, match="both X and y, or neither"):
        TrajectoryDisplay.from_pool(training, data[2])
    with pytest.raises(ValueError, match="a row of 2 for each of the 1 labels"):
        TrajectoryDisplay([[0, 0], [1, 1]], ["a"], (1, 0))
    unknown = pool.replace([m.replace(meta={}) for m in pool])
    assert TrajectoryDisplay.from_pool(unknown).labels == ["state 1", "state 2", "state 3"]


class Normed(nn.Module):
    """A network with BatchNorm."""

    def __init__(self, n_in=30, n_out=2):
        super().__init__()
        self.norm, self.first = nn.BatchNorm1d(n_in), nn.Linear(n_in, 6)
        self.inner, self.last = nn.BatchNorm1d(6), nn.Linear(6, n_out)

    def forward(self, x):
        return self.last(torch.relu(self.inner(self.first(self.norm(x)))))


def test_networks_with_batch_norm_keep_their_own_statistics(data):
    net = with_module(mlp_classifier(max_epochs=4), Normed)
    pool = EnsembleClassifier(net, collect=Tail(0), random_state=0).fit(*data[:2]).pool_
    losses, _ = loss_of(pool, data, pool.states)
    around = PlaneDisplay.around_member(pool, *data[2:], n_points=3)
    assert around.z[1, 1] == pytest.approx(losses[0], rel=1e-4)
    assert np.isfinite(around.z).all()
    way = TrajectoryDisplay.from_pool(pool, *data[2:], n_points=2)
    asked = pool_on_data(pool, *data[2:])
    gram = inner(asked.states[::-1])[::-1, ::-1]
    _, shares, _ = principal(gram)
    for i, y in enumerate(way.y):
        for j, x in enumerate(way.x):
            share = shares @ [x, y]
            state = weighted_sum(asked.states, share + np.array([0, 0, 0, 1 - share.sum()]))
            mended = Recalibrate(n_passes=1)(state, [], asked.objective)
            assert way.z[i, j] == pytest.approx(asked.objective.loss(mended), rel=1e-3)


@pytest.mark.parametrize("train_ends", [False, True])
def test_only_networks_of_a_curve_keep_their_own_statistics(pool, data, train_ends):
    asked = pool_on_data(pool[:2], *data[2:])
    path = Bezier(n_epochs=1, train_ends=train_ends)(asked.states, asked.objective)
    assert plane_of(path).networks == (() if train_ends else (0, 1))  # never the bend


# ---- cells -----------------------------------------------------------------------------------------------------------


def slope():
    """A plane of 2 x 3 networks of one weight, whose loss is their weight: 10 times the row and the column."""
    controls = [{"weight": torch.tensor([[w]])} for w in (6.0, 16.0, 7.0)]
    data = ModuleObjective(nn.Linear(1, 1, bias=False), list, lambda s: s["weight"].item(), lambda s: 0.0)
    return CellPlane(controls, Cells([[1, 1, 1], [1, -1, 1]])), data


def test_cells_have_the_losses_of_their_networks():
    plane, data = slope()
    display = PlaneDisplay.from_cells(plane, data, z_name="weight")
    np.testing.assert_allclose(display.z, [[0, 1, 2], [10, 11, 12]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(display.z.ravel(), loss_at(plane, plane.cells(), data).loss)
    assert (display.x.tolist(), display.y.tolist()) == ([0, 1, 2], [0, 1])
    ax = display.plot().ax_
    assert ax.yaxis_inverted()
    (squares,) = ax.collections
    np.testing.assert_allclose(np.ma.getdata(squares.get_array()), display.z)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")


def test_the_worst_cells_have_one_colour():
    z = np.ones((5, 8))
    z[0, 0], z[4, 7] = 1e9, np.inf
    (squares,) = PlaneDisplay(np.arange(8), np.arange(5), z, as_cells=True).plot().ax_.collections
    assert squares.get_clim()[1] < 1e9
    assert np.ma.getmaskarray(squares.get_array())[4, 7]
    with pytest.raises(ValueError, match="No value on the plane is finite"):
        PlaneDisplay([0, 1], [0, 1], np.full((2, 2), np.nan), as_cells=True).plot()
