"""LogME against the evidence itself."""

import numpy as np
import pytest
from reference.transferability import log_evidence, logme_by_brute_force, logme_by_iteration
from scipy.optimize import minimize

from skfusion.reuse import LogME
from skfusion.reuse.transferability._logme import largest_evidence


def problem(n, d, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d)
    y = (F[:, : max(1, d // 3)].sum(axis=1) + noise * rng.normal(size=n))[:, None]
    return F, np.hstack([y, 3 - 2 * rng.normal(size=(n, 1)) + F[:, :1]])


@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("shape", [(15, 4), (7, 7), (6, 15), (3, 2)], ids=str)
def test_it_is_the_largest_evidence(shape, noise):
    F, Y = problem(*shape, noise)
    assert LogME().score(F, Y, "regression") == pytest.approx(logme_by_brute_force(F, Y), abs=2e-6)


def test_classes_are_told_apart_one_by_one():
    F, Y = problem(30, 5)
    y = np.digitize(Y[:, 0], [-1, 1])
    assert LogME().score(F, y) == pytest.approx(logme_by_brute_force(F, np.eye(3)[y]), abs=2e-6)
    assert LogME().score(F, np.eye(3, dtype=int)[y], "multilabel") == pytest.approx(LogME().score(F, y))


@pytest.mark.parametrize("shape", [(40, 4), (60, 20), (15, 30)], ids=str)
def test_it_is_where_the_iteration_of_the_paper_ends(shape):
    F, Y = problem(*shape, 0.5)
    assert LogME().score(F, Y, "regression") == pytest.approx(logme_by_iteration(F, Y), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(8, 3), (6, 20)], ids=str)
def test_it_is_never_below_the_iteration(shape, seed):
    F, Y = problem(*shape, 5.0, seed)
    Y = np.random.default_rng(seed).permutation(Y)
    assert LogME().score(F, Y, "regression") >= logme_by_iteration(F, Y, 300) - 1e-6  # its matrices are nearly singular


def test_of_one_feature_by_hand():
    """F'F = 1 and y along F with length 2, and 1 across it: evidence at t has a closed form, see the docstring."""
    F, y = np.array([[1.0], [0.0]]), np.array([[2.0], [1.0]])
    t = np.geomspace(1e-6, 1e6, 400001)
    Q = 1 + 4 * t / (t + 1)
    by_hand = (-np.log(2 * np.pi * np.e * Q / 2) + 0.5 * np.log(t / (t + 1))).max()
    assert LogME().score(F, y, "regression") == pytest.approx(max(by_hand, -np.log(np.pi * np.e * 5)) / 2, abs=1e-8)


def test_the_value_is_reached():
    """The evidence at the best alpha and beta is the density of y."""
    F, Y = problem(9, 3)
    U, s, _ = np.linalg.svd(F, full_matrices=False)
    y = Y[:, 0]
    z = (U.T @ y) ** 2
    t = np.exp(np.linspace(-12, 12, 4001))
    Q = y @ y - z.sum() + (z[:, None] * t / (t + s[:, None] ** 2)).sum(axis=0)
    found = [log_evidence(F, y, a, b) for a, b in zip(t * 9 / Q, 9 / Q, strict=True)]
    assert largest_evidence(s**2, z, float(y @ y - z.sum()), 9) == pytest.approx(max(found), abs=1e-4)


@pytest.mark.parametrize("weight", [0.5, 0.1, 0.02])
def test_small_weights_leave_what_no_feature_explains(weight):
    """Fewer rows by weight than features: the residual is still there. By hand at the weights that are integrated."""
    F, Y = problem(50, 8)
    y, n = Y[:, 0], 50 * weight

    def by_hand(logs):
        alpha, beta = np.exp(np.clip(logs, -20, 20))
        A = alpha * np.eye(8) + beta * weight * F.T @ F
        m = beta * weight * np.linalg.solve(A, F.T @ y)
        rest = beta / 2 * weight * ((y - F @ m) ** 2).sum() + alpha / 2 * m @ m
        return -(n * np.log(beta / (2 * np.pi)) + 8 * np.log(alpha) - np.linalg.slogdet(A)[1]) / 2 + rest

    runs = [minimize(by_hand, start, method="Nelder-Mead", options={"xatol": 1e-7}) for start in [(-1, 0), (6, 0)]]
    expected = -min(run.fun for run in runs) / n
    score = LogME().score(F, y, "regression", sample_weight=np.full(50, weight))
    assert score == pytest.approx(expected, abs=1e-5)


def test_features_that_give_y_exactly_have_a_large_and_finite_evidence():
    F, Y = problem(30, 5)
    exact, nearly = F @ [1, 2, 3, 0, 0], F @ [1, 2, 3, 0, 0] + 0.01 * Y[:, 1]
    scores = [LogME().score(F, y[:, None], "regression") for y in (exact, nearly, Y[:, 1])]
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("d", [2, 20, 200, 2000])
def test_many_features_of_noise_do_not_score(d):
    """Twenty labelled rows, which d features fit by chance; the plain H-score would be the largest there is."""
    rng = np.random.default_rng(d)
    y = np.repeat([0, 1], 10)
    noise = rng.normal(size=(20, d))
    told = noise.copy()
    told[:, :2] += 3 * y[:, None]
    assert LogME().score(told, y) > LogME().score(noise, y)
    nothing = LogME().score(np.zeros((20, 1)), y)
    assert LogME().score(noise, y) < nothing + 0.15


def test_useless_features_have_weights_of_zero():
    """With features orthogonal to y the best weights are zero, and y is noise."""
    F, y = np.array([[1.0], [1.0], [0.0]]), np.array([[1.0], [-1.0], [0.0]])
    by_hand = -1.5 * np.log(2 * np.pi * np.e * 2 / 3)
    assert LogME().score(F, y, "regression") == pytest.approx(by_hand / 3, abs=1e-9)
    assert LogME().score(np.zeros((3, 2)), y, "regression") == pytest.approx(by_hand / 3, abs=1e-12)


def test_targets_that_do_not_vary_are_refused():
    F, Y = problem(10, 3)
    with pytest.raises(ValueError, match="output 1 of y is 2 in all 10 rows"):
        LogME().score(F, np.column_stack([Y[:, 0], np.full(10, 2.0)]), "regression")
    with pytest.raises(ValueError, match="targets that are NaN or infinite, in 1 of 10 rows, first in row 0"):
        LogME().score(F, np.where(np.arange(10) == 0, np.inf, Y[:, 0]), "regression")
