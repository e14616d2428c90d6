"""Members of any kind predict by one function: networks, and estimators of any library."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfusion import EnsembleClassifier, EnsembleRegressor
from skfusion.collect import Seeds
from skfusion.nets import AnyMembers, mlp_classifier, mlp_regressor, predict_members
from skfusion.pool import Member

RNG = np.random.RandomState(0)
X = RNG.normal(size=(90, 3))
Y = np.arange(90) % 3
X[:, 0] += 3 * Y
LABELS = np.array(["one", "three", "two"])


@pytest.fixture(scope="module")
def classifier():
    return EnsembleClassifier(mlp_classifier(max_epochs=3), collect=Seeds(2), random_state=0).fit(X, LABELS[Y])


def of(fitted, name="a"):
    return Member(name, estimator=fitted)


def test_networks_and_estimators_predict_together_and_one_by_one(classifier):
    logistic = LogisticRegression().fit(X, LABELS[Y])
    members = [classifier.pool_[0], of(logistic), classifier.pool_[1]]
    P = predict_members(members, X, "classification", 3, LABELS)
    expected = classifier.predict_members(X)
    np.testing.assert_allclose(P[[0, 2]], expected, atol=1e-6)
    np.testing.assert_array_equal(P[1], logistic.predict_proba(X))
    ready = AnyMembers(members, "classification", 3, LABELS)
    for k in range(3):
        np.testing.assert_allclose(ready.predict(X, [k])[0], P[k], atol=1e-6)


def test_classes_in_another_order_and_missing_ones_keep_their_columns():
    known = Y != 1
    fitted = LogisticRegression().fit(X[known], LABELS[Y[known]])
    order = np.array(["two", "three", "one"])
    P = predict_members([of(fitted)], X, "classification", 3, order)[0]
    np.testing.assert_array_equal(P[:, [2, 0]], fitted.predict_proba(X))
    assert (P[:, 1] == 0).all()


def test_scores_of_estimators_without_probabilities_are_theirs():
    fitted = RidgeClassifier().fit(X, LABELS[Y])
    P = predict_members([of(fitted)], X, "classification", 3, LABELS)[0]
    np.testing.assert_array_equal(P, fitted.decision_function(X))

    class Says:
        classes_ = LABELS[::-1]

        def predict(self, X):
            return np.full(len(X), "two")

    assert (predict_members([of(Says())], X, "classification", 3, LABELS)[0] == [0, 0, 1]).all()


def test_values_are_in_the_units_of_the_targets():
    y = 1e6 + X[:, 1]  # so far from zero that networks learn it standardised
    fitted = EnsembleRegressor(mlp_regressor(max_epochs=3), collect=Seeds(1), random_state=0).fit(X, y)
    assert "target_scale" in fitted.pool_[0].meta
    forest = RandomForestRegressor(3, random_state=0).fit(X, y)
    P = predict_members([fitted.pool_[0], of(forest)], X, "regression", 1)
    np.testing.assert_allclose(P[0, :, 0], fitted.predict(X), rtol=1e-9)
    np.testing.assert_array_equal(P[1, :, 0], forest.predict(X))


def test_estimators_get_inputs_as_they_came_and_networks_numbers(classifier):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named, plain = (LogisticRegression().fit(inputs, LABELS[Y]) for inputs in (frame, X))
    members = [classifier.pool_[0], of(named, "named"), of(plain, "plain")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also of missing names of features
        P = predict_members(members, frame, "classification", 3, LABELS)
        np.testing.assert_allclose(predict_members(members, X, "classification", 3, LABELS), P, atol=1e-6)
    np.testing.assert_array_equal(P[1], named.predict_proba(frame))
    text = pd.DataFrame({"a": np.where(X[:, 0] > 2, "x", "y"), "b": np.where(X[:, 1] > 0, "u", "v")})
    encoded = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(text, LABELS[Y])
    P = predict_members([of(encoded)], text, "classification", 3, LABELS)
    np.testing.assert_array_equal(P[0], encoded.predict_proba(text))
    with pytest.raises(ValueError, match="Networks take numbers, and 2 columns of X are none"):
        predict_members([classifier.pool_[0], of(encoded)], text, "classification", 3, LABELS)


class Bad:
    classes_ = LABELS

    def __init__(self, way):
        self.way = way

    def predict_proba(self, X):
        if self.way == "raises":
            raise RuntimeError("no memory")
        if self.way == "NaN":
            return np.full((len(X), 3), np.nan)
        return np.ones((len(X) - (self.way == "rows"), 3 - (self.way == "columns"))) / 3


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("raises", "Member 'bad' fails to predict, by RuntimeError: no memory"),
        ("NaN", "Member 'bad' predicts NaN or infinity for 90 of 90 rows"),
        ("rows", "Member 'bad' predicts 89 rows for 90"),
        ("columns", "Member 'bad' gives 2 columns for its 3 classes_"),
    ],
)
def test_a_member_that_fails_is_named(way, message):
    with pytest.raises(ValueError, match=message):
        predict_members([of(Bad(way), "bad")], X, "classification", 3, LABELS)


def test_members_of_other_problems_are_named():
    fitted = LogisticRegression().fit(X, LABELS[Y])
    with pytest.raises(ValueError, match=r"Member 'a' predicts the classes \['one', 'two'\], which are not among"):
        predict_members([of(fitted)], X, "classification", 2, ["three", "four"])
    ridge = Ridge().fit(X, X[:, :2])
    with pytest.raises(ValueError, match="Member 'a' predicts 2 outputs, and there are 1"):
        predict_members([of(ridge)], X, "regression", 1)
    with pytest.raises(ValueError, match="Member 'a' has no classes_"):
        predict_members([of(ridge)], X, "classification", 3, LABELS)
    scaled = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2)).fit(X, Y == 1)
    with pytest.raises(ValueError, match=r"predicts the classes \[False, True\]"):
        predict_members([of(scaled)], X, "classification", 3, LABELS)
