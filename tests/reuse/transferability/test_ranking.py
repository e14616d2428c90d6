"""Scores of transferability as searches of a pool: networks and estimators, new labels, and models that fail."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from skfusion.nets import mlp_classifier
from skfusion.reuse import LEEP, NCE, HScore, LogME, RegularizedHScore, ReusePool, TransRate

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
TRAIN, NEW = slice(0, 1200), slice(1200, 1300)
ALL = [LogME(), LEEP(), NCE(), HScore(), RegularizedHScore(), TransRate()]


def named(score):
    return type(score).__name__


def fitted(rows, model=None):
    return (LogisticRegression(max_iter=300) if model is None else model).fit(X[TRAIN][rows], Y[TRAIN][rows])


@pytest.fixture(scope="module")
def pool():
    """Models of a few rows of all digits, of all rows, of shuffled labels, and of two digits."""
    y, rng = Y[TRAIN], np.random.default_rng(0)
    found = ReusePool().add(fitted(np.arange(1200) < 60), X[:60], name="few")
    found = found.add(fitted(np.full(1200, True)), X[TRAIN], name="all")
    found = found.add(LogisticRegression().fit(X[TRAIN], rng.permutation(y)), X[TRAIN], name="shuffled")
    return found.add(fitted(y < 2), X[TRAIN][y < 2], name="two")


@pytest.mark.parametrize("score", [s for s in ALL if not isinstance(s, TransRate)], ids=named)
def test_the_model_that_knows_the_task_is_first(pool, score):
    found = pool.search(X[NEW], Y[NEW], score)
    assert found.names == ["all"]
    assert found.score_name == type(score).__name__
    assert found.scores.argmax() == 1
    assert np.isfinite(found.scores).all()
    assert found.fits is None


def test_trans_rate_tells_what_knows_the_task_from_what_does_not(pool):
    """With ten rows a class in ten dimensions it cannot tell more, see its notes."""
    scores = pool.search(X[NEW], Y[NEW], TransRate()).scores
    assert min(scores[0], scores[1]) > max(scores[2], scores[3])


@pytest.mark.parametrize("score", [LogME(n_members=2), LEEP(n_members=2)], ids=named)
def test_several_of_the_best_are_weighted_alike(pool, score):
    found = pool.search(X[NEW], Y[NEW], score)
    assert found.names == ["all", "few"]
    assert found.chosen_weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("score", ALL, ids=named)
def test_labels_that_no_model_knows_rank_models_too(pool, score):
    """Even digits or odd ones, by names that no model has."""
    found = pool.search(X[NEW], np.array(["odd", "even"])[Y[NEW] % 2], score)
    assert found.scores[1] > found.scores[2]


@pytest.mark.parametrize("score", [LogME(), HScore(), RegularizedHScore(), TransRate()], ids=named)
def test_of_networks_the_input_of_the_last_layer_is_scored(score):
    net = mlp_classifier(max_epochs=10, module__n_in=64, module__n_out=10, module__hidden=(16,))
    pool = ReusePool().add(net.fit(X[TRAIN], Y[TRAIN]), X[TRAIN], name="net")
    features = pool[0].features(X[NEW])
    assert features.shape == (100, 16)
    assert pool.search(X[NEW], Y[NEW], score).scores[0] == pytest.approx(score.score(features, Y[NEW]))


def test_values_are_for_logme():
    y = X[:, :20].sum(axis=1)
    pool = ReusePool().add(Ridge().fit(X[TRAIN], y[TRAIN]), X[TRAIN], name="right")
    pool = pool.add(Ridge().fit(X[TRAIN], y[TRAIN][::-1]), X[TRAIN], name="wrong")
    assert pool.search(X[NEW], y[NEW], LogME()).names == ["right"]
    with pytest.raises(ValueError, match="HScore is defined for classification, not for regression; take LogME"):
        pool.search(X[NEW], y[NEW], HScore())


def test_classifiers_are_ranked_for_values_too(pool):
    """The features of a classifier may serve a regression."""
    found = pool.search(X[NEW], Y[NEW] + 0.5, LogME())
    assert found.scores[1] > found.scores[2]


def test_random_labels_tell_no_models_apart(pool):
    """The gap between the best and the model of shuffled labels is that of chance."""
    rng = np.random.default_rng(0)
    gaps = [pool.search(X[NEW], rng.permutation(Y[NEW]), LogME()).scores for _ in range(5)]
    told = pool.search(X[NEW], Y[NEW], LogME()).scores
    assert max(abs(g[1] - g[2]) for g in gaps) < (told[1] - told[2]) / 3


def test_a_model_that_fails_is_left_out_by_name(pool):
    wider = pool.add(LogisticRegression().fit(X[TRAIN][:, :5], Y[TRAIN]), X[TRAIN], name="narrow")
    with pytest.warns(UserWarning, match="LogME leaves out 1 of 5 models. narrow: X has 64 features"):
        found = wider.search(X[NEW], Y[NEW], LogME())
    assert found.names == ["all"]
    assert np.isnan(found.scores[4])


def test_where_all_fail_it_says_why():
    pool = ReusePool().add(LogisticRegression().fit(X[TRAIN][:, :5], Y[TRAIN]), X[TRAIN], name="narrow")
    with pytest.raises(ValueError, match="LEEP has no score for any model: narrow: X has 64 features"):
        pool.search(X[NEW], Y[NEW], LEEP())


def test_estimators_without_probabilities_or_features_are_scored_by_what_they_have():
    pool = ReusePool().add(fitted(Y[TRAIN] < 10, LinearSVC()), X[TRAIN], name="margins")
    pool = pool.add(DummyClassifier(strategy="most_frequent").fit(X[TRAIN], Y[TRAIN]), X[TRAIN], name="constant")
    for score in ALL:
        found = pool.search(X[NEW], Y[NEW], score)
        assert found.names == ["margins"], score
        assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("score", ALL, ids=named)
def test_errors_about_labels_name_the_score(pool, score):
    name = type(score).__name__
    with pytest.raises(ValueError, match=f"{name} ranks models by labels: give y"):
        score(pool, X[NEW])
    with pytest.raises(ValueError, match=f"{name} needs labelled rows of at least 2 classes; all are of class 3"):
        pool.search(X[NEW], np.full(100, 3), score)
    with pytest.raises(ValueError, match="n_members of .* must be a whole number, 1 or more; got 0"):
        pool.search(X[NEW], Y[NEW], type(score)(n_members=0))
