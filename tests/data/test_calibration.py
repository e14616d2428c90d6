"""Expected calibration error and Brier score, as functions and as scorers."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier

from skfusion._rows import Rows
from skfusion.compare import expected_calibration_error, get_scorer
from skfusion.data import brier_score, score_by, score_function, scorer_names

IRIS = load_iris(return_X_y=True)
ECE = get_scorer("neg_ece")


def binary(confidence):
    return np.stack([1 - confidence, confidence], axis=1)


# ---- the error ---------------------------------------------------------------------------------------------------


def test_two_bins_by_hand():
    """Bin (0.6, 0.667]: two of three right at 0.65; bin (0.933, 1]: one of two right at 0.96 and 1."""
    proba = binary(np.array([0.65, 0.65, 0.65, 0.96, 1.0]))
    y = [1, 1, 0, 1, 0]
    by_hand = 3 / 5 * abs(2 / 3 - 0.65) + 2 / 5 * abs(1 / 2 - 0.98)
    assert expected_calibration_error(y, proba) == pytest.approx(by_hand)
    weight = [1, 1, 2, 3, 1]
    by_hand = 4 / 8 * abs(2 / 4 - 0.65) + 4 / 8 * abs(3 / 4 - (3 * 0.96 + 1) / 4)
    assert expected_calibration_error(y, proba, sample_weight=weight) == pytest.approx(by_hand)


def test_a_confidence_on_an_edge_is_in_the_lower_bin():
    proba = binary(np.array([0.6, 0.61]))  # 0.6 = 9 / 15
    assert expected_calibration_error([1, 0], proba) == pytest.approx((abs(1 - 0.6) + abs(0 - 0.61)) / 2)


def test_weights_are_repetitions():
    rng = np.random.default_rng(0)
    proba, y, weight = rng.dirichlet(np.ones(3), 80), rng.integers(3, size=80), rng.integers(4, size=80)
    repeated = expected_calibration_error(np.repeat(y, weight), np.repeat(proba, weight, axis=0))
    assert expected_calibration_error(y, proba, sample_weight=weight) == pytest.approx(repeated)
    assert expected_calibration_error(y, proba, sample_weight=7.0 * weight) == pytest.approx(repeated)


def test_labels_name_the_columns():
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.ones(3), 50), rng.integers(3, size=50)
    labels = np.array(["a", "c", "b"])
    assert expected_calibration_error(labels[y], proba, labels=labels) == expected_calibration_error(y, proba)


def test_right_probabilities_have_the_error_of_chance_alone():
    """In one bin it is the mean absolute deviation of a binomial share."""
    rng, n, p, times = np.random.default_rng(0), 100, 0.7, 2000
    errors = [expected_calibration_error((rng.random(n) < p).astype(int), binary(np.full(n, p))) for _ in range(times)]
    expected = binom(n, p).expect(lambda k: abs(k / n - p))
    assert np.mean(errors) == pytest.approx(expected, abs=5 * np.std(errors) / np.sqrt(times))
    assert expected == pytest.approx(np.sqrt(2 * p * (1 - p) / (np.pi * n)), rel=0.01)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_right_probabilities_of_many_rows_have_almost_none(n_classes):
    rng, n = np.random.default_rng(0), 40_000
    proba = rng.dirichlet(np.ones(n_classes), n)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    error = expected_calibration_error(y, proba)
    assert error < 2 * 15 * np.sqrt(0.5 * 15 / (np.pi * n)) / 15  # twice its mean, were all p one half


def test_random_labels_are_wrong_by_all_that_the_confidence_is_above_chance():
    rng, n = np.random.default_rng(0), 20_000
    proba, y = rng.dirichlet(np.full(4, 0.3), n), rng.integers(4, size=n)
    sure = proba.max(axis=1)
    assert sure.min() > 0.25
    assert expected_calibration_error(y, proba) == pytest.approx(sure.mean() - 0.25, abs=4 * np.sqrt(0.19 / n))


@pytest.mark.parametrize(
    ("y", "proba", "params", "message"),
    [
        ([0, 1], [[2.0, -2.0], [1.0, 0.0]], {}, "from 0 to 1; it reaches from -2 to 2. Give what predict_proba"),
        ([0, 1], [[np.nan, 0.5], [1.0, 0.0]], {}, "from 0 to 1"),
        ([0, 2], [[0.5, 0.5]] * 2, {}, "y has 2, which is none of the class codes 0 to 1; give labels=classes_"),
        (["a", "b"], [[0.5, 0.5]] * 2, {}, "y has 'a', which is none of the class codes"),
        (["a", "b"], [[0.5, 0.5]] * 2, {"labels": ["a", "c"]}, "y has 'b', which is none of labels"),
        ([0, 1], [[0.5, 0.5]] * 2, {"labels": [0, 1, 2]}, "There are 3 labels for 2 columns"),
        ([0, 1], [[0.5, 0.5]] * 2, {"sample_weight": [1, -1]}, "sample_weight must hold 2 finite weights"),
        ([0, 1], [[0.5, 0.5]] * 2, {"sample_weight": [0, 0]}, "not all of them 0"),
        ([0, 1], [[0.5, 0.5]] * 2, {"sample_weight": [1]}, "got shape"),
    ],
)
def test_bad_input(y, proba, params, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(y, proba, **params)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_brier_score_is_that_of_scikit_learn(n_classes):
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.ones(n_classes), 60), rng.integers(n_classes, size=60)
    assert brier_score(y, proba) == pytest.approx(brier_score_loss(y, proba, labels=range(n_classes)))


# ---- the scorer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("text", [False, True])
def test_the_scorer_of_a_fitted_classifier(n_classes, text):
    X, y = (part[: 50 * n_classes] for part in IRIS)
    labels = np.array(["z", "a", "m"])[y] if text else y * 2
    model = LogisticRegression(max_iter=500).fit(X[::2], labels[::2])
    weight = np.arange(len(y)) % 3
    proba = model.predict_proba(X)
    for extra in ({}, {"sample_weight": weight}):
        expected = expected_calibration_error(labels, proba, labels=model.classes_, **extra)
        assert ECE(model, X, labels, **extra) == pytest.approx(-expected)
        assert score_by(ECE, model, X, labels, **extra) == pytest.approx(-expected)


@pytest.mark.parametrize("name", ["neg_ece", "neg_brier_score", "neg_log_loss"])
@pytest.mark.parametrize("kept", [[0, 2], [1, 2], [2]], ids=str)
def test_scores_of_probabilities_know_the_classes_that_rows_lack(name, kept):
    X, y = IRIS
    model = LogisticRegression(max_iter=500).fit(X, y)
    rows = np.flatnonzero(np.isin(y, kept))
    proba = model.predict_proba(X[rows])
    expected = {
        "neg_ece": expected_calibration_error(y[rows], proba),
        "neg_brier_score": ((proba - np.eye(3)[y[rows]]) ** 2).sum(axis=1).mean(),
        "neg_log_loss": -np.log(proba[np.arange(len(rows)), y[rows]]).mean(),
    }[name]
    assert score_by(get_scorer(name), model, X[rows], y[rows]) == pytest.approx(-expected)
    held_out = Rows(X[rows], y[rows], None)
    assert score_function(name, "classification")(proba, held_out) == pytest.approx(-expected)


@pytest.mark.parametrize("name", ["neg_ece", "neg_brier_score"])
def test_two_classes_of_which_rows_lack_one(name):
    X, y = (part[:100] for part in IRIS)
    model = LogisticRegression(C=0.01).fit(X, y)
    confidence = model.predict_proba(X[:50])[:, 0]
    expected = 1 - confidence.mean() if name == "neg_ece" else ((1 - confidence) ** 2).mean()
    assert (confidence > 0.5).all()
    assert score_by(get_scorer(name), model, X[:50], y[:50]) == pytest.approx(-expected)


@pytest.mark.parametrize("name", ["neg_ece", "neg_brier_score"])
def test_a_class_that_was_not_trained_on_is_never_predicted(name):
    X, y = IRIS
    model = LogisticRegression(max_iter=500).fit(X[:100], y[:100])
    proba = np.pad(model.predict_proba(X), ((0, 0), (0, 1)))
    expected = expected_calibration_error(y, proba) if name == "neg_ece" else brier_score(y, proba)
    assert score_by(get_scorer(name), model, X, y) == pytest.approx(-expected, abs=1e-5)


def test_weights_of_held_out_rows_count():
    X, y = IRIS
    proba = LogisticRegression(max_iter=500).fit(X, y).predict_proba(X)
    weight = np.arange(150) % 4.0
    score = score_function("neg_ece", "classification")(proba, Rows(X, y, weight))
    assert score == pytest.approx(-expected_calibration_error(y, proba, sample_weight=weight))


def test_labels_that_do_not_exclude_each_other():
    X, y = IRIS
    Y = np.stack([y == 0, y > 0, y == 1], axis=1).astype(int)
    model = OneVsRestClassifier(LogisticRegression(max_iter=500)).fit(X, Y)
    proba, weight = model.predict_proba(X), np.arange(150) % 4.0
    parts = [binary(column) for column in proba.T]
    flat = expected_calibration_error(Y.T.ravel(), np.concatenate(parts), sample_weight=np.tile(weight, 3))
    assert ECE(model, X, Y, sample_weight=weight) == pytest.approx(-flat)
    assert score_function("neg_ece", "multilabel")(proba, Rows(X, Y, weight)) == pytest.approx(-flat)
    with pytest.raises(TypeError, match="RandomForestClassifier predicts a list of them"):
        ECE(RandomForestClassifier(n_estimators=2).fit(X, Y), X, Y)


def test_it_can_be_searched_and_cross_validated_by():
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [1e-4, 1.0]}, scoring=ECE).fit(*IRIS)
    assert search.best_params_ == {"C": 1.0}  # at 1e-4 it is right, and as unsure as can be
    scores = cross_val_score(DummyClassifier(strategy="prior"), *IRIS, scoring=ECE)
    np.testing.assert_allclose(scores, 0, atol=1e-12)
    assert repr(ECE) == "get_scorer('neg_ece')"


def test_names_are_those_of_scikit_learn_and_one_more():
    assert {"accuracy", "neg_brier_score", "neg_ece"} < {*scorer_names()}
    X, y = IRIS
    model = DummyClassifier().fit(X, y)
    assert get_scorer("accuracy")(model, X, y) == accuracy_score(y, model.predict(X))
    with pytest.raises(ValueError, match="'ece' is not a valid scoring value"):
        get_scorer("ece")


def test_what_has_no_probabilities_is_refused():
    with pytest.raises(ValueError, match=r"scoring='neg_ece' asks for more than there is \(regression\)"):
        score_function("neg_ece", "regression")(np.zeros((3, 1)), Rows(np.zeros((3, 1)), np.zeros((3, 1)), None))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("ece", "'neg_ece' may"), ("brier", "'neg_brier_score' may"), ("x", "'x' is not a valid scoring value. Take")],
)
def test_an_unknown_scorer_is_named_and_what_may_be_meant(name, meant):
    with pytest.raises(ValueError, match=meant):
        get_scorer(name)


@pytest.mark.parametrize("n_bins", [0, 1.5, "15"])
def test_bins_are_a_whole_number(n_bins):
    with pytest.raises(ValueError, match="n_bins must be a whole number of at least 1"):
        expected_calibration_error([0, 1], [[0.5, 0.5], [0.5, 0.5]], n_bins)
