"""The quadratic program on the simplex, by its optimality conditions and by what it must give."""

import numpy as np
import pytest

from skfusion.reuse._kernel import kernel
from skfusion.reuse._simplex_program import simplex_weights


def missed(K, c, weights):
    """By how much the optimality conditions are missed: of sum, sign, and the gradient on and outside the support."""
    gradient = K @ weights - c
    level = weights @ gradient
    on = np.abs(gradient - level)[weights > 0].max()
    return max(abs(weights.sum() - 1), -weights.min(), on, (level - gradient).max())


@pytest.mark.parametrize("n", [1, 2, 7, 60])
@pytest.mark.parametrize("seed", range(4))
def test_the_optimality_conditions_hold(n, seed):
    rng = np.random.RandomState(seed)
    Z, X = rng.normal(size=(n, 3)), rng.normal(size=(200, 3))
    K, c = kernel(Z, Z, 0.2), kernel(Z, X, 0.2).mean(axis=1)
    assert missed(K, c, simplex_weights(K, c)) < 1e-8


def test_no_other_weights_are_better():
    rng = np.random.RandomState(0)
    A = rng.normal(size=(6, 6))
    K, c = A @ A.T, rng.normal(size=6)
    best = simplex_weights(K, c)
    others = rng.dirichlet(np.full(6, 0.3), size=5000)
    values = 0.5 * np.einsum("ij,jk,ik->i", others, K, others) - others @ c
    assert 0.5 * best @ K @ best - best @ c <= values.min() + 1e-9


def test_weights_of_a_mixture_are_recovered():
    rng = np.random.RandomState(0)
    Z, weights = 3 * rng.normal(size=(8, 4)), rng.dirichlet(np.ones(8))
    K = kernel(Z, Z, 0.1)
    assert np.allclose(simplex_weights(K, K @ weights), weights, atol=1e-6)


@pytest.mark.parametrize("n_copies", [2, 30])
def test_copies_of_a_point_share_its_weight(n_copies):
    rng = np.random.RandomState(0)
    Z = np.repeat(rng.normal(size=(3, 2)), n_copies, axis=0)
    X = np.vstack([Z, rng.normal(size=(50, 2))])
    K, c = kernel(Z, Z, 1.0), kernel(Z, X, 1.0).mean(axis=1)
    assert missed(K, c, simplex_weights(K, c)) < 1e-8


def test_one_point_far_from_the_rest_may_have_no_weight():
    Z = np.array([[0.0], [100.0]])
    K, c = kernel(Z, Z, 1.0), kernel(Z, np.zeros((5, 1)), 1.0).mean(axis=1)
    assert np.allclose(simplex_weights(K, c), [1, 0], atol=1e-9)
