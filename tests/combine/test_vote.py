"""Plurality votes."""

import numpy as np
import pytest
from reference.plurality_vote import vote_shares, winners
from sklearn.datasets import load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from skfusion.combine import Vote

X, Y = load_iris(return_X_y=True)


def probabilities(n_members=5, n=80, n_classes=4, seed=0):
    return np.random.RandomState(seed).dirichlet(np.ones(n_classes), size=(n_members, n))


@pytest.mark.parametrize("n_members", [1, 2, 3, 4, 5])
def test_votes_match_loops(n_members):
    P = probabilities(n_members)
    P[:, ::7] = P[:, ::7].round(1)  # some ties inside a member
    found = Vote().fit(P, np.zeros(80, int), "classification")(P)
    assert np.allclose(found, vote_shares(P), rtol=0, atol=1e-12)
    assert found.argmax(axis=1).tolist() == winners(P)


def test_parity_with_sklearns_hard_vote():
    rows = np.arange(0, len(X), 5)
    members = [LogisticRegression(C=0.01), GaussianNB(), DecisionTreeClassifier(max_depth=1, random_state=0),
               DecisionTreeClassifier(max_depth=3, max_features=1, random_state=0)]  # fmt: skip
    members = [m.fit(X[rows], Y[rows]) for m in members]
    voting = VotingClassifier([(str(i), FrozenEstimator(m)) for i, m in enumerate(members)], voting="hard").fit(X, Y)
    P = np.stack([m.predict_proba(X) for m in members])
    assert len({tuple(row) for row in P.argmax(axis=2).T}) > 3  # they disagree, and some votes are ties
    assert np.array_equal(Vote()(P).argmax(axis=1), voting.predict(X))


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [3, 1, 1, 1], [0.1, 0.2, 0.3, 0.6], [0, 1, 2, 0], [5, 4, 3, 2]])
def test_parity_with_sklearns_weighted_hard_vote(weights):
    rows = np.arange(0, len(X), 5)
    members = [LogisticRegression(C=0.01), GaussianNB(), DecisionTreeClassifier(max_depth=1, random_state=0),
               DecisionTreeClassifier(max_depth=3, max_features=1, random_state=0)]  # fmt: skip
    named = [(str(i), FrozenEstimator(m.fit(X[rows], Y[rows]))) for i, m in enumerate(members)]
    voting = VotingClassifier(named, voting="hard", weights=weights).fit(X, Y)
    P = np.stack([m.predict_proba(X) for m in members])
    found = Vote(weights).fit(P, Y, "classification")(P)
    assert np.array_equal(found.argmax(axis=1), voting.predict(X))
    expected = sum(w * np.eye(3)[p.argmax(axis=1)] for w, p in zip(weights, P, strict=True)) / sum(weights)
    assert np.allclose(found, expected, rtol=0, atol=1e-15)


def test_weights_of_votes_are_for_each_label_and_may_be_too_few():
    P = np.array([[[0.9, 0.6]], [[0.2, 0.5]], [[0.7, 0.1]]])
    found = Vote([1, 1, 2]).fit(P, np.zeros((1, 2), int), "multilabel")(P)
    assert np.allclose(found, [[3 / 4, 1 / 4]], rtol=0, atol=1e-15)
    assert Vote([1, 1, 2])(P.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="Vote got 2 weights for 3 members"):
        Vote([1, 2]).fit(P, np.zeros((1, 2), int), "multilabel")
    with pytest.raises(ValueError, match="non-negative"):
        Vote([1, -2]).check("classification")


def test_a_tie_goes_to_the_first_class():
    P = np.array([[[0.1, 0.2, 0.7]], [[0.1, 0.8, 0.1]]])
    assert Vote()(P).tolist() == [[0.0, 0.5, 0.5]]
    assert Vote()(P).argmax(axis=1).tolist() == [1]
    assert Vote()(np.full((1, 1, 3), 1 / 3)).tolist() == [[1.0, 0.0, 0.0]]


def test_labels_are_voted_on_by_themselves():
    P = np.array([[[0.9, 0.6]], [[0.2, 0.5]], [[0.7, 0.1]]])
    found = Vote().fit(P, np.zeros((1, 2), int), "multilabel")(P)
    assert np.allclose(found, [[2 / 3, 1 / 3]], rtol=0, atol=1e-15)


def test_confidence_does_not_count():
    P = np.array([[[0.99, 0.01]], [[0.49, 0.51]], [[0.49, 0.51]]])
    assert Vote()(P).argmax() == 1
    assert P.mean(axis=0).argmax() == 0


def test_dtype_is_kept():
    P = probabilities().astype(np.float32)
    assert Vote()(P).dtype == np.float32
    assert Vote().fit(P, np.zeros((80, 4)), "multilabel")(P).dtype == np.float32
    whole = np.array([[[1, 0]], [[1, 1]]])
    assert Vote().fit(whole, np.zeros((1, 2)), "multilabel")(whole).tolist() == [[1.0, 0.5]]


def test_values_are_refused():
    with pytest.raises(ValueError, match=r"combine=Average\(\)"):
        Vote().check("regression")
    with pytest.raises(ValueError, match=r"combine=Average\(\)"):
        Vote().fit(probabilities(), np.zeros((80, 4)), "regression")
