"""Simplexes: their points, their volumes, and the point that is nearest to a state."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from skfusion.connect import Complex, Line, Path, PolyChain, SimplicialComplex
from skfusion.connect._volume import volume_of


def corners_of(*points):
    return [{"w": torch.tensor(p, dtype=torch.float64), "n": torch.tensor(3)} for p in points]


def squares_of(points):
    points = np.asarray(points, float)
    return np.square(points[:, None] - points).sum(-1)


@pytest.mark.parametrize("n", range(1, 6))
def test_volume_of_the_corner_of_a_cube(n):
    points = np.vstack([np.zeros(n), np.eye(n)])
    assert volume_of(squares_of(points)) == pytest.approx(1 / math.factorial(n))
    assert volume_of(squares_of(100 * points)) == pytest.approx(100**n / math.factorial(n))


def test_volume_is_that_by_the_products_of_edges():
    rng = np.random.RandomState(0)
    for n in (1, 2, 4):
        points = rng.normal(size=(n + 1, 12))
        edges = points[1:] - points[0]
        expected = math.sqrt(np.linalg.det(edges @ edges.T)) / math.factorial(n)
        assert volume_of(squares_of(points)) == pytest.approx(expected)
        order = rng.permutation(n + 1)
        assert volume_of(squares_of(points[order])) == pytest.approx(expected)


def test_flat_simplexes_have_no_volume():
    rng = np.random.RandomState(0)
    a, b, c = rng.normal(size=(3, 50))
    for points in ([a, b, 0.3 * a + 0.7 * b], [a, b, c, a + b - c], [a, a], [a, a, b]):
        assert volume_of(squares_of(points)) == 0
    thin = np.diag([0.0, 0.01, 0.01, 0.01, 0.01, 1.0])
    assert volume_of(squares_of(thin[:, 1:])) == pytest.approx(1e-8 / math.factorial(5))
    assert volume_of(squares_of([a])) == 1  # a point has no dimension in which it could be flat


def test_volumes_of_a_complex_add_up():
    corners = corners_of([0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [-2.0, 0.0])
    subspace = SimplicialComplex(corners, Complex([(0, 1, 2), (0, 3, 2)]))
    assert subspace.volumes.tolist() == pytest.approx([6.0, 3.0])
    assert subspace.volume == pytest.approx(9.0)


def test_coefficients_of_random_points_are_uniform_on_the_simplex():
    basis, rng = Complex([(0, 1, 2, 3)]), np.random.RandomState(0)
    c = np.array([basis.weights(basis.sample(rng, 4), 4) for _ in range(4000)])
    assert np.allclose(c.sum(1), 1, atol=1e-12)
    assert (c >= 0).all()
    assert np.allclose(c.mean(0), 1 / 4, atol=0.015)
    for one in c.T:
        assert stats.kstest(one, stats.beta(1, 3).cdf).pvalue > 1e-3


def test_simplexes_are_drawn_by_their_shares():
    basis = Complex([(0, 2), (1, 2)], shares=[1.0, 3.0])
    rng = np.random.RandomState(0)
    drawn = np.array([basis.sample(rng, 3) for _ in range(2000)])
    assert np.mean(drawn[:, 1] > 0) == pytest.approx(0.75, abs=0.04)
    spread = np.array(basis.spread(8, rng, 3))
    assert (spread[:, 1] > 0).sum() == 6  # exactly, where many points are asked for at once
    assert all(len(Complex([(0,), (1,), (2,)]).spread(n, rng, 3)) == n for n in range(1, 8))
    flat = Complex([(0, 2), (1, 2)], shares=[0.0, 0.0])  # without a volume
    assert flat.shares.tolist() == [0.5, 0.5]


def test_grid_has_the_corners_first_and_shared_points_once():
    grid = Complex([(0, 1, 2)]).grid(4, 3)
    assert np.array(grid[:3]).tolist() == np.eye(3).tolist()
    assert len(grid) == 10
    assert {tuple(np.round(3 * p).astype(int)) for p in grid} == {
        p for p in itertools.product(range(4), repeat=3) if sum(p) == 3
    }
    assert len(Complex([(0, 2), (1, 2)]).grid(5, 3)) == 9
    assert [p.tolist() for p in Complex([(0, 1)]).grid(1, 2)] == [[1.0, 0.0], [0.0, 1.0]]


def test_corners_are_the_very_states_and_the_middle_is_between_them():
    corners = corners_of([0.0, 0.0], [4.0, 0.0], [0.0, 8.0])
    subspace = SimplicialComplex(corners, Complex([(0, 1, 2)]), own_states=[1])
    for point, corner in zip(subspace.grid(2), corners, strict=True):
        assert subspace.at(point) is corner
    assert subspace.midpoint["w"].tolist() == pytest.approx([4 / 3, 8 / 3])
    assert subspace.networks == (1,)
    two = subspace.replace(basis=Complex([(0, 2), (1, 2)]))
    assert two.midpoint is corners[2]  # which both lines share
    with pytest.raises(ValueError, match="The 2 simplexes have no corner in common"):
        _ = subspace.replace(basis=Complex([(0,), (1, 2)])).midpoint
    assert Path(corners[:2], Line()).midpoint["w"].tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ([0.5, 0.6, 0.0], "outside its simplex: coefficients are at least 0 and sum to one; these sum to 1.1"),
        ([1.5, -0.5, 0.0], "outside its simplex"),
        ([0.5, 0.5, 0.0], "between the simplexes: only the corners of one of them"),
        ([np.nan, 0.5, 0.5], "a finite coefficient for each control state"),
        ([1.0, 0.0], "a coefficient for each of the 3 control states; got 2"),
        (0.5, "a finite coefficient for each control state"),
    ],
)
def test_points_outside_are_refused(point, message):
    subspace = SimplicialComplex(corners_of([0.0], [1.0], [2.0]), Complex([(0, 2), (1, 2)]))
    with pytest.raises(ValueError, match=message):
        subspace.at(point)


def test_points_in_single_precision_are_inside():
    subspace = SimplicialComplex(corners_of([0.0], [1.0], [2.0]), Complex([(0, 1, 2)]))
    third = np.full(3, 1 / 3, np.float32)
    assert subspace.weights(third).sum() == pytest.approx(1, abs=1e-15)
    assert subspace.weights([1.0, -1e-9, 0.0]).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("simplexes", "shares", "message"),
    [
        ([], None, "at least one simplex"),
        ([()], None, "at least one; got"),
        ([(0, 0, 1)], None, r"different control states, at least one; got \(0, 0, 1\)"),
        ([(-1, 0)], None, "different control states"),
        ([(0, 1)], [1.0, 2.0], "a share of at least 0 for each; got 1 simplexes"),
        ([(0, 1)], [-1.0], "a share of at least 0"),
        ([(0, 1)], [np.nan], "a share of at least 0"),
    ],
)
def test_complexes_that_are_none_are_refused(simplexes, shares, message):
    with pytest.raises(ValueError, match=message):
        Complex(simplexes, shares)


def test_a_corner_without_a_state_is_refused():
    with pytest.raises(ValueError, match="A simplex has the corner 3, and there are 2 control states"):
        SimplicialComplex(corners_of([0.0], [1.0]), Complex([(0, 3)]))


def nearest_by_brute_force(points, target):
    """The smallest distance to a fine grid on the simplex of the points."""
    grid = Complex([range(len(points))]).grid(41, len(points))
    return min(float(np.linalg.norm(c @ points - target)) for c in np.array(grid))


def test_projection_on_simplexes():
    rng = np.random.RandomState(0)
    points = rng.normal(size=(3, 6))
    subspace = SimplicialComplex(corners_of(*points.tolist()), Complex([(0, 1, 2)]))
    for target in (*rng.normal(size=(4, 6)), points.mean(0), points[1], 3 * points[0]):
        found = subspace.project(*corners_of(target.tolist()))
        state = subspace.at(found.point)
        assert torch.equal(state["w"], found.state["w"])
        assert np.linalg.norm(state["w"].numpy() - target) == pytest.approx(found.distance, abs=1e-6)
        assert found.distance <= nearest_by_brute_force(points, target) + 1e-6
    assert subspace.project(*corners_of(points[1].tolist())).distance == pytest.approx(0, abs=1e-7)
    two = subspace.replace(basis=Complex([(0,), (1, 2)]))
    assert two.project(*corners_of(points[0].tolist())).point.tolist() == [1.0, 0.0, 0.0]


def test_projection_on_paths():
    path = Path(corners_of([0.0, 0.0], [1.0, 1.0], [2.0, 0.0]), PolyChain())
    found = path.project(*corners_of([0.5, 2.5]))
    assert found.point == pytest.approx(0.5, abs=1e-4)
    assert found.distance == pytest.approx(math.hypot(0.5, 1.5), abs=1e-6)
    found = path.project(*corners_of([0.0, 1.0]))  # the foot of the perpendicular is (0.5, 0.5)
    assert (found.point, found.distance) == (pytest.approx(0.25, abs=1e-6), pytest.approx(math.sqrt(0.5)))
    assert path.project(*corners_of([5.0, -1.0])).point == pytest.approx(1.0, abs=1e-6)


def test_projection_of_another_architecture_is_refused():
    subspace = SimplicialComplex(corners_of([0.0], [1.0]), Complex([(0, 1)]))
    with pytest.raises(ValueError, match="Tensor 'w'"):
        subspace.project({"w": torch.zeros(3, dtype=torch.float64), "n": torch.tensor(3)})
