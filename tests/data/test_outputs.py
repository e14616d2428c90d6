"""What members of any kind are asked for, on the rows that a fold leaves to them."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skfusion import StackingFusion
from skfusion.data import outputs_of

RNG = np.random.RandomState(0)
X = RNG.normal(size=(120, 4))


# ---- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "member",
    [DecisionTreeClassifier(), KNeighborsClassifier(3), make_pipeline(StandardScaler(), KNeighborsClassifier(3))],
    ids=["tree", "near", "pipeline"],
)
@pytest.mark.parametrize("constant", [0, 1])
def test_a_label_that_never_changes_keeps_its_value(member, constant):
    labels = np.column_stack([np.full(120, constant), X[:, 0] > 0, np.full(120, 1 - constant)]).astype(int)
    found = outputs_of(member.fit(X, labels), X, "multilabel", 3)
    assert found.shape == (120, 3)
    assert (found[:, 0] == constant).all()
    assert (found[:, 2] == 1 - constant).all()
    assert ((found[:, 1] > 0.5) == labels[:, 1]).mean() > 0.8


def test_labels_of_one_classifier_each():
    labels = np.column_stack([X[:, 1] > 0.3, X[:, 0] > 0]).astype(int)
    fitted = MultiOutputClassifier(LogisticRegression()).fit(X, labels)
    expected = np.stack([p[:, 1] for p in fitted.predict_proba(X)], axis=1)
    np.testing.assert_array_equal(outputs_of(fitted, X, "multilabel", 2), expected)


def test_labels_that_are_not_told_are_refused():
    class Silent:
        def predict_proba(self, X):
            return [np.ones((len(X), 1)), np.ones((len(X), 2)) / 2]

    with pytest.raises(ValueError, match="Member 'a' gives probabilities of 1 values of a label"):
        outputs_of(Silent(), X, "multilabel", 2, "a")


def test_an_only_class_is_certain():
    fitted = HistGradientBoostingClassifier(max_iter=2).fit(X, np.full(120, 2))
    np.testing.assert_array_equal(outputs_of(fitted, X[:3], "classification", 4), np.tile([0, 0, 1, 0], (3, 1)))


# ---- scores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [3, 10])
@pytest.mark.parametrize("wrap", ["plain", "pipeline", "search", "frozen"])
def test_scores_of_pairs_are_refused(n_classes, wrap):
    svc = SVC(decision_function_shape="ovo")
    wrapped = {
        "plain": svc,
        "pipeline": make_pipeline(StandardScaler(), svc),
        "search": GridSearchCV(make_pipeline(StandardScaler(), svc), {"svc__C": [1.0]}, cv=2),
        "frozen": FrozenEstimator(SVC(decision_function_shape="ovo").fit(X, np.arange(120) % n_classes)),
    }[wrap]
    codes = np.arange(120) % n_classes
    n_pairs = n_classes * (n_classes - 1) // 2
    message = rf"Member 'svc' gives {n_pairs} scores .* {n_classes} classes.*='ovr'"
    with pytest.warns(UserWarning, match=f"left out.*{message}"):
        StackingFusion(estimators=[("nb", GaussianNB()), ("svc", wrapped)], cv=2).fit(X, codes)
    with pytest.raises(ValueError, match=message):
        StackingFusion(estimators=[("svc", wrapped)], cv=2).fit(X, codes)


@pytest.mark.parametrize(
    ("member", "n_classes"),
    [
        (SVC(), 3),
        (SVC(decision_function_shape="ovo"), 2),
        (OneVsRestClassifier(SVC(decision_function_shape="ovo")), 3),
    ],
    ids=["ovr", "ovo-of-two", "ovo-within-ovr"],
)
def test_scores_of_classes_are_taken(member, n_classes):
    found = outputs_of(member.fit(X, np.arange(120) % n_classes), X, "classification", n_classes)
    scores = member.decision_function(X)
    np.testing.assert_array_equal(found, np.stack([-scores, scores], axis=1) if n_classes == 2 else scores)


@pytest.mark.parametrize("member", [LinearSVC(), RidgeClassifier(), SVC()], ids=["linear", "ridge", "svc"])
@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_class_that_a_fold_lacked_has_the_least_score(member, missing):
    codes = np.delete(np.arange(4), missing)[np.arange(120) % 3]
    found = outputs_of(member.fit(X, codes), X, "classification", 4)
    known = member.decision_function(X)
    np.testing.assert_array_equal(np.delete(found, missing, axis=1), known)
    np.testing.assert_array_equal(found[:, missing], known.min(axis=1))


def test_a_class_that_a_fold_lacked_has_no_probability():
    found = outputs_of(GaussianNB().fit(X, np.where(X[:, 0] > 0, 2, 0)), X, "classification", 3)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
