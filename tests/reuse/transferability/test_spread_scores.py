"""H-score, its regularised form, and TransRate: how classes spread in the features."""

import numpy as np
import pytest
from reference.transferability import h_score, regularized_h_score, trans_rate
from sklearn.covariance import LedoitWolf

from skfusion.reuse import HScore, RegularizedHScore, TransRate
from skfusion.reuse.transferability._regularized_h_score import shrinkage


def problem(n, d, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, d)) * rng.uniform(0.3, 2, d) + y[:, None] * rng.normal(size=d), y


@pytest.mark.parametrize("shape", [(40, 3), (25, 20), (12, 12), (9, 30)], ids=str)
def test_they_match_whole_matrices(shape):
    F, y = problem(*shape)
    assert HScore().score(F, y) == pytest.approx(h_score(F, y), rel=1e-7)
    assert RegularizedHScore().score(F, y) == pytest.approx(regularized_h_score(F, y), rel=1e-7)
    for eps in (1e-4, 0.5):
        assert TransRate(eps=eps).score(F, y) == pytest.approx(trans_rate(F, y, eps), rel=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_features_that_determine_the_class_have_the_h_score_of_all_but_one(n_classes):
    y = np.arange(40) % n_classes
    F = np.eye(n_classes)[y] @ np.random.default_rng(0).normal(size=(n_classes, n_classes + 2))
    assert HScore().score(F, y) == pytest.approx(n_classes - 1, abs=1e-9)


def test_means_that_agree_have_none():
    F, y = problem(30, 4)
    for c in range(3):
        F[y == c] -= F[y == c].mean(axis=0)
    assert HScore().score(F, y) == pytest.approx(0, abs=1e-9)
    assert RegularizedHScore().score(F, y) == pytest.approx(0, abs=1e-9)


def test_random_labels_give_the_h_score_of_chance_that_its_notes_name():
    rng = np.random.default_rng(0)
    scores = [HScore().score(rng.normal(size=(40, 12)), rng.permutation(np.arange(40) % 3)) for _ in range(300)]
    assert np.mean(scores) == pytest.approx(2 * 12 / 39, abs=4 * np.std(scores) / 300**0.5)


def test_more_features_than_rows_are_no_longer_the_best_when_shrunk():
    F, y = problem(24, 3)
    noise = np.random.default_rng(1).normal(size=(24, 60))
    assert HScore().score(noise, y) == pytest.approx(2, abs=1e-9)
    assert HScore().score(F, y) < 1.99
    assert RegularizedHScore().score(noise, y) < RegularizedHScore().score(F, y)


@pytest.mark.parametrize("shape", [(40, 3), (12, 12), (9, 30), (500, 4)], ids=str)
def test_the_shrinkage_is_that_of_ledoit_and_wolf(shape):
    F, _ = problem(*shape)
    Z = F - F.mean(axis=0)
    variances = np.linalg.svd(Z, compute_uv=False) ** 2 / len(Z)
    alpha = shrinkage(variances, ((Z**2).sum(axis=1) ** 2).sum(), len(Z), Z.shape[1])
    assert alpha == pytest.approx(LedoitWolf().fit(F).shrinkage_, rel=1e-9)


def test_trans_rate_of_two_axes_by_hand():
    """Variances of 1/2 on each axis, and each class with all of its own on one axis."""
    F = np.array([[0.0, 3.0], [0.0, -3.0], [3.0, 0.0], [-3.0, 0.0]])
    of_all, of_class = np.log(1 + 0.5 / 0.1), 0.5 * np.log(1 + 1 / 0.1)
    assert TransRate(eps=0.1).score(F, [0, 0, 1, 1]) == pytest.approx(of_all - of_class, abs=1e-12)
    assert TransRate(eps=0.1).score(F, [0, 1, 0, 1]) == pytest.approx(0, abs=1e-12)  # each class is as spread as all


@pytest.mark.parametrize("seed", range(10))
def test_trans_rate_is_not_negative(seed):
    F, y = problem(15, 6, seed)
    assert TransRate().score(F, np.random.default_rng(seed).permutation(y)) >= 0


@pytest.mark.parametrize("eps", [0, -1.0, np.inf, np.nan])
def test_the_error_of_the_code_is_positive(eps):
    F, y = problem(12, 3)
    with pytest.raises(ValueError, match="eps of TransRate must be positive"):
        TransRate(eps=eps).score(F, y)
