"""LEEP and NCE: what predicted classes tell of the labels."""

import numpy as np
import pytest
from reference.transferability import leep, nce

from skfusion.reuse import LEEP, NCE

Y = np.array([0, 0, 0, 1, 1, 2, 2, 2])
ENTROPY = -sum(p * np.log(p) for p in (3 / 8, 2 / 8, 3 / 8))


def probabilities(n, n_sources, seed=0, sharpness=1.0):
    Z = np.exp(sharpness * np.random.default_rng(seed).normal(size=(n, n_sources)))
    return Z / Z.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n_sources", [2, 3, 10])
@pytest.mark.parametrize("sharpness", [0.1, 1, 30])
def test_they_match_loops(n_sources, sharpness):
    P = probabilities(8, n_sources, n_sources, sharpness)
    assert LEEP().score(P, Y) == pytest.approx(leep(P, Y.tolist()), abs=1e-12)
    assert NCE().score(P, Y) == pytest.approx(nce(P.argmax(axis=1).tolist(), Y.tolist()), abs=1e-12)


@pytest.mark.parametrize("score", [LEEP(), NCE()], ids=repr)
def test_a_source_that_determines_the_label_scores_zero(score):
    classes_of_source = np.array([4, 5, 4, 0, 0, 1, 2, 1])  # several may stand for one label, and 3 for none
    assert score.score(np.eye(6)[classes_of_source], Y) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("score", [LEEP(), NCE()], ids=repr)
def test_a_source_that_tells_nothing_scores_minus_the_entropy(score):
    y, source = np.tile(Y, 2), np.repeat([0, 1], 8)
    assert score.score(np.eye(2)[source], y) == pytest.approx(-ENTROPY, abs=1e-12)


def test_leep_is_at_least_nce_of_labels_that_are_drawn():
    """It is nce for certain predictions, and for others that of the labels before the largest is taken (Theorem 1)."""
    hard = np.eye(4)[probabilities(8, 4).argmax(axis=1)]
    assert LEEP().score(hard, Y) == pytest.approx(NCE().score(hard, Y), abs=1e-12)


def test_leep_lies_between_minus_the_entropy_and_zero():
    for seed in range(20):
        value = LEEP().score(probabilities(8, 3, seed, 3.0), Y)
        assert -ENTROPY - 1e-12 <= value <= 0


def test_by_hand():
    """Two rows, two classes: p(y|z) is theta itself, and each row has the likelihood 0.8^2 + 0.2^2."""
    P = np.array([[0.8, 0.2], [0.2, 0.8]])
    assert LEEP().score(P, [0, 1]) == pytest.approx(np.log(0.68), abs=1e-12)
    assert NCE().score(P, [0, 1]) == pytest.approx(0, abs=1e-12)


def test_leep_asks_for_probabilities():
    P = probabilities(8, 3)
    with pytest.raises(ValueError, match="LEEP reads probabilities of classes; row 2 holds .* take NCE"):
        LEEP().score(np.where(np.arange(8)[:, None] == 2, -P, P), Y)
    with pytest.raises(ValueError, match="LEEP reads probabilities"):
        LEEP().score(2 * P, Y)
    assert LEEP().score(P * (1 + 1e-6), Y) == pytest.approx(LEEP().score(P, Y), abs=1e-12)
    assert NCE().score(3 * P - 1, Y) == NCE().score(P, Y)
