"""StackingFusion: members whose seeds, sizes or order of rows count, inputs passed through, rows without labels."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import (
    BaggingFusion,
    DeepForestClassifier,
    DistillClassifier,
    EnsembleClassifier,
    NeuralDecisionForestClassifier,
    PiModelClassifier,
    SoupClassifier,
    StackingFusion,
    TemporalEnsemblingClassifier,
)
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier, mlp_regressor

X, y = load_iris(return_X_y=True)
UNLIKE = np.delete(np.arange(150), 142)  # one row is there twice
Z, t = load_diabetes(return_X_y=True)
ORDERED = [
    ("forest", RandomForestClassifier(5, random_state=0)),
    ("sgd", SGDClassifier(random_state=0, loss="log_loss")),
]


def net(**params):
    return mlp_classifier(**{"max_epochs": 5, "module__hidden": (8,), "lr": 0.02, **params})


# ---- the order of rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meta", [LogisticRegression(max_iter=5000), RandomForestClassifier(5, random_state=1)], ids=["line", "forest"]
)
@pytest.mark.parametrize(
    ("index", "cv"),
    [
        (UNLIKE, StratifiedKFold(5)),
        (UNLIKE, StratifiedKFold(3)),
        (np.arange(150), StratifiedKFold(5)),
        (np.arange(150), StratifiedKFold(4, shuffle=True, random_state=0)),
    ],
    ids=["five", "three", "equal-rows", "equal-rows-shuffled"],
)
def test_members_that_depend_on_the_order_are_scikit_learns(index, cv, meta):
    ours = StackingFusion(estimators=ORDERED, final_estimator=meta, cv=cv).fit(X[index], y[index])
    theirs = StackingClassifier(ORDERED, meta, cv=cv).fit(X[index], y[index])
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


def test_with_equal_rows_a_number_of_folds_differs_by_one_row():
    """Folds that part equal rows, and are not shuffled, hardly matter here."""
    ours = StackingFusion(estimators=[("line", LogisticRegression(max_iter=5000))], cv=5).fit(X, y)
    theirs = StackingClassifier([("line", LogisticRegression(max_iter=5000))], LogisticRegression(max_iter=1000), cv=5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.fit(X, y).predict_proba(X), atol=0.01)


@pytest.mark.parametrize("cv", [4, None])
def test_whole_weights_are_repetitions_where_the_order_counts(cv):
    weight = np.random.RandomState(0).randint(0, 3, 150)
    rows = np.repeat(np.arange(150), weight)
    stack = StackingFusion(estimators=ORDERED, final_estimator=RandomForestClassifier(5, random_state=1), cv=cv)
    weighted = stack.fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_array_equal(weighted, stack.fit(X[rows], y[rows]).predict_proba(X))


# ---- seeds -------------------------------------------------------------------------------------------------------


class Draws(ClassifierMixin, BaseEstimator):
    """Draws from the global generators, as no estimator should."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.drawn_ = [float(torch.rand(1)), float(np.random.rand())]  # noqa: NPY002
        return self

    def predict_proba(self, X):
        return np.tile(np.linspace(1, 2, len(self.classes_)) / 1.5 / len(self.classes_), (len(X), 1))

    def predict(self, X):
        return np.full(len(X), self.classes_[-1])


class Sized(nn.Module):
    """Of given sizes, for nets within other estimators."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))

    def forward(self, X):
        return self.layers(X.float())


@pytest.mark.parametrize(
    "member",
    [
        make_pipeline(StandardScaler(), NeuralNetClassifier(Sized, max_epochs=3, verbose=0)),
        BaggingClassifier(NeuralNetClassifier(Sized, max_epochs=3, verbose=0), 2),
        Draws(),
    ],
    ids=["pipeline", "bagging", "draws"],
)
def test_members_of_other_libraries_are_seeded(member):
    members = [("member", member), ("near", KNeighborsClassifier())]
    stack = StackingFusion(estimators=members, cv=2, random_state=0)
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first = clone(stack).fit(X, y)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.rand(1)
    again = clone(stack).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    if isinstance(member, Draws):
        found = [s.fit(X, y).estimators_[0].drawn_ for s in (first, again, clone(stack).set_params(random_state=1))]
        assert found[0] == found[1] != found[2]


@pytest.mark.usefixtures("untouched_rng")
@pytest.mark.parametrize(
    "meta",
    [RandomForestClassifier(5), make_pipeline(StandardScaler(), RandomForestClassifier(5))],
    ids=["forest", "pipeline"],
)
def test_the_meta_learner_is_seeded(meta):
    stack = StackingFusion(estimators=[("nb", GaussianNB())], final_estimator=meta, cv=2, random_state=0)
    found = [clone(stack).set_params(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 0.1
    assert all(v is None for k, v in meta.get_params().items() if k.endswith("random_state"))  # the user's own


def test_the_meta_learner_of_a_fused_pool_is_seeded():
    seen, other = UNLIKE[::2], UNLIKE[1::2]
    pool = EnsembleClassifier(net(), collect=Seeds(2), random_state=0).fit(X[seen], y[seen]).pool_
    stack = StackingFusion(net(), final_estimator=RandomForestClassifier(5), random_state=0)
    found = [clone(stack).fuse(pool, X[other], y[other]).predict_proba(X) for _ in range(2)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_members_that_train_in_threads_do_not_wait_for_each_other(n_jobs):
    from joblib import parallel_config

    member = BaggingClassifier(EnsembleClassifier(net(max_epochs=1), collect=Seeds(1)), 2, n_jobs=2)
    stack = StackingFusion(estimators=[("bags", member)], cv=2, n_jobs=n_jobs, random_state=0)
    with parallel_config("threading"):
        assert stack.fit(X, y).predict_proba(X).shape == (150, 3)


# ---- networks at the end of pipelines ----------------------------------------------------------------------------


def test_a_network_at_the_end_of_a_pipeline_is_sized():
    wide = make_pipeline(StandardScaler(), net(max_epochs=20))
    nested = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), net(max_epochs=20)))
    labels = np.array(["a", "b", "c"])[y]
    stack = StackingFusion(estimators=[("one", wide), ("two", nested)], cv=2, random_state=0)
    stack.set_params(one__neuralnetclassifier__lr=0.05)
    fitted = stack.fit(X, labels)
    assert fitted.score(X, labels) > 0.9
    assert isinstance(fitted.named_estimators_["one"][-1], EnsembleClassifier)
    assert isinstance(fitted.named_estimators_["two"][-1][-1], EnsembleClassifier)
    assert fitted.named_estimators_["one"][-1].estimator.lr == 0.05
    assert not hasattr(wide[-1], "module_")
    assert "classes" not in wide[-1].get_params(deep=False) or wide[-1].classes is None


def test_a_network_at_the_end_of_a_pipeline_predicts_values():
    members = [("net", make_pipeline(StandardScaler(), mlp_regressor(max_epochs=20))), ("ridge", Ridge())]
    assert StackingFusion(estimators=members, cv=2, random_state=0).fit(Z, t).score(Z, t) > 0.4


# ---- passthrough -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [y, y > 0], ids=["three", "two"])
@pytest.mark.parametrize("form", ["array", "frame", "sparse"])
def test_passthrough_equals_stacking_classifier(labels, form):
    frame = pd.DataFrame(X, columns=[*"abcd"])
    A = {"array": X, "frame": frame, "sparse": scipy.sparse.csr_array(X)}[form]
    members = [("near", KNeighborsClassifier(3)), ("line", LogisticRegression(max_iter=5000))]
    meta = LogisticRegression(tol=1e-10, max_iter=5000)
    cv = StratifiedKFold(5)
    ours = StackingFusion(estimators=members, final_estimator=meta, cv=cv, passthrough=True).fit(A, labels)
    theirs = StackingClassifier(members, meta, cv=cv, passthrough=True).fit(A, labels)
    assert ours.combine_.final_estimator_.n_features_in_ == theirs.final_estimator_.n_features_in_
    np.testing.assert_allclose(ours.predict_proba(A), theirs.predict_proba(A), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(A), theirs.predict(A))


def test_passthrough_equals_stacking_regressor():
    members = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(random_state=0))]
    for meta in (LinearRegression(), RandomForestRegressor(5, random_state=0)):
        ours = StackingFusion(estimators=members, final_estimator=meta, cv=KFold(4), passthrough=True).fit(Z, t)
        theirs = StackingRegressor(members, meta, cv=KFold(4), passthrough=True).fit(Z, t)
        np.testing.assert_allclose(ours.predict(Z), theirs.predict(Z), rtol=1e-9)


def test_passthrough_with_weights_and_with_a_pool():
    weight = np.random.RandomState(0).randint(0, 3, 150)
    rows = np.repeat(np.arange(150), weight)
    stack = StackingFusion(estimators=[("nb", GaussianNB())], cv=4, passthrough=True)
    weighted = stack.fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_array_equal(weighted, stack.fit(X[rows], y[rows]).predict_proba(X))
    seen, other = UNLIKE[::2], UNLIKE[1::2]
    pool = EnsembleClassifier(net(), collect=Seeds(2), random_state=0).fit(X[seen], y[seen]).pool_
    meta = LogisticRegression(max_iter=5000)
    fused = StackingFusion(net(), final_estimator=meta, passthrough=True).fuse(pool, X[other], y[other])
    assert fused.combine_.final_estimator_.n_features_in_ == 2 * 3 + 4
    assert fused.predict_proba(X).shape == (150, 3)


class Never(GaussianNB):
    """Must not be trained."""

    def fit(self, X, y):
        raise AssertionError("trained before all was checked")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"X": X.astype(np.float32)}, "must have two axes; got a dict"),
        (X.reshape(150, 2, 2), r"must have two axes; got shape \(150, 2, 2\)"),
        (pd.DataFrame({"a": X[:, 0], "b": np.array(["u", "v", "w"])[y]}), "not all of it are numbers.*Encode it"),
    ],
    ids=["dict", "images", "strings"],
)
def test_passthrough_takes_numbers_of_two_axes(inputs, message):
    with pytest.raises(ValueError, match=message):
        StackingFusion(estimators=[("never", Never())], cv=2, passthrough=True).fit(inputs, y)


def test_a_meta_learner_of_another_task_is_refused_before_training():
    with pytest.raises(ValueError, match="no predict_proba"):
        StackingFusion(estimators=[("never", Never())], cv=2, final_estimator=Ridge()).fit(X, y)


@pytest.mark.parametrize("given", ["yes", 1, None])
def test_passthrough_is_true_or_false(given):
    with pytest.raises(TypeError, match="passthrough must be True or False"):
        StackingFusion(estimators=[("nb", GaussianNB())], cv=2, passthrough=given).fit(X, y)


# ---- numbers and labels ------------------------------------------------------------------------------------------


def test_numpy_numbers():
    stack = StackingFusion(net(max_epochs=1), n_members=np.int64(2), cv=np.int64(2), random_state=0).fit(X, y)
    assert len(stack.estimators_) == 2
    with pytest.raises(ValueError, match=r"n_members must be at least 1; got 1.5. It is a whole number"):
        StackingFusion(net(), n_members=1.5).fit(X, y)


UNLABELLED = np.where(np.arange(150) % 3 == 0, -1, y)
TAKERS = {
    "ensemble": EnsembleClassifier(net(max_epochs=1), collect=Seeds(2), random_state=0),
    "soup": SoupClassifier(net(max_epochs=1), collect=Seeds(2), random_state=0),
    "bagging": BaggingFusion(net(max_epochs=1), n_members=2, random_state=0),
    "stacking": StackingFusion(net(max_epochs=1), n_members=2, cv=2, random_state=0),
    "mixed": StackingFusion(estimators=[("net", net(max_epochs=1)), ("nb", GaussianNB())], cv=2, random_state=0),
    "student": DistillClassifier(net(max_epochs=1), random_state=0),
    "forest": DeepForestClassifier(n_trees=2, cv=2, max_levels=1, random_state=0),
    "routed": NeuralDecisionForestClassifier(net(max_epochs=1), random_state=0),
    "taught": DistillClassifier(net(max_epochs=1), teacher=GaussianNB(), random_state=0),
}


def said(estimator, labels):
    """How often a fit says that -1 is taken for a class."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        estimator.fit(X, labels)
    return sum("it is taken for a class of its own" in str(w.message) for w in seen)


@pytest.mark.parametrize("name", TAKERS)
def test_unlabelled_rows_that_are_taken_for_a_class_are_named_once(name):
    estimator = clone(TAKERS[name])
    assert said(estimator, UNLABELLED) == 1
    assert estimator.classes_.tolist() == [-1, 0, 1, 2]
    assert said(estimator, np.where(y > 0, 1, -1)) == 0


@pytest.mark.parametrize("kind", [TemporalEnsemblingClassifier, PiModelClassifier])
def test_those_that_learn_from_unlabelled_rows_say_nothing(kind):
    assert said(kind(net(max_epochs=1), random_state=0), UNLABELLED) == 0


def test_a_class_that_the_net_names_is_a_class():
    named = EnsembleClassifier(net(max_epochs=1, classes=[-1, 0, 1, 2]), collect=Seeds(1), random_state=0)
    assert said(named, UNLABELLED) == 0


def test_the_warning_points_at_the_line_that_fits():
    with pytest.warns(UserWarning, match="taken for a class of its own") as seen:
        clone(TAKERS["mixed"]).fit(X, UNLABELLED)
    assert seen[0].filename == __file__
