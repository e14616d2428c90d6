"""Bagging of rows that belong together, of columns, and without replacement; what is out of bag then."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.model_selection import GridSearchCV

from skfusion import BaggingFusion, DropoutEnsembleClassifier, EnsembleClassifier, EnsembleRegressor, out_of_bag
from skfusion._rows import Rows
from skfusion.collect import Bootstrap
from skfusion.nets import Runner, mlp_classifier, mlp_regressor

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
Z, t = load_diabetes(return_X_y=True)
Z = Z.astype(np.float32)


def net(**params):
    return mlp_classifier(**{"max_epochs": 6, "module__hidden": (8,), "lr": 0.02, **params})


def memory(**params):
    return net(**{"max_epochs": 60, "module__hidden": (64,), "optimizer__weight_decay": 0.0, **params})


def twins(n_groups=40, n_rows=8):
    """Rows that are near the others of their group, and labels of groups that mean nothing."""
    rng = np.random.RandomState(0)
    groups = np.repeat(np.arange(n_groups), n_rows)
    centres, labels = rng.normal(size=(n_groups, 6)), rng.randint(2, size=n_groups)
    rows = (centres[groups] + 0.05 * rng.normal(size=(len(groups), 6))).astype(np.float32)
    order = rng.permutation(len(groups))
    return rows[order], labels[groups][order], groups[order]


def means(P, unseen):
    """Means over the members that a row is unseen by, in a loop."""
    found = np.full(P.shape[1:], np.nan)
    for i in range(P.shape[1]):
        if unseen[:, i].any():
            found[i] = P[unseen[:, i], i].astype(np.float64).mean(axis=0)
    return found


def test_groups_are_drawn_whole_so_the_score_is_honest():
    A, b, groups = twins()
    fitted = BaggingFusion(memory(), n_members=12, oob_score=True, random_state=0).fit(A, b, groups=groups)
    assert fitted.score(A, b) > 0.9
    assert abs(fitted.oob_score_ - 0.5) < 4 * np.sqrt(0.25 / 40)  # as many independent labels as groups
    unseen = np.array([[g not in bag for g in groups] for bag in _groups_of_bags(fitted, A, b, groups)])
    assert 0.2 < unseen.mean() < 0.55
    np.testing.assert_allclose(
        fitted.oob_decision_function_, means(fitted.predict_members(A), unseen), rtol=1e-5, atol=1e-7
    )


def _groups_of_bags(fitted, A, b, groups):
    return [set(groups[np.isin(Rows(A, b).marks, m.rows)].tolist()) for m in fitted.pool_]


def test_groups_out_of_bag_where_rows_were_drawn():
    A, b, groups = twins(n_groups=100, n_rows=2)
    bags = EnsembleClassifier(memory(), collect=Bootstrap(12), random_state=0).fit(A, b)
    with_twins, without = out_of_bag(bags, A, b), out_of_bag(bags, A, b, groups=[f"group {g}" for g in groups])
    assert with_twins.score > 0.8  # it knows the twins by heart
    assert abs(without.score - 0.5) < 4 * np.sqrt(0.25 / 100)
    unseen = np.array([[g not in bag for g in groups] for bag in _groups_of_bags(bags, A, b, groups)])
    np.testing.assert_array_equal(without.n_members, unseen.sum(axis=0))
    np.testing.assert_allclose(without.prediction, means(bags.predict_members(A), unseen), rtol=1e-5, atol=1e-7)


def test_groups_with_weights_and_rows_of_no_weight():
    A, b, groups = twins(n_groups=20, n_rows=4)
    weight = np.where(np.arange(80) % 5, 2, 0)
    fitted = BaggingFusion(net(), n_members=15, oob_score=True, random_state=0).fit(A, b, weight, groups)
    assert np.isnan(fitted.oob_decision_function_[weight == 0]).all()
    assert not np.isnan(fitted.oob_decision_function_[weight > 0]).any()
    with pytest.raises(ValueError, match="groups has 3 entries for 80 rows"):
        fitted.fit(A, b, groups=[0, 1, 2])


def test_inputs_that_were_trained_on_are_not_unseen():
    """Each input comes twice, with targets of its own: who was trained on one of the two has seen it."""
    rng = np.random.RandomState(0)
    A = np.repeat(rng.normal(size=(60, 4)).astype(np.float32), 2, axis=0)
    b = np.repeat(rng.normal(size=60), 2) + np.tile([-0.01, 0.01], 60)
    bags = EnsembleRegressor(mlp_regressor(max_epochs=2), collect=Bootstrap(15), random_state=0).fit(A, b)
    found = out_of_bag(bags, A, b)
    own = np.array([np.isin(Rows(A, b.astype(np.float32)[:, None]).marks, m.rows) for m in bags.pool_])
    pair = own.reshape(15, 60, 2).any(axis=2).repeat(2, axis=1)
    assert (pair != own).any()
    np.testing.assert_array_equal(found.n_members, (~pair).sum(axis=0))


def test_the_score_of_another_pool_does_not_stay():
    fitted = BaggingFusion(net(), n_members=12, oob_score=True, random_state=0).fit(X, y)
    assert hasattr(fitted, "oob_score_")
    fitted.fuse(Bootstrap(3).collect(net(), X, y, random_state=1), X, y)
    for name in ("oob_score_", "oob_decision_function_", "oob_prediction_"):
        assert not hasattr(fitted, name)
    assert len(fitted.pool_) == 3


def test_the_passes_of_a_network_with_dropout_are_one_member():
    pool = Bootstrap(12).collect(net(module__dropout=0.2), X, y, random_state=0)
    fitted = DropoutEnsembleClassifier(net(module__dropout=0.2), n_passes=3, random_state=0).fuse(pool, X, y)
    P = fitted.predict_members(X).reshape(12, 3, 150, 3).mean(axis=1)
    unseen = np.array([~np.isin(Rows(X, y).marks, m.rows) for m in pool])
    found = out_of_bag(fitted, X, y)
    np.testing.assert_array_equal(found.n_members, unseen.sum(axis=0))
    np.testing.assert_allclose(found.prediction, means(P, unseen), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_recipe_is_its_sentence(kind):
    given, data, sentence = (net(), (X, y), EnsembleClassifier) if kind == "classifier" else (
        mlp_regressor(max_epochs=4), (Z, t), EnsembleRegressor
    )  # fmt: skip
    params = {"max_samples": 0.5, "max_features": 3, "bootstrap": False}
    groups = np.arange(len(data[1])) // 3
    recipe = BaggingFusion(given, n_members=3, **params, random_state=5).fit(*data, groups=groups)
    whole = sentence(given, collect=Bootstrap(3, **params), random_state=5).fit(*data, groups=groups)
    np.testing.assert_array_equal(recipe.predict(data[0]), whole.predict(data[0]))
    assert [m.meta["columns"] for m in recipe.pool_] == [m.meta["columns"] for m in whole.pool_]


class _OnItsColumns:
    """A member as scikit-learn knows one: it is given its columns only."""

    def __init__(self, member, task):
        self.member, self.runner = member, Runner(member.net, task)
        self.classes_ = np.arange(3)

    def predict_proba(self, x):
        whole = np.full((len(x), self.member.meta["n"]), np.nan, np.float32)
        whole[:, self.member.meta["columns"]] = x
        return self.runner.predict(self.member.state, whole)

    def predict(self, x):
        return self.predict_proba(x)[:, 0]


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_the_means_of_scikit_learn(kind, monkeypatch):
    """The same members on the same rows and columns give scikit-learn's predictions, and its out-of-bag ones."""
    given, (A, b), task = (net(), (X, y), "classification") if kind == "classifier" else (
        mlp_regressor(max_epochs=4), (Z, t), "regression"
    )  # fmt: skip
    fitted = BaggingFusion(given, n_members=15, max_features=0.5, oob_score=True, random_state=0).fit(A, b)
    reference = (BaggingClassifier if kind == "classifier" else BaggingRegressor)(n_estimators=15, random_state=0)
    members = [m.replace(meta={**m.meta, "n": A.shape[1]}) for m in fitted.members_]
    reference.estimators_ = [_OnItsColumns(m, task) for m in members]
    reference.estimators_features_ = [np.array(m.meta["columns"]) for m in members]
    reference.n_features_in_ = reference._n_features = A.shape[1]
    reference.estimator_ = reference.estimators_[0]
    keys = Rows(A, b if kind == "classifier" else b.astype(np.float32)[:, None]).marks
    samples = [np.flatnonzero(np.isin(keys, m.rows)) for m in members]
    monkeypatch.setattr(type(reference), "estimators_samples_", property(lambda self: samples))
    if kind == "classifier":
        reference.classes_, reference.n_classes_ = fitted.classes_, 3
        np.testing.assert_allclose(fitted.predict_proba(A), reference.predict_proba(A), rtol=1e-5)
        reference._set_oob_score(A, b)
        np.testing.assert_allclose(fitted.oob_decision_function_, reference.oob_decision_function_, rtol=1e-5)
    else:
        np.testing.assert_allclose(fitted.predict(A), reference.predict(A), rtol=1e-5)
        reference._set_oob_score(A, b)
        np.testing.assert_allclose(fitted.oob_prediction_, reference.oob_prediction_, rtol=1e-5)
    assert fitted.oob_score_ == pytest.approx(reference.oob_score_, abs=1e-6)


def test_searches_over_columns_and_replacement():
    grid = {"max_features": [0.25, 1.0], "bootstrap": [True, False], "estimator__lr": [0.02]}
    search = GridSearchCV(BaggingFusion(net(), n_members=2, random_state=0), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    found = search.cv_results_["mean_test_score"]
    assert len({*found[:2]} ^ {*found[2:]}) > 1  # columns tell
    n = [len(m.meta.get("columns", range(4))) for m in search.best_estimator_.pool_]
    assert n == [4 * search.best_params_["max_features"]] * 2


def test_all_rows_for_all_have_nothing_out_of_bag(monkeypatch):
    monkeypatch.setattr(Bootstrap, "__call__", lambda *args, **params: pytest.fail("members were trained"))
    with pytest.raises(
        ValueError, match="oob_score=True needs rows.*all members are trained on all rows.*bootstrap at"
    ):
        BaggingFusion(net(), n_members=2, bootstrap=False, oob_score=True, random_state=0).fit(X, y)
