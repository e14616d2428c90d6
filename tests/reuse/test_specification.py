"""Specifications: the gradient, the descent, distances, and what is refused."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skfusion.reuse import Specification
from skfusion.reuse._kernel import kernel, median_gamma
from skfusion.reuse._reduce import gradient, objective


def rows(n=80, d=3, seed=0, shift=0.0):
    return np.random.RandomState(seed).normal(size=(n, d)) + shift


@pytest.mark.parametrize("gamma", [0.05, 0.5, 3.0])
def test_the_gradient_is_that_of_finite_differences(gamma):
    rng = np.random.RandomState(1)
    X, Z, beta = rows(), rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6))
    numeric, h = np.empty_like(Z), 1e-5
    for place in np.ndindex(*Z.shape):
        step = np.zeros_like(Z)
        step[place] = h
        numeric[place] = (objective(X, Z + step, beta, gamma) - objective(X, Z - step, beta, gamma)) / (2 * h)
    assert np.allclose(gradient(X, Z, beta, gamma), numeric, atol=1e-8)


def test_half_of_the_first_term_is_not_the_gradient():
    """The mistake of a well-known implementation: -2 g b_m [T1 - 2 T2] in the place of -4 g b_m [T1 - T2]."""
    rng = np.random.RandomState(1)
    X, Z, beta, gamma = rows(), rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6)), 0.5
    first = np.array(
        [sum(b * kernel(z[None], w[None], gamma)[0, 0] * (z - w) for b, w in zip(beta, Z, strict=True)) for z in Z]
    )
    second = np.array([np.mean([kernel(z[None], x[None], gamma)[0, 0] * (z - x) for x in X], axis=0) for z in Z])
    right, wrong = -4 * gamma * beta[:, None] * (first - second), -2 * gamma * beta[:, None] * (first - 2 * second)
    assert np.allclose(gradient(X, Z, beta, gamma), right)
    assert not np.allclose(gradient(X, Z, beta, gamma), wrong, rtol=0.1)


@pytest.mark.parametrize("gamma", [None, 0.01, 10.0])
@pytest.mark.parametrize("n_points", [1, 5, 30])
def test_the_distance_never_grows(n_points, gamma):
    spec = Specification(n_points, gamma, n_rounds=5).fit(rows())
    assert all(after <= before + 1e-9 for before, after in pairwise(spec.history_))
    assert np.isclose(spec.weights_.sum(), 1)
    assert (spec.weights_ >= 0).all()
    assert spec.points_.shape == (n_points, 3)


def test_the_error_is_the_distance_from_the_rows():
    X = rows()
    spec = Specification(10).fit(X)
    assert np.isclose(spec.error_, spec.mmd(X), atol=1e-7)
    literal = [
        spec.weights_ @ kernel(spec.points_, spec.points_, spec.gamma_) @ spec.weights_,
        -2 * (spec.weights_ @ kernel(spec.points_, X, spec.gamma_)).mean(),
        kernel(X, X, spec.gamma_).mean(),
    ]
    assert np.isclose(spec.error_**2, sum(literal), atol=1e-9)


def test_descent_on_points_is_worth_it():
    X = load_digits().data[:300] / 16
    still, moved = (Specification(20, n_rounds=n).fit(X).error_ for n in (0, 3))
    assert moved < 0.7 * still


def test_the_rows_themselves_have_no_error():
    X = rows()
    spec = Specification(None).fit(X)
    assert np.array_equal(spec.points_, X)
    assert np.allclose(spec.weights_, 1 / len(X))
    assert spec.error_ == 0
    assert spec.mmd(X) < 1e-7


def test_points_are_at_most_two_thirds_of_the_different_rows():
    assert len(Specification(100).fit(rows(30)).points_) == 20
    assert len(Specification(100).fit(np.repeat(rows(3), 50, axis=0)).points_) == 2
    assert len(Specification(100).fit(np.ones((5, 2))).points_) == 1


def test_distances_are_a_metric():
    a, b, c = (Specification(15, 0.3).fit(rows(seed=s, shift=s)) for s in range(3))
    assert a.mmd(a) < 1e-7
    assert a.mmd(b) == pytest.approx(b.mmd(a), abs=1e-12)
    assert a.mmd(c) <= a.mmd(b) + b.mmd(c)
    assert 0 < a.mmd(b) < a.mmd(c) <= np.sqrt(2)


def test_noise_bounds_the_distance_of_samples_from_their_source():
    source = Specification(None, 0.2).fit(rows(1500, seed=100))
    samples = [Specification(None, 0.2).fit(rows(60, seed=s)) for s in range(40)]
    exceeded = np.mean([source.mmd(sample) > sample.noise_ + source.noise_ for sample in samples])
    assert exceeded <= 0.1
    assert np.mean([source.mmd(sample) > 0.5 * sample.noise_ for sample in samples]) > 0.5  # it is no empty bound


def test_more_rows_than_fit_are_drawn(monkeypatch):
    monkeypatch.setattr("skfusion.reuse._specification.MOST_ROWS", 50)
    X = rows(200)
    spec, whole = Specification(None, 0.2).fit(X), Specification(5, 0.2).fit(X)
    assert len(spec.points_) == 50
    assert spec.n_rows_ == whole.n_rows_ == 200
    assert {tuple(x) for x in spec.points_} <= {tuple(x) for x in X}
    monkeypatch.undo()
    assert spec.noise_ == pytest.approx(Specification(None, 0.2).fit(spec.points_).noise_, rel=0.3)
    assert spec.noise_ > 1.5 * Specification(None, 0.2).fit(X).noise_


def test_the_median_heuristic():
    X = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2, 3
    assert median_gamma(X, np.random.RandomState(0)) == pytest.approx(1 / 8)
    assert median_gamma(np.ones((4, 2)), np.random.RandomState(0)) == 1.0


def test_images_are_flattened_and_transforms_are_applied():
    X = load_digits().data[:100] / 16
    flat, image = (Specification(5, 0.1).fit(x) for x in (X, X.reshape(-1, 8, 8)))
    assert np.array_equal(flat.points_, image.points_)
    pca = PCA(4, random_state=0).fit(X)
    by_object = Specification(5, 0.1, transform=pca).fit(X)
    by_function = Specification(5, 0.1, transform=pca.transform).fit(X)
    assert np.allclose(by_object.points_, by_function.points_)
    assert by_object.points_.shape == (5, 4)
    assert by_object.mmd(X) < 1
    assert Specification(5, transform=lambda d: d["x"]).fit({"x": X}).points_.shape == (5, 64)


def test_fit_leaves_rows_and_generators_alone(untouched_rng):
    X = rows()
    before = X.copy()
    first, second = (Specification(10).fit(X) for _ in range(2))
    assert np.array_equal(X, before)
    assert np.array_equal(first.points_, second.points_)
    again = pickle.loads(pickle.dumps(first))
    assert np.array_equal(again.points_, first.points_)
    assert not hasattr(clone(first), "points_")


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ({"image": rows()}, TypeError, "X is a dict"),
        (np.zeros(5), ValueError, "axis of rows"),
        (np.full((4, 2), np.nan), ValueError, "NaN"),
        (np.empty((0, 2)), ValueError, "0 sample"),
        (np.array([["a", "b"], ["c", "d"]]), ValueError, "could not convert"),
    ],
)
def test_what_cannot_be_embedded_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        Specification().fit(X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_points": 0}, "n_points must be"),
        ({"n_points": 2.5}, "n_points must be"),
        ({"gamma": 0}, "gamma must be positive"),
        ({"gamma": np.nan}, "gamma must be positive"),
        ({"n_rounds": -1}, "n_rounds must be"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        Specification(**params).fit(rows())


def test_what_cannot_be_compared_is_refused():
    spec = Specification(5, 0.2).fit(rows())
    with pytest.raises(ValueError, match="gamma 0.2 and 0.3"):
        spec.mmd(Specification(5, 0.3).fit(rows()))
    with pytest.raises(ValueError, match="3 and 4 features"):
        spec.mmd(rows(d=4))
    with pytest.raises(ValueError, match="transforms None and absolute"):
        spec.mmd(Specification(5, 0.2, transform=np.abs).fit(rows()))
