"""Simplexes of low loss between networks, and the toy landscape of wedges."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from reference import wedge as reference
from torch import nn

from skfusion.connect import PolyChain, Subdivision, Wedge
from skfusion.landscape import loss_at
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import weighted_sum
from skfusion.testing import _problems as problems


class Point(nn.Module):
    """Gives its weights for any input."""

    def __init__(self, d):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(d, dtype=torch.float64))

    def forward(self, x):
        return self.w


def toy_loss(w, n):
    """The toy loss of wedges in closed form: the length of the d - n smallest coordinates."""
    return w.abs().sort().values[: len(w) - n].square().sum().sqrt()


def toy(d, n, n_batches=20):
    rows = [Batch(torch.zeros(1), torch.zeros(1))] * n_batches

    def loss(state):
        return float(toy_loss(state["w"], n))

    return ModuleObjective(
        Point(d), lambda: rows, loss, lambda s: -loss(s), criterion=lambda out, batch: toy_loss(out, n)
    )


def states(values):
    return [{"w": torch.tensor(v, dtype=torch.float64)} for v in values]


def subsets(n):
    return [s for size in range(1, n + 1) for s in combinations(range(n), size)]


# ---- the toy landscape -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "n"), [(2, 1), (3, 1), (3, 2), (5, 2), (6, 4)])
def test_the_toy_loss_is_that_by_brute_force(d, n):
    for point in np.random.RandomState(d).normal(size=(30, d)):
        found = float(toy_loss(torch.from_numpy(point), n))
        assert found == pytest.approx(reference.toy_loss(point.tolist(), n), abs=1e-12)
        assert float(toy_loss(torch.from_numpy(-3 * point), n)) == pytest.approx(3 * found, abs=1e-12)


def test_the_toy_loss_is_zero_on_the_span_of_any_n_axes():
    for kept in combinations(range(5), 3):
        point = torch.zeros(5, dtype=torch.float64)
        point[[*kept]] = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        assert float(toy_loss(point, 3)) == 0.0


@pytest.mark.parametrize("n_networks", [2, 3, 4])
def test_networks_on_wedges_of_their_own_are_joined_where_the_loss_is_low(n_networks):
    """Each lies on an axis of its own, and the wedges meet at the origin, to which all vertices go."""
    optima, data = states((2 * np.eye(4)[:n_networks]).tolist()), toy(4, 1)
    flat = max(
        reference.toy_loss((2 * np.array([*p, *[0.0] * (4 - n_networks)])).tolist(), 1)
        for p in Subdivision(n_networks).grid(7, 0)
    )
    simplex = Wedge(n_epochs=30, lr=0.05)(optima, data)
    found = loss_at(simplex, simplex.grid(7), data)
    assert flat >= 1
    assert found.loss.max() < 0.1 * flat
    assert found.loss.max() == max(reference.toy_loss(simplex.at(p)["w"].tolist(), 1) for p in simplex.grid(7))


# ---- points ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_points_are_those_of_the_piece_that_has_them(n):
    rng, basis = np.random.RandomState(n), Subdivision(n)
    vertices = {s: rng.normal(size=3) for s in subsets(n)}
    controls = np.array([*vertices.values()])
    points = [*basis.grid(4, len(controls)), *(basis.sample(rng, len(controls)) for _ in range(20))]
    for point in points:
        c = basis.weights(point, len(controls))
        assert c.sum() == pytest.approx(1, abs=1e-13)
        assert (c >= 0).all()
        assert np.count_nonzero(c) <= n
        np.testing.assert_allclose(c @ controls, reference.subdivided(point.tolist(), vertices), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_each_control_state_stands_at_the_barycentre_of_its_face(n):
    every = subsets(n)
    for place, face in enumerate(every):
        point = np.zeros(n)
        point[[*face]] = 1 / len(face)
        np.testing.assert_allclose(Subdivision(n).weights(point, len(every)), np.eye(len(every))[place], atol=1e-12)


def test_with_vertices_in_the_middle_of_their_faces_the_simplex_is_flat():
    rng = np.random.RandomState(0)
    corners = rng.normal(size=(4, 6))
    controls = np.array([corners[[*face]].mean(axis=0) for face in subsets(4)])
    for _ in range(20):
        point = Subdivision(4).sample(rng, 15)
        np.testing.assert_allclose(Subdivision(4).weights(point, 15) @ controls, point @ corners, rtol=0, atol=1e-12)


def test_a_grid_has_every_point_once():
    for n, n_points in ((1, 3), (2, 5), (3, 4), (4, 3)):
        points = Subdivision(n).grid(n_points, 2**n - 1)
        assert len({tuple(p.tolist()) for p in points}) == len(points) == math.comb(n_points - 1 + n - 1, n - 1)
        assert {tuple(row) for row in np.eye(n).tolist()} <= {tuple(p.tolist()) for p in points}
        assert all(p.sum() == pytest.approx(1) and (p >= 0).all() for p in points)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_random_points_are_uniform(n):
    """Each coordinate has the distribution Beta(1, n - 1)."""
    rng = np.random.RandomState(0)
    points = np.array([Subdivision(n).sample(rng, 0) for _ in range(4000)])
    np.testing.assert_allclose(points.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(points.mean(axis=0), 1 / n, rtol=0, atol=0.02)
    np.testing.assert_allclose(points.var(axis=0), (n - 1) / n**2 / (n + 1), rtol=0, atol=0.005)


@pytest.mark.parametrize("point", [[0.5, 0.5], [0.5, 0.6, 0.0], [1.2, -0.2, 0.0], [math.nan, 0.5, 0.5], 0.5])
def test_points_outside_the_simplex_are_refused(point):
    simplex = Wedge(n_epochs=0)(states(np.eye(3).tolist()), toy(3, 1))
    with pytest.raises(ValueError, match="3 coordinates of at least 0, which sum to one"):
        simplex.at(point)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_nearest_point_is_no_further_than_any_other(n):
    rng, basis = np.random.RandomState(n), Subdivision(n)
    controls = rng.normal(size=(2**n - 1, 5)) + 0.3
    found = basis.nearest(controls @ controls.T)
    basis.within(found)
    distance = np.linalg.norm(basis.weights(found, len(controls)) @ controls)
    others = [*basis.grid(6, 0), *(basis.sample(rng, 0) for _ in range(100))]
    assert min(np.linalg.norm(basis.weights(p, len(controls)) @ controls) for p in others) >= distance - 1e-9
    own = basis.sample(rng, 0)
    away = controls - basis.weights(own, len(controls)) @ controls
    np.testing.assert_allclose(basis.weights(basis.nearest(away @ away.T), len(away)) @ away, 0, atol=1e-6)


# ---- training --------------------------------------------------------------------------------------------------------


def test_two_networks_are_joined_by_a_chain_with_one_bend():
    ends, data = problems.ends(torch.float64), problems.to_train(torch.float64)
    simplex = Wedge(n_epochs=4, weight_decay=0.01)(ends, data)
    chain = PolyChain(n_epochs=4, weight_decay=0.01)(ends, data)
    assert simplex.history == pytest.approx(chain.history, abs=1e-9)
    for t in np.linspace(0, 1, 9):
        point, expected = simplex.at([1 - t, t]), chain.at(t)
        for k, value in expected.items():
            torch.testing.assert_close(point[k], value, rtol=0, atol=1e-8)


def three():
    a, b = problems.ends()
    noise = torch.Generator().manual_seed(0)
    return [a, b, {k: v + 0.3 * torch.randn(v.shape, generator=noise) if v.dim() == 2 else v for k, v in b.items()}]


def test_an_edge_is_what_joins_its_two_networks_alone():
    networks, data = three(), problems.to_train()
    simplex = Wedge(n_epochs=2)(networks, data)
    for place, (i, j) in enumerate(combinations(range(3), 2), 3):
        alone = Wedge(n_epochs=2)([networks[i], networks[j]], data)
        assert problems.snapshot(simplex.controls[place]) == problems.snapshot(alone.controls[2])


def test_networks_stay_as_they_are_and_all_vertices_are_trained():
    networks, data = three(), problems.to_train()
    before = problems.snapshot(networks)
    simplex = Wedge(n_epochs=3)(networks, data)
    assert all(simplex.at(corner) is state for corner, state in zip(np.eye(3), networks, strict=True))
    assert problems.snapshot(networks) == before
    assert (len(simplex.controls), len(simplex.history), simplex.networks) == (7, 12, (0, 1, 2))
    for face, vertex in zip(subsets(3)[3:], simplex.controls[3:], strict=True):
        start = weighted_sum([networks[k] for k in face], [1 / len(face)] * len(face))
        assert not torch.equal(vertex["0.weight"], start["0.weight"])


def test_the_interior_vertex_alone_moves_when_the_last_face_is_trained():
    """Its step is that of the mean loss in the simplex, by its own coefficient."""
    optima = states([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    bowl = ModuleObjective(Point(2), toy(2, 1, 1).batches, criterion=lambda out, batch: (out - 5).square().sum() / 2)
    simplex = Wedge(n_epochs=1, lr=0.1, random_state=4)(optima, bowl)
    rng, basis = np.random.RandomState(4), Subdivision(3)
    c = basis.weights(basis.sample(rng, 7), 7)
    controls = np.array([s["w"].tolist() for s in simplex.controls])
    controls[6] = np.mean(controls[:3], axis=0)
    expected = controls[6] - 0.1 * c[6] * (c @ controls - 5)
    np.testing.assert_allclose(simplex.controls[6]["w"], expected, rtol=0, atol=1e-12)


def test_equal_networks_are_joined_without_training():
    (a, _) = problems.ends()
    simplex = Wedge(n_epochs=3)([a, {k: v.clone() for k, v in a.items()}], problems.to_train())
    assert simplex.history == ()


# ---- what cannot be joined -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "says"), [(1, "at least 2 networks; got 1"), (7, "at most 6 networks; got 7")])
def test_too_few_and_too_many_networks_are_refused(n, says):
    with pytest.raises(ValueError, match=says):
        Wedge()(states(np.eye(7)[:n].tolist()), toy(7, 1))


def test_a_wedge_needs_labels():
    with pytest.raises(ValueError, match="Wedge trains on labelled rows"):
        Wedge()(states(np.eye(3).tolist()))
