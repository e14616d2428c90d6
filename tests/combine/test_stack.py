"""Stacked generalisation."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skfusion.combine import Average, Stack


def noise(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape)


@pytest.mark.parametrize("classes", [[0, 1, 2], [0, 1]])
def test_parity_with_sklearns_stacking_classifier(classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[np.isin(y, classes)][:, :2], y[np.isin(y, classes)]
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    bases = [GaussianNB(), KNeighborsClassifier(7), DecisionTreeClassifier(max_depth=2, random_state=0)]
    meta = LogisticRegression(max_iter=1000)
    theirs = StackingClassifier(
        [(str(i), b) for i, b in enumerate(bases)], meta, cv=cv, stack_method="predict_proba"
    ).fit(X, y)
    P = np.stack([cross_val_predict(b, X, y, cv=cv, method="predict_proba") for b in bases])
    ours = Stack().fit(P, y, "classification")
    assert np.allclose(ours.final_estimator_.coef_, theirs.final_estimator_.coef_, rtol=0, atol=1e-10)
    new = np.stack([b.predict_proba(X) for b in theirs.estimators_])
    assert np.allclose(ours(new), theirs.predict_proba(X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("meta", [LinearRegression(positive=True), Ridge()])
def test_parity_with_sklearns_stacking_regressor(meta):
    X, y = load_diabetes(return_X_y=True)
    bases = [Ridge(), KNeighborsRegressor(), DecisionTreeRegressor(max_depth=3, random_state=0)]
    theirs = StackingRegressor([(str(i), b) for i, b in enumerate(bases)], meta, cv=KFold(4)).fit(X, y)
    P = np.stack([cross_val_predict(b, X, y, cv=KFold(4))[:, None] for b in bases])
    ours = Stack(None if isinstance(meta, LinearRegression) else meta).fit(P, y[:, None], "regression")
    new = np.stack([b.predict(X)[:, None] for b in theirs.estimators_])
    assert np.allclose(ours(new)[:, 0], theirs.predict(X), rtol=1e-10)


def test_one_perfect_member_is_copied_in_regression():
    y = noise(40, 1)
    P = np.stack([noise(40, 1, seed=1), y, noise(40, 1, seed=2)])
    fitted = Stack().fit(P, y, "regression")
    assert np.allclose(fitted(P), y, rtol=0, atol=1e-10)
    assert np.allclose(fitted.final_estimator_.coef_, [0, 1, 0], atol=1e-10)


def test_one_perfect_member_is_copied_in_classification():
    y = np.random.RandomState(0).randint(3, size=90)
    guess = np.random.RandomState(1).dirichlet(np.ones(3), size=(2, 90))
    P = np.stack([guess[0], np.eye(3)[y], guess[1]])
    assert (Stack().fit(P, y, "classification")(P).argmax(axis=1) == y).all()


def test_several_values_are_learned_together():
    y = noise(40, 2)
    P = np.stack([noise(40, 2, seed=1), y[:, ::-1]])
    found = Stack().fit(P, y, "regression")(P)
    assert found.shape == (40, 2)
    assert np.allclose(found, y, rtol=0, atol=1e-10)


def test_coefficients_in_regression_are_not_negative():
    y = noise(50, 1)
    fitted = Stack().fit(np.stack([-y, 0.5 * y + noise(50, 1, seed=3)]), y, "regression")
    assert (fitted.final_estimator_.coef_ >= 0).all()


def test_a_class_that_is_missing_keeps_its_column():
    P = np.random.RandomState(0).dirichlet(np.ones(4), size=(2, 60))
    y = np.array([0, 3] * 30)
    found = Stack().fit(P, y, "classification")(P)
    assert found.shape == (60, 4)
    assert not found[:, 1:3].any()
    assert np.allclose(found.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_one_class_is_predicted_always():
    P = np.random.RandomState(0).dirichlet(np.ones(3), size=(2, 5))
    found = Stack().fit(P, np.full(5, 2), "classification")(P[:, :3])
    assert found.tolist() == [[0.0, 0.0, 1.0]] * 3


def test_labels_are_learned_each():
    y = np.random.RandomState(0).randint(2, size=(80, 3))
    P = np.stack([np.where(y, 0.9, 0.1), np.random.RandomState(1).uniform(size=(80, 3))])
    found = Stack().fit(P, y, "multilabel")(P)
    assert ((found > 0.5) == y).all()
    expected = LogisticRegression(max_iter=1000).fit(np.concatenate([*P], axis=1), y[:, 1])
    assert np.allclose(found[:, 1], expected.predict_proba(np.concatenate([*P], axis=1))[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_is_always_the_same_is_predicted_always(value):
    y = np.random.RandomState(0).randint(2, size=(40, 2))
    y[:, 1] = value
    P = np.random.RandomState(1).uniform(size=(2, 40, 2))
    found = Stack().fit(P, y, "multilabel")(P)
    assert (found[:, 1] == value).all()
    assert 0 < found[:, 0].min() < found[:, 0].max() < 1
    assert (Stack().fit(P, np.full((40, 2), value), "multilabel")(P) == value).all()


METAS = [
    OneVsRestClassifier(LogisticRegression()),
    MLPClassifier((), solver="lbfgs", random_state=0),
    RandomForestClassifier(5, random_state=0),
    KNeighborsClassifier(),
    ClassifierChain(LogisticRegression()),
    MultiOutputClassifier(LogisticRegression()),
]


@pytest.mark.parametrize("meta", METAS, ids=lambda meta: type(meta).__name__)
@pytest.mark.parametrize("n_varied", [1, 2, 3])
def test_meta_learners_of_labels_give_one_array_or_several(meta, n_varied):
    y = np.random.RandomState(0).randint(2, size=(80, n_varied))
    P = np.stack([np.where(y, 0.9, 0.1), np.random.RandomState(1).uniform(size=(80, n_varied))])
    constant = np.full((2, 80, 1), 0.7)
    y, P = np.column_stack([np.ones(80, int), y]), np.concatenate([constant, P], axis=2)
    found = Stack(meta).fit(P, y, "multilabel")(P)
    assert found.shape == y.shape
    assert ((found > 0.5) == y).all()


def test_probabilities_that_cannot_be_read_are_told_of_in_fit():
    class Odd(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            return super().fit(X, y[:, 0])

    y = np.random.RandomState(0).randint(2, size=(40, 3))
    with pytest.raises(ValueError, match=r"meta-learner Odd has the shape \(1, 2\) for 1 rows and 3 labels"):
        Stack(Odd()).fit(np.random.RandomState(1).uniform(size=(2, 40, 3)), y, "multilabel")


def test_a_fixed_uniform_meta_learner_is_the_average():
    class Uniform(LinearRegression):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y)
            self.coef_, self.intercept_ = np.full(X.shape[1], 1 / X.shape[1]), 0.0
            return self

    P = noise(4, 30, 1)
    found = Stack(Uniform()).fit(P, noise(30, 1, seed=1), "regression")(P)
    assert np.allclose(found, Average()(P), rtol=0, atol=1e-12)


def test_random_labels_give_chance_with_predictions_out_of_fold():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(600, 5)), rng.randint(2, size=600)
    tree, half = DecisionTreeClassifier(random_state=0), np.arange(600) < 300
    out_of_fold = cross_val_predict(tree, X[half], y[half], cv=5, method="predict_proba")[None]
    in_sample = tree.fit(X[half], y[half]).predict_proba(X[half])[None]
    assert (Stack().fit(in_sample, y[half], "classification")(in_sample).argmax(axis=1) == y[half]).all()  # a leak
    fitted = Stack().fit(out_of_fold, y[half], "classification")
    assert abs((fitted(out_of_fold).argmax(axis=1) == y[half]).mean() - 0.5) < 0.1
    honest = fitted(tree.predict_proba(X[~half])[None])
    assert abs((honest.argmax(axis=1) == y[~half]).mean() - 0.5) < 0.1
    assert np.abs(honest - 0.5).max() < 0.15  # it has learned not to believe


def test_sample_weights_reach_the_meta_learner():
    y = np.array([[0.0], [1.0], [10.0]])
    P = np.zeros((1, 3, 1))
    assert Stack().fit(P, y, "regression", np.array([1.0, 3.0, 0.0]))(P)[0, 0] == pytest.approx(0.75)


def test_the_meta_learner_that_is_given_stays_unfitted():
    meta = Ridge()
    Stack(meta).fit(noise(2, 9, 1), noise(9, 1), "regression")
    assert not hasattr(meta, "coef_")


def test_errors():
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba"):
        Stack(LinearSVC()).fit(noise(2, 9, 3), np.arange(9) % 3, "classification")
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba"):
        Stack(LinearSVC()).fit(noise(2, 9, 3), np.eye(3, dtype=int)[np.arange(9) % 3], "multilabel")
    with pytest.raises(ValueError, match="KNeighborsRegressor takes no sample_weight"):
        Stack(KNeighborsRegressor()).fit(noise(2, 9, 1), noise(9, 1), "regression", np.ones(9))
    with pytest.raises(ValueError, match="LogisticRegression is a classifier, and values are asked for"):
        Stack(LogisticRegression()).check("regression")
    with pytest.raises(ValueError, match="Ridge has no predict_proba"):
        Stack(Ridge()).check("classification")
    with pytest.raises(ValueError, match="must be fitted"):
        Stack()(noise(2, 9, 3))
