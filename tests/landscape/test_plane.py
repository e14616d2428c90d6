"""Planes in the space of weights, and the loss on them."""

import numpy as np
import pytest
import torch
from landscape.points import judged, perceptron, rows, states_of
from torch import nn

from skfusion.connect import PolyChain
from skfusion.landscape import Plane, Surface, loss_on
from skfusion.objective import ModuleObjective
from skfusion.repair import Recalibrate
from skfusion.testing import _problems as problems


def normed():
    return perceptron(nn.BatchNorm1d(8))


def vector(state):
    """The weights as numpy, without counters and statistics."""
    kept = [v.double().flatten() for k, v in state.items() if "running" not in k and "tracked" not in k]
    return torch.cat(kept).numpy()


def points(n=3, d=4, seed=0):
    return [{"w": torch.from_numpy(row)} for row in np.random.RandomState(seed).normal(size=(n, d))]


@pytest.mark.parametrize("make", [perceptron, normed], ids=["plain", "batch norm"])
def test_distances_on_the_plane_are_those_of_the_states(make):
    plane = Plane.through(*states_of(make, 3))
    places = np.random.RandomState(0).normal(size=(5, 2))
    states = [vector(plane.at(*p)) for p in places]
    for i in range(5):
        for j in range(i):
            assert np.linalg.norm(states[i] - states[j]) == pytest.approx(
                np.linalg.norm(places[i] - places[j]), rel=1e-5
            )


def test_corners_are_found_by_their_coordinates():
    a, b, c = states_of(normed, 3)
    plane = Plane.through(a, b, c)
    (xa, ya, oa), (xb, yb, ob), (xc, yc, oc) = plane.coordinates([a, b, c])
    assert (xa, ya) == pytest.approx((0, 0), abs=1e-9)
    assert yb == pytest.approx(0, abs=1e-9)
    assert xb == pytest.approx(np.linalg.norm(vector(b) - vector(a)))
    assert yc > 0
    assert np.hypot(xc, yc) == pytest.approx(np.linalg.norm(vector(c) - vector(a)))
    assert np.hypot(xc - xb, yc - yb) == pytest.approx(np.linalg.norm(vector(c) - vector(b)))
    np.testing.assert_allclose([oa, ob, oc], 0, atol=1e-4 * xb)
    for state, place in ((a, (xa, ya)), (b, (xb, yb)), (c, (xc, yc))):
        found = plane.at(*place)
        for k, v in state.items():
            torch.testing.assert_close(found[k].double(), v.double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [perceptron, normed], ids=["plain", "batch norm"])
def test_a_plane_gives_its_own_networks_back(make):
    """At the coordinates of a network there is that network, with the statistics that it was trained with."""
    states = states_of(make, 3)
    plane = Plane.through(*states)
    for state, (x, y, off) in zip(states, plane.coordinates(states), strict=True):
        assert off < 1e-9 * np.linalg.norm(vector(state))
        assert plane.at(x, y) is state


def test_coordinates_are_exact_where_three_states_are_almost_on_one_line():
    generator = np.random.RandomState(3)
    a, b, c = generator.normal(size=(3, 1000))
    bent = a + 0.5 * b + 1e-5 * c
    states = [{"w": torch.from_numpy(v)} for v in (a, a + b, bent)]
    plane = Plane.through(*states)
    step = (bent - a) - (bent - a) @ b / (b @ b) * b
    assert plane.coordinates(states)[2] == pytest.approx([(bent - a) @ b / np.linalg.norm(b), np.linalg.norm(step), 0])
    assert plane.coordinates(states)[2, 1] == pytest.approx(np.linalg.norm(step), rel=1e-9)
    for state, place in zip(states, plane.coordinates(states), strict=True):
        assert plane.at(*place[:2]) is state
    slanted = Plane(states, np.eye(2))  # its axes are the sides themselves, and almost one
    far = {"w": torch.from_numpy(a + 2 * b + 30 * (bent - a))}
    found = slanted.coordinates([*states, far])[:, :2]
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [0, 1], [2, 30]], rtol=0, atol=1e-8)


def test_axes_are_those_of_gram_and_schmidt():
    a, b, c = points()
    plane = Plane.through(a, b, c)
    va, vb, vc = (s["w"].numpy() for s in (a, b, c))
    u = (vb - va) / np.linalg.norm(vb - va)
    v = (vc - va) - ((vc - va) @ u) * u
    v /= np.linalg.norm(v)
    for x, y in ((1.0, 0.0), (0.0, 1.0), (-0.7, 2.5)):
        np.testing.assert_allclose(plane.at(x, y)["w"].numpy(), va + x * u + y * v, rtol=0, atol=1e-12)
        assert plane.weights(x, y).sum() == pytest.approx(1)


def test_a_state_off_the_plane_is_seen_at_its_foot():
    *corners, other = points(4, 6)
    plane = Plane.through(*corners)
    va, vb, vc, vd = (s["w"].numpy() for s in (*corners, other))
    basis = np.stack([vb - va, vc - va], axis=1)
    share, *_ = np.linalg.lstsq(basis, vd - va, rcond=None)
    foot = va + basis @ share
    x, y, off = plane.coordinates([other])[0]
    assert off == pytest.approx(np.linalg.norm(vd - foot), rel=1e-9)
    np.testing.assert_allclose(plane.at(x, y)["w"].numpy(), foot, rtol=0, atol=1e-9)


def test_states_on_one_line_are_refused():
    a, b, _ = points()
    middle = {"w": (a["w"] + b["w"]) / 2}
    for three in ((a, b, middle), (a, a, b), (a, b, a), (a, b, b), (a, a, a)):
        with pytest.raises(ValueError, match="on one line .* span no plane: give another third state"):
            Plane.through(*three)


def test_states_of_unlike_architectures_and_nan_are_refused():
    a, b, c = points()
    with pytest.raises(ValueError, match=r"\(4,\) in member first and \(5,\) in member third"):
        Plane.through(a, b, {"w": torch.zeros(5)})
    with pytest.raises(ValueError, match="member second holds NaN"):
        Plane.through(a, {"w": torch.full((4,), float("nan"))}, c)


def convolving():
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("make", [normed, convolving], ids=["perceptron", "convolutions"])
def test_directions_are_as_long_as_the_filters_and_leave_vectors_alone(make):
    (state,) = states_of(make, 1)
    plane = Plane.around(state, random_state=3)
    assert plane.at(0.0, 0.0) is state
    for x, y in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.0)):
        found = plane.at(x, y)
        for key, value in state.items():
            step = found[key].double() - value.double()
            if value.dim() < 2:
                assert float(step.abs().max()) < 1e-6, key
                continue
            lengths = step.flatten(1).norm(dim=1)
            torch.testing.assert_close(lengths, (x + y) * value.double().flatten(1).norm(dim=1), rtol=1e-4, atol=1e-6)


def test_directions_are_reproducible_and_unlike(untouched_rng):
    (state,) = states_of(normed, 1)
    first, again, other = (Plane.around(state, random_state=s).at(1.0, 0.0)["0.weight"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first, Plane.around(state).at(0.0, 1.0)["0.weight"])


def test_a_filter_of_zeros_stays():
    (state,) = states_of(perceptron, 1)
    state["0.weight"] = state["0.weight"].clone()
    state["0.weight"][2] = 0
    assert float(Plane.around(state).at(1.0, 1.0)["0.weight"][2].abs().max()) == 0


@pytest.mark.parametrize("many", [False, True])
def test_corners_have_the_losses_of_the_states(many):
    states, data = states_of(normed, 3), judged(normed(), rows(), many=many)
    plane = Plane.through(*states)
    unit = [plane.weights(0.0, 0.0), plane.weights(*plane.coordinates([states[1]])[0, :2])]
    assert unit[0].tolist() == [1, 0, 0]
    places = plane.coordinates(states)[:, :2]
    surface = loss_on(plane, data, x=places[:, 0], y=places[:, 1])
    assert surface.loss[0, 0] == pytest.approx(data.loss(states[0]), rel=1e-6)
    assert surface.score[0, 0] == pytest.approx(data.score(states[0]))
    for i, state in enumerate(states):  # with their own statistics, and not those of recalibration
        assert surface.loss[i, i] == pytest.approx(data.loss(state), rel=1e-6)
    plain, bare = states_of(perceptron, 3), judged(perceptron(), rows(), many=many)
    places = Plane.through(*plain).coordinates(plain)[:, :2]
    surface = loss_on(Plane.through(*plain), bare, x=places[:, 0], y=places[:, 1])
    for i, state in enumerate(plain):
        assert surface.loss[i, i] == pytest.approx(bare.loss(state), rel=1e-4)


@pytest.mark.parametrize("many", [False, True])
def test_what_is_no_network_is_recalibrated_at_its_corner(many):
    a, b, c = states_of(normed, 3)
    data = judged(normed(), rows(), many=many)
    mended, own = (data.loss(s) for s in (Recalibrate(1)(c, [], data), c))
    assert abs(mended - own) > 1e-3
    for plane, expected in (
        (Plane([a, b, c], np.eye(2)), mended),
        (Plane([a, b, c], np.eye(2), networks=(0, 1, 2)), own),
    ):
        found = loss_on(plane, data, x=[0.0], y=[1.0]).loss[0, 0]
        assert found == pytest.approx(expected, rel=1e-5)
    around = Plane.around(a)
    found = loss_on(around, data, x=[1.0], y=[0.0]).loss[0, 0]
    assert found == pytest.approx(data.loss(Recalibrate(1)(around.at(1.0, 0.0), [], data)), rel=1e-5)


def test_a_quadratic_loss_gives_its_quadratic_surface():
    module = nn.Linear(4, 1, bias=False).double()
    generator = np.random.RandomState(1)
    root = generator.normal(size=(4, 4))
    matrix, best = root @ root.T, generator.normal(size=4)

    def loss(state):
        gap = state["weight"].numpy()[0] - best
        return float(gap @ matrix @ gap)

    data = ModuleObjective(module, lambda: [], loss, lambda state: -loss(state))
    corners = [{"weight": s["w"][None]} for s in points(3, 4)]
    plane = Plane.through(*corners)
    surface = loss_on(plane, data, n_points=7)
    va, vb, vc = (s["weight"].numpy()[0] for s in corners)
    u = (vb - va) / np.linalg.norm(vb - va)
    v = (vc - va) - ((vc - va) @ u) * u
    v /= np.linalg.norm(v)
    for i, y in enumerate(surface.y):
        for j, x in enumerate(surface.x):
            gap = va + x * u + y * v - best
            assert surface.loss[i, j] == pytest.approx(gap @ matrix @ gap, rel=1e-9)
    np.testing.assert_array_equal(surface.score, -surface.loss)


def test_the_grid_goes_beyond_the_corners_by_its_margin():
    states, data = states_of(perceptron, 3), judged(perceptron(), rows())
    plane = Plane.through(*states)
    places = plane.coordinates(states)[:, :2]
    surface = loss_on(plane, data, n_points=4, margin=0.5)
    assert isinstance(surface, Surface)
    assert surface.loss.shape == surface.score.shape == (4, 4)
    for axis, grid in enumerate((surface.x, surface.y)):
        low, high = places[:, axis].min(), places[:, axis].max()
        assert grid[[0, -1]].tolist() == pytest.approx([low - (high - low) / 2, high + (high - low) / 2])
        np.testing.assert_allclose(np.diff(grid), grid[1] - grid[0])


def test_rows_of_the_surface_are_along_the_second_axis():
    states, data = states_of(perceptron, 3), judged(perceptron(), rows())
    plane = Plane.through(*states)
    surface = loss_on(plane, data, x=[0.0, 1.0, 2.0], y=[0.5, -1.0])
    assert surface.loss.shape == (2, 3)
    assert surface.loss[1, 2] == pytest.approx(data.loss(plane.at(2.0, -1.0)), rel=1e-5)


def test_a_curve_of_one_bend_lies_in_the_plane_of_its_bend():
    path = PolyChain(n_epochs=3)(problems.ends(), problems.to_train())
    plane = Plane.through(path.controls[0], path.controls[2], path.controls[1], networks=(0, 1))
    seen = plane.coordinates([path.at(t) for t in np.linspace(0, 1, 7)])
    np.testing.assert_allclose(seen[:, 2], 0, atol=1e-3)
    assert seen[3, 1] > 0


# ---- random directions of what is tied, and of what is no parameter ------------------------------------------------


class Tied(nn.Module):
    """One matrix under two names, a buffer of two axes, and a frozen matrix."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.b.weight = self.a.weight
        self.head.requires_grad_(False)
        self.register_buffer("mix", torch.randn(3, 3))

    def forward(self, x):
        return self.head(self.b(self.a(x).tanh() @ self.mix).tanh())


def test_tied_tensors_move_as_one():
    (state,) = states_of(Tied, 1)
    module = Tied()
    apart = {k: v.clone() for k, v in state.items()}  # as on another device
    for plane in (Plane.around(state), Plane.around(state, module=module), Plane.around(apart, module=module)):
        for place in ((1.0, 0.0), (0.3, -0.7)):
            found = plane.at(*place)
            assert torch.equal(found["a.weight"], found["b.weight"])
            assert not torch.equal(found["a.weight"], state["a.weight"])
    steps = [p.at(1.0, 1.0)["a.weight"] for p in (Plane.around(state, 0, module), Plane.around(apart, 0, module))]
    assert torch.equal(*steps)


def test_only_parameters_of_the_module_move():
    (state,) = states_of(Tied, 1)
    found, bare = Plane.around(state, module=Tied()).at(1.0, 1.0), Plane.around(state).at(1.0, 1.0)
    assert {k for k, v in state.items() if not torch.allclose(found[k], v)} == {"a.weight", "b.weight", "head.weight"}
    assert not torch.allclose(bare["mix"], state["mix"])
    torch.testing.assert_close(found["mix"], state["mix"])


def test_directions_do_not_depend_on_the_order_of_the_state():
    (state,) = states_of(perceptron, 1)
    turned = dict(reversed(state.items()))
    a, b = (Plane.around(s, 0, perceptron()).at(1.0, 0.0) for s in (state, turned))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert all(torch.equal(a[k], v) for k, v in Plane.around(state).at(1.0, 0.0).items())


def test_a_state_of_another_module_is_refused():
    with pytest.raises(ValueError, match=r"lacks the parameter '0.weight' of the Sequential"):
        Plane.around(states_of(Tied, 1)[0], module=perceptron())


def test_losses_far_out_need_not_be_finite():
    data = ModuleObjective(
        nn.Linear(4, 1, bias=False), list, lambda s: float("nan") if s["weight"].abs().max() > 9 else 1.0, lambda s: 0.0
    )
    surface = loss_on(Plane.around({"weight": torch.ones(1, 4)}), data, x=[0.0, 50.0], y=[0.0])
    assert surface.loss[0, 0] == 1.0
    assert np.isnan(surface.loss[0, 1])
