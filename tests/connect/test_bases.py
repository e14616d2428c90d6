"""Coefficients of curves, beside slow restatements of their definitions."""

import pickle

import numpy as np
import pytest
import torch
from reference import curve as reference

from skfusion.connect import Bezier, Fourier, Line, Path, PolyChain
from skfusion.connect._base import steps

GRID = np.linspace(0, 1, 21)
BASES = {"line": Line(), "chain": PolyChain(), "bezier": Bezier(), "fourier": Fourier()}
LITERAL = {"line": reference.bezier, "chain": reference.chain, "bezier": reference.bezier, "fourier": reference.fourier}
SIZES = [("line", 2), *((name, n) for name in ("chain", "bezier", "fourier") for n in (2, 3, 4, 5, 8))]
sizes = pytest.mark.parametrize(("name", "n"), SIZES)


def points(n, d=3):
    return np.random.RandomState(n).normal(size=(n, d)).tolist()


def path_of(basis, vectors):
    return Path([{"w": torch.tensor(v, dtype=torch.float64)} for v in vectors], basis)


def at(path, t):
    return path.at(t)["w"].tolist()


@sizes
def test_points_match_the_literal_curve(name, n):
    controls = points(n)
    path = path_of(BASES[name], controls)
    for t in GRID:
        assert at(path, t) == pytest.approx(LITERAL[name](t, controls), abs=1e-12)


@sizes
def test_coefficients_sum_to_one(name, n):
    for t in np.random.RandomState(0).uniform(size=50):
        assert BASES[name].weights(t, n).sum() == pytest.approx(1, abs=1e-13)


@sizes
def test_ends_have_all_the_weight(name, n):
    first, last = np.eye(n)[[0, -1]].tolist()
    assert BASES[name].weights(0.0, n).tolist() == first
    assert BASES[name].weights(1.0, n).tolist() == last


@pytest.mark.parametrize(("name", "n"), [size for size in SIZES if size[0] != "fourier"])
def test_coefficients_are_those_of_a_convex_hull_and_have_no_direction(name, n):
    for t in GRID:
        c = BASES[name].weights(t, n)
        assert (c >= 0).all()
        np.testing.assert_allclose(BASES[name].weights(1 - t, n), c[::-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_fourier_curve_goes_back_where_bends_of_odd_terms_are_mirrored(n):
    controls = np.array(points(n))
    back = controls[::-1].copy()
    for i in range(2, n):
        back[i - 1] = controls[i - 1] if i % 2 == 0 else controls[0] + controls[-1] - controls[i - 1]
    there, again = path_of(Fourier(), controls.tolist()), path_of(Fourier(), back.tolist())
    for t in GRID:
        assert at(again, t) == pytest.approx(at(there, 1 - t), abs=1e-12)


def test_a_chain_mixes_neighbours_and_passes_through_its_bends():
    for n in (3, 4, 6):
        for t in GRID:
            used = np.flatnonzero(PolyChain().weights(t, n))
            assert len(used) <= 2
            assert np.ptp(used) <= 1
        for k in range(n):
            np.testing.assert_allclose(PolyChain().weights(k / (n - 1), n), np.eye(n)[k], rtol=0, atol=1e-12)


def test_a_chain_of_one_bend_is_that_of_the_paper():
    controls = points(3)
    path = path_of(PolyChain(), controls)
    for t in GRID:
        assert at(path, t) == pytest.approx(reference.chain_of_one_bend(t, *controls), abs=1e-12)


@pytest.mark.parametrize("name", ["chain", "bezier"])
@pytest.mark.parametrize("n", [3, 4, 7])
def test_equally_spaced_bends_on_the_segment_give_the_segment(name, n):
    a, b = np.array(points(2))
    path = path_of(BASES[name], [((1 - s) * a + s * b).tolist() for s in np.linspace(0, 1, n)])
    for t in GRID:
        assert at(path, t) == pytest.approx(((1 - t) * a + t * b).tolist(), abs=1e-12)


@pytest.mark.parametrize("n", [3, 4, 7])
def test_fourier_with_bends_in_the_middle_is_the_segment_at_another_speed(n):
    a, b = np.array(points(2))
    path = path_of(Fourier(), [a.tolist(), *[((a + b) / 2).tolist()] * (n - 2), b.tolist()])
    for t in GRID:
        s = (1 - np.cos(np.pi * t)) / 2
        assert at(path, t) == pytest.approx(((1 - s) * a + s * b).tolist(), abs=1e-12)


def test_a_quadratic_bezier_curve_leaves_its_end_towards_the_bend():
    h, c = 1e-6, Bezier()
    slope = (c.weights(h, 3) - c.weights(0, 3)) / h
    np.testing.assert_allclose(slope, [-2, 2, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(c.weights(0.5, 3), [0.25, 0.5, 0.25], rtol=0, atol=0)


def test_length_of_a_line_and_of_a_chain():
    controls = np.array(points(4))
    assert path_of(Line(), controls[:2].tolist()).length() == pytest.approx(np.linalg.norm(controls[1] - controls[0]))
    pieces = np.linalg.norm(np.diff(controls, axis=0), axis=1).sum()
    assert path_of(PolyChain(), controls.tolist()).length(61) == pytest.approx(pieces)


def test_length_leaves_out_counters_and_statistics():
    a, b = (
        {"w": torch.full((2,), v), "n.running_mean": torch.full((2,), 9 * v), "n.num_batches_tracked": torch.tensor(9)}
        for v in (0.0, 1.0)
    )
    assert Path([a, b], Line()).length() == pytest.approx(2**0.5)


@sizes
def test_points_by_length_are_equally_far_apart(name, n):
    even = path_of(BASES[name], points(n)).by_length()
    dense = np.array([BASES[name].weights(t, n) for t in np.linspace(0, 1, 4001)]) @ np.array(points(n))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    for share in np.linspace(0, 1, 9):
        expected = [np.interp(share * arc[-1], arc, column) for column in dense.T]
        assert at(even, share) == pytest.approx(expected, abs=1e-3 * arc[-1])
        assert even.weights(share).sum() == pytest.approx(1, abs=1e-13)
    assert even.length(501) == pytest.approx(arc[-1], rel=1e-2)  # corners are cut


@sizes
def test_by_length_keeps_the_ends_and_all_else_of_the_path(name, n):
    path = path_of(BASES[name], points(n)).replace(history=[2.0, 1.0], own_ends=False)
    even = pickle.loads(pickle.dumps(path.by_length()))
    assert (even.history, even.own_ends, len(even.controls)) == ((2.0, 1.0), False, n)
    for t, end in ((0.0, path.controls[0]), (1.0, path.controls[-1])):
        assert torch.equal(even.at(t)["w"], end["w"])
        assert path.by_length().at(t) is end
    assert repr(even.basis) == f"ByLength({BASES[name]!r})"


def test_a_path_of_no_length_stays_as_it_is():
    path = path_of(Bezier(), [[1.0, 2.0]] * 3)
    assert path.by_length() is path


@pytest.mark.parametrize("t", [-0.1, 1.0001, float("nan")])
def test_positions_off_the_path_are_refused(t):
    with pytest.raises(ValueError, match="from 0 to 1"):
        path_of(Line(), points(2)).at(t)


def test_a_sample_is_a_uniform_point():
    path, rng = path_of(Line(), [[0.0], [1.0]]), np.random.RandomState(0)
    drawn = np.array([path.sample(rng)["w"].item() for _ in range(400)])
    expected = np.random.RandomState(0).uniform(size=400)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_length_of_a_path_along_one_line_is_that_of_the_line(seed):
    """Squares of steps are sums of products that cancel, and must not end below zero."""
    generator = np.random.RandomState(seed)
    start, step = generator.normal(size=(2, 50))
    along = [0.0, *generator.uniform(size=2), 1.0]
    path = path_of(PolyChain(), [(1e4 * start + s * step).tolist() for s in along])
    expected = np.abs(np.diff(along)).sum() * np.linalg.norm(step)
    assert path.length(31) == pytest.approx(expected, rel=1e-5)
    still = path_of(Bezier(), [start.tolist()] * 4)
    assert still.length() == pytest.approx(0, abs=1e-9)


def test_steps_of_points_that_are_almost_one_have_a_length():
    controls = [{"w": torch.from_numpy(v)} for v in np.random.RandomState(0).normal(size=(3, 40))]
    controls = [controls[0], *({"w": controls[0]["w"] + s * controls[1]["w"]} for s in (1.0, 1.0 + 1e-15))]
    moves = np.array([[0, 1, 0], [0, 0, 1], [0, 0.3, 0.7], [0, 0.1, 0.9], [0, 0.7, 0.3]], float)
    found = steps(controls, moves)
    assert np.isfinite(found).all()
    assert (found < 1e-6).all()
