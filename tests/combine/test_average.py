"""Averaged predictions."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from skfusion.combine import Average

X, Y = load_iris(return_X_y=True)


def probabilities(n_members=4, n=50, n_classes=3, seed=0):
    return np.random.RandomState(seed).dirichlet(np.ones(n_classes), size=(n_members, n))


@pytest.mark.parametrize("weights", [None, [1, 1, 1], [3, 1, 0.5]])
def test_parity_with_sklearns_soft_vote(weights):
    half = np.arange(0, len(X), 2)
    members = [LogisticRegression(max_iter=500), GaussianNB(), DecisionTreeClassifier(max_depth=2, random_state=0)]
    members = [m.fit(X[half], Y[half]) for m in members]
    frozen = [(str(i), FrozenEstimator(m)) for i, m in enumerate(members)]
    voting = VotingClassifier(frozen, voting="soft", weights=weights).fit(X, Y)
    P = np.stack([m.predict_proba(X) for m in members])
    assert np.allclose(Average(weights)(P), voting.predict_proba(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.3, 0.4]])
def test_it_is_the_mean_by_loops(weights):
    P = probabilities()
    found = Average(weights)(P)
    for i in range(P.shape[1]):
        for c in range(P.shape[2]):
            expected = sum((0.25 if weights is None else weights[k]) * P[k, i, c] for k in range(4))
            assert found[i, c] == pytest.approx(expected, abs=1e-14)


def test_squared_error_is_the_mean_error_less_the_mean_ambiguity():
    P, y = probabilities(), np.random.RandomState(1).normal(size=(50, 3))
    mean = Average()(P)
    error, ambiguity = ((P - y) ** 2).mean(axis=0), ((P - mean) ** 2).mean(axis=0)
    assert np.allclose((mean - y) ** 2, error - ambiguity, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_log_loss_and_brier_score_are_not_worse_than_the_mean_members(seed):
    P, y = probabilities(seed=seed), np.random.RandomState(seed).randint(3, size=50)
    mean, rows = Average()(P), np.arange(50)
    assert -np.log(mean[rows, y]).mean() <= -np.log(P[:, rows, y]).mean()
    assert ((mean - np.eye(3)[y]) ** 2).sum() <= ((P - np.eye(3)[y]) ** 2).sum(axis=(1, 2)).mean()


def test_one_member_and_one_hot_weights_are_that_member():
    P = probabilities()
    assert np.array_equal(Average()(P[:1]), P[0])
    assert np.array_equal(Average([0, 0, 5, 0])(P), P[2])


def test_order_of_members_does_not_matter():
    P = probabilities()
    assert np.allclose(Average()(P[::-1]), Average()(P), rtol=0, atol=1e-15)


def test_dtype_is_kept():
    assert Average()(probabilities().astype(np.float32)).dtype == np.float32
    assert Average([1, 2, 3, 4])(probabilities().astype(np.float32)).dtype == np.float32


def test_whole_numbers_are_not_cut_off():
    P = np.array([[[1, 0]], [[0, 1]]])
    assert Average([3, 1])(P).tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1, 2], "2 weights for 4 members"), ([1, 1, 1, -1], "non-negative"), ([0] * 4, "not all zero"),
     ([np.nan, 1, 1, 1], "finite"), (np.ones((4, 1)), "one weight a member")],
)  # fmt: skip
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Average(weights)(probabilities())
