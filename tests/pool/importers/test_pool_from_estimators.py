"""Fitted estimators of any library become members: nets as states, others as they are, all of the same classes."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, ModelPool
from skfusion._rows import Rows
from skfusion.combine import EnsembleSelection
from skfusion.pool import LeakageWarning, Member

RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = np.array(["b", "a", "c"])[np.arange(60) % 3]
CODES = np.arange(60) % 3


def net():
    return NeuralNetClassifier(
        nn.Linear(3, 3), criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, train_split=None
    )


def test_nets_become_states_and_others_stay_whole():
    fitted = net().fit(X, CODES)
    piped = make_pipeline(StandardScaler(), net()).fit(X, CODES)
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2).fit(X, CODES)
    before = pickle.dumps(search)
    pool = ModelPool.from_estimators([fitted, ("piped", piped), search], X, CODES)
    assert pool.names == ["net-0", "piped", "gridsearchcv-2"]
    assert [m.is_network for m in pool] == [True, False, False]
    assert pool.classes.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(pool["piped"].estimator.predict_proba(X), piped.predict_proba(X))
    assert pool["piped"].estimator is not piped
    assert pickle.dumps(search) == before
    for member in pool:
        np.testing.assert_array_equal(member.rows, Rows(X, CODES).marks)


def test_labels_of_estimators_alone_are_joined():
    few = [LogisticRegression().fit(X[label != Y], Y[label != Y]) for label in "ac"]
    assert ModelPool.from_estimators(few).classes.tolist() == ["a", "b", "c"]
    proba = EnsembleClassifier().fuse(ModelPool.from_estimators(few), X, Y).predict_members(X)
    assert (proba[0, :, 0] == 0).all()
    assert (proba[1, :, 2] == 0).all()
    assert ModelPool.from_estimators([Ridge().fit(X, X[:, 0])]).classes is None


def test_a_net_knows_all_classes():
    other = LogisticRegression().fit(X, np.where(CODES == 0, 7, CODES))
    with pytest.raises(ValueError, match=r"Estimator 'other' knows the classes \[7\], which net 'net-1' does not"):
        ModelPool.from_estimators([("other", other), net().fit(X, CODES)])
    few = LogisticRegression().fit(X[CODES > 0], CODES[CODES > 0])
    assert ModelPool.from_estimators([net().fit(X, CODES), few]).names == ["net-0", "logisticregression-1"]


def test_values_and_classes_are_no_pool():
    with pytest.raises(ValueError, match="those of 'ridge-1' are none"):
        ModelPool.from_estimators([LogisticRegression().fit(X, Y), Ridge().fit(X, X[:, 0])])


@pytest.mark.parametrize("unfitted", [LogisticRegression(), make_pipeline(StandardScaler(), LinearSVC()), net()])
def test_what_is_not_fitted_is_named(unfitted):
    with pytest.raises(ValueError, match=rf"Item 1 .*{type(unfitted).__name__} that is not fitted. Call its fit"):
        ModelPool.from_estimators([DummyClassifier().fit(X, Y), unfitted])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([StandardScaler().fit(X)], "Item 0 of the estimators is a StandardScaler, which has no predict"),
        ([LogisticRegression], "is the class LogisticRegression, neither a fitted skorch net nor an estimator"),
        ([5], "is a int, neither"),
        (LogisticRegression().fit(X, Y), r"Give a list of fitted estimators.*got a LogisticRegression"),
    ],
)
def test_what_is_no_estimator_is_named(wrong, says):
    with pytest.raises(TypeError, match=says):
        ModelPool.from_estimators(wrong)


def test_an_estimator_that_needs_no_fit_is_taken():
    class Rule:
        classes_ = np.array(["a", "b", "c"])

        def predict_proba(self, X):
            return np.eye(3)[(np.asarray(X)[:, 0] > 0).astype(int)]

        def predict(self, X):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]

    pool = ModelPool.from_estimators([("rule", Rule())])
    assert (EnsembleClassifier().fuse(pool, X, Y).predict(X) == Rule().predict(X)).all()


def test_rows_with_text_have_no_marks_and_a_warning_says_so():
    table = pd.DataFrame({"a": np.where(X[:, 0] > 0, "x", "y")})
    fitted = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, Y)
    with pytest.warns(UserWarning, match="X is no array of numbers, so that its rows cannot be marked"):
        pool = ModelPool.from_estimators([fitted], table, Y)
    assert pool[0].rows is None
    sparse = csr_matrix(X > 0)
    with pytest.warns(UserWarning, match="its rows cannot be marked"):
        ModelPool.from_estimators([DummyClassifier().fit(sparse, Y)], sparse, Y)
    with pytest.raises(ValueError, match="Give both X and y, or neither"):
        ModelPool.from_estimators([fitted], table)
    EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, table, Y)  # without a warning


def test_marks_of_a_frame_are_those_of_its_numbers():
    frame = pd.DataFrame(X.astype(np.float64), columns=["a", "b", "c"])
    pool = ModelPool.from_estimators([LogisticRegression().fit(frame, Y)], frame, Y)
    for inputs in (frame, X, X.tolist()):
        with pytest.warns(LeakageWarning, match="60 of the 60 rows"):
            EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, inputs, Y)
    other = frame + 1
    EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, other, Y)


def test_the_first_member_without_weights_is_named():
    pool = ModelPool([Member("state", {}), Member("tree", estimator=DummyClassifier().fit(X, Y))])
    pool[:1].check_networks()
    pool.check_finite()  # of the networks
    with pytest.raises(TypeError, match="Member 'tree' is a fitted DummyClassifier, which has no weights"):
        pool.check_networks()
