"""StackingFusion against scikit-learn's stacking, and with what that cannot take."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import shuffle
from small_nets import small_nets

from skfusion import EnsembleClassifier, StackingFusion
from skfusion.collect import Seeds
from skfusion.pool import LeakageWarning

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
MIXED = shuffle(X, y, random_state=0)
Z, t = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


net, regressor = small_nets(max_epochs=5, module__hidden=(8,), lr=0.02)


# ---- parity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [y, NAMES[y], y > 0], ids=["integers", "strings", "binary"])
@pytest.mark.parametrize("cv", [StratifiedKFold(3), StratifiedKFold(4, shuffle=True, random_state=0)], ids=str)
def test_equals_stacking_classifier(labels, cv):
    members = [("nb", GaussianNB()), ("near", KNeighborsClassifier(3)), ("margin", LinearSVC())]
    meta = LogisticRegression(tol=1e-10, max_iter=5000)
    ours = StackingFusion(estimators=members, final_estimator=meta, cv=cv).set_params(margin__random_state=0)
    theirs = StackingClassifier([*members[:2], ("margin", LinearSVC(random_state=0))], meta, cv=cv)
    ours, theirs = ours.fit(X, labels), theirs.fit(X, labels)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, labels) == theirs.score(X, labels)


def test_equals_stacking_regressor():
    members = [("ridge", Ridge()), ("near", KNeighborsRegressor(5)), ("tree", DecisionTreeRegressor(random_state=0))]
    cv = KFold(4, shuffle=True, random_state=0)
    ours = StackingFusion(estimators=members, final_estimator=LinearRegression(), cv=cv).fit(Z, t)
    theirs = StackingRegressor(members, LinearRegression(), cv=cv).fit(Z, t)
    np.testing.assert_allclose(ours.predict(Z), theirs.predict(Z), rtol=1e-6)
    assert ours.score(Z, t) == pytest.approx(theirs.score(Z, t))


def test_equals_stack_of_an_ensemble_of_one():
    stacked = StackingFusion(net(), n_members=1, cv=3, random_state=0).fit(X, y)
    member = stacked.estimators_[0]
    np.testing.assert_array_equal(
        member.predict_proba(X),
        EnsembleClassifier(net(), collect=Seeds(1), random_state=member.random_state).fit(X, y).predict_proba(X),
    )


# ---- members -----------------------------------------------------------------------------------------------------


def test_members_of_many_kinds():
    members = [
        ("net", net()),
        ("scaled", make_pipeline(StandardScaler(), LogisticRegression())),
        ("forest", RandomForestClassifier(10)),
    ]
    fitted = StackingFusion(estimators=members, cv=2, random_state=0).fit(X, NAMES[y])
    assert fitted.score(X, NAMES[y]) > 0.9
    assert fitted.classes_.tolist() == NAMES.tolist()
    assert list(fitted.named_estimators_) == ["net", "scaled", "forest"]
    assert fitted.pool_ is None
    assert not hasattr(members[1][1][-1], "coef_")
    again = clone(fitted).fit(X, NAMES[y])
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_pool_of_networks():
    fitted = StackingFusion(net(), n_members=3, cv=2, random_state=0).fit(X, NAMES[y])
    assert fitted.pool_.names == ["seed-0", "seed-1", "seed-2"]
    assert fitted.pool_.classes.tolist() == NAMES.tolist()


def test_frames_with_strings():
    frame = pd.DataFrame({"length": X[:, 0], "colour": np.where(X[:, 2] > 3, "red", "blue"), "width": X[:, 3]})
    columns = ColumnTransformer(
        [("number", StandardScaler(), ["length", "width"]), ("name", OneHotEncoder(), ["colour"])]
    )
    member = EnsembleClassifier(net(), collect=Seeds(1))
    members = [("net", make_pipeline(columns, member)), ("tree", make_pipeline(columns, DecisionTreeClassifier()))]
    fitted = StackingFusion(estimators=members, cv=2, random_state=0).fit(frame, NAMES[y])
    assert fitted.feature_names_in_.tolist() == ["length", "colour", "width"]
    assert fitted.score(frame, NAMES[y]) > 0.8


def test_a_sorted_table_is_shuffled_before_it_is_cut():
    """Trees say the same beyond the rows that they know, so that parts of a sorted table would mislead the stack."""
    rng = np.random.RandomState(0)
    A = np.sort(rng.uniform(0, 10, (400, 1)), axis=0)
    values = 3 * A[:, 0] + rng.normal(0, 0.1, 400)
    members = [("tree", DecisionTreeRegressor(min_samples_leaf=3)), ("near", KNeighborsRegressor(3))]
    fitted = StackingFusion(estimators=members, cv=5).fit(A, values)
    coefficients = fitted.combine_.final_estimator_.coef_
    assert coefficients.sum() == pytest.approx(1, abs=0.02)
    assert fitted.score(A, values) > 0.995
    cut = StackingFusion(estimators=members, cv=KFold(5)).fit(A, values)
    assert cut.combine_.final_estimator_.coef_.sum() > 1.1


def test_folds_are_those_of_the_rows_whatever_the_seed():
    members = [("near", KNeighborsClassifier(3)), ("nb", GaussianNB())]
    one, other = (StackingFusion(estimators=members, random_state=seed).fit(X, y) for seed in (0, 1))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_sparse_inputs():
    sparse = scipy.sparse.csr_array(np.where(X > 3, X, 0))
    members = [("linear", LogisticRegression()), ("near", KNeighborsClassifier(3))]
    fitted = StackingFusion(estimators=members, cv=2).fit(sparse, y, sample_weight=None)
    dense = StackingFusion(estimators=members, cv=2).fit(sparse.toarray(), y)
    np.testing.assert_allclose(fitted.predict_proba(sparse), dense.predict_proba(sparse.toarray()), atol=1e-4)


def test_multilabel():
    X, y = MIXED
    labels = np.stack([y == 0, y == 1, X[:, 0] > 5.8], axis=1).astype(int)
    members = [("net", net(multilabel=True)), ("near", KNeighborsClassifier(3)), ("tree", DecisionTreeClassifier())]
    fitted = StackingFusion(estimators=members, cv=2, random_state=0).fit(X, labels)
    assert fitted.predict_proba(X).shape == labels.shape
    assert (fitted.predict(X) == labels).mean() > 0.9
    assert fitted.score(X, labels) > 0.8


def test_multi_output():
    targets = np.stack([X[:, 0], X[:, 1] * 2], axis=1)
    members = [("net", regressor()), ("ridge", Ridge()), ("tree", DecisionTreeRegressor())]
    fitted = StackingFusion(estimators=members, cv=2, random_state=0).fit(X, targets)
    assert fitted.predict(X).shape == (150, 2)
    assert fitted.score(X, targets) > 0.9
    assert not hasattr(fitted, "predict_proba")


# ---- weights, groups, parallel runs ------------------------------------------------------------------------------


def test_whole_weights_are_repetitions_for_all_members():
    weight = np.random.RandomState(0).randint(0, 3, 150)
    members = [("net", net()), ("near", KNeighborsClassifier(3))]  # neighbours take no weights
    parts = np.arange(150) % 2
    folds = [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(2)]
    weighted = StackingFusion(estimators=members, cv=folds, random_state=0).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(150), weight)
    again = [(np.flatnonzero(parts[rows] != k), np.flatnonzero(parts[rows] == k)) for k in range(2)]
    repeated = StackingFusion(estimators=members, cv=again, random_state=0).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_fractional_weights_need_members_that_take_them():
    weight = np.linspace(0.1, 2, 150)
    members = [("net", net()), ("near", KNeighborsClassifier(3))]
    with pytest.raises(ValueError, match="Member 'near' takes no sample_weight"):
        StackingFusion(estimators=members, cv=2).fit(X, y, sample_weight=weight)
    members[1] = ("tree", DecisionTreeClassifier())
    StackingFusion(estimators=members, cv=2, random_state=0).fit(X, y, sample_weight=weight)


def test_weights_have_one_scale_over_folds():
    values = np.arange(30.0)
    weight = np.where(values < 10, 2.0, 0.25)
    folds = [(np.setdiff1d(np.arange(30), part), part) for part in np.arange(30).reshape(3, 10)]

    class Meta(LinearRegression):
        def fit(self, X, y, sample_weight=None):
            self.seen_ = y, sample_weight
            return super().fit(X, y, sample_weight)

    fitted = StackingFusion(estimators=[("ridge", Ridge())], final_estimator=Meta(), cv=folds)
    targets, seen = fitted.fit(X[:30], values, sample_weight=weight).combine_.final_estimator_.seen_
    order = targets.argsort()
    np.testing.assert_allclose(seen[order] / seen.sum(), weight / weight.sum())


def test_groups_with_rows_of_weight_zero():
    groups = np.arange(150) // 5
    weight = np.ones(150)
    weight[:15] = 0
    members = [("near", KNeighborsClassifier(3)), ("nb", GaussianNB())]
    fitted = StackingFusion(estimators=members, cv=3).fit(X, y, sample_weight=weight, groups=groups)
    same = StackingFusion(estimators=members, cv=3).fit(X[15:], y[15:], groups=groups[15:])
    np.testing.assert_allclose(fitted.predict_proba(X), same.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="groups has 3 entries for 150 rows"):
        fitted.fit(X, y, groups=[1, 2, 3])


def test_result_does_not_depend_on_jobs():
    members = [("net", net()), ("forest", RandomForestClassifier(5))]
    alone = StackingFusion(estimators=members, cv=2, random_state=0).fit(X, y).predict_proba(X)
    both = StackingFusion(estimators=members, cv=2, random_state=0, n_jobs=2).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(alone, both)


def test_in_a_search():
    members = [("near", KNeighborsClassifier()), ("nb", GaussianNB())]
    stack = StackingFusion(estimators=members, cv=2)
    grid = {"final_estimator": [None, GaussianNB()], "near__n_neighbors": [1, 5]}
    search = GridSearchCV(stack, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_.named_estimators_["near"].n_neighbors == search.best_params_["near__n_neighbors"]


def test_fuse():
    pool = EnsembleClassifier(net(), collect=Seeds(3), random_state=0).fit(X[::2], NAMES[y[::2]]).pool_
    fitted = StackingFusion().fuse(pool, X[1::2], NAMES[y[1::2]])
    assert list(fitted.named_estimators_) == pool.names
    assert fitted.predict(X).dtype == NAMES.dtype
    with pytest.warns(LeakageWarning, match="75 of the 75 rows used to learn how to combine"):
        StackingFusion().fuse(pool, X[::2], NAMES[y[::2]])
    values = regressor()
    from skfusion import EnsembleRegressor

    pool = EnsembleRegressor(values, collect=Seeds(2), random_state=0).fit(X[::2], X[::2, 0]).pool_
    assert StackingFusion(values).fuse(pool, X[1::2], X[1::2, 0]).predict(X).shape == (150,)


def test_random_labels_teach_the_meta_learner_nothing():
    labels = np.random.RandomState(0).randint(2, size=150)
    fitted = StackingFusion(estimators=[("tree", DecisionTreeClassifier()), ("near", KNeighborsClassifier(1))], cv=5)
    fitted.fit(X, labels)
    meta = fitted.combine_.final_estimator_
    assert np.abs(meta.coef_).max() < 1.5  # in-sample predictions would be perfect, and get weights above 2


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimators": []}, "estimators is empty: give at least one"),
        ({"n_members": 0}, "n_members must be at least 1; got 0"),
        ({"estimators": [("a", GaussianNB()), ("a", GaussianNB())]}, "Names of members must be unique"),
        ({"estimators": [("a", GaussianNB()), ("b", Ridge())]}, "Member 'b' is a regressor, but the first one is a cl"),
        ({"estimators": [("a", GaussianNB())], "final_estimator": LinearSVC()}, "has no predict_proba"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        StackingFusion(**params).fit(X, y)


@pytest.mark.parametrize("member", ["drop", None, GaussianNB])
def test_members_that_are_no_estimators(member):
    with pytest.raises(TypeError, match="Member 'a' must be an estimator; got .*leave it out of the list"):
        StackingFusion(estimators=[("a", member), ("b", GaussianNB())]).fit(X, y)


def test_members_can_be_replaced_by_name():
    stack = StackingFusion(estimators=[("a", GaussianNB()), ("b", Ridge())])
    stack.set_params(b=KNeighborsClassifier(), cv=2, b__n_neighbors=3)
    assert repr(stack.estimators) == "[('a', GaussianNB()), ('b', KNeighborsClassifier(n_neighbors=3))]"
    assert stack.get_params()["b__n_neighbors"] == 3
    assert "b" not in stack.get_params(deep=False)


@pytest.mark.parametrize("estimators", [5, "ab", [GaussianNB()]])
def test_parameters_are_judged_in_fit_only(estimators):
    stack = StackingFusion().set_params(estimators=estimators)
    assert stack.get_params()["estimators"] is estimators
    with pytest.raises((TypeError, ValueError)):
        stack.fit(X, y)


def test_the_default_network_follows_the_target():
    labels = np.stack([y == 0, y > 0], axis=1).astype(int)
    stack = StackingFusion(n_members=1, cv=2, random_state=0).fit(X, labels)
    assert stack.predict(X[:3]).shape == (3, 2)


def test_members_without_names_are_refused():
    with pytest.raises(TypeError, match=r"list of \(name, estimator\) pairs"):
        StackingFusion(estimators=[LogisticRegression()]).fit(X, y)
