"""Bagging and its out-of-bag predictions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import accuracy_score, log_loss, r2_score
from small_nets import small_nets

from skfusion import BaggingFusion, EnsembleClassifier, EnsembleRegressor, ModelPool, SoupClassifier, out_of_bag
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
Z, t = load_diabetes(return_X_y=True)
Z = Z.astype(np.float32)


net, regressor = small_nets(max_epochs=6, module__hidden=(8,), lr=0.02)


def by_hand(fitted, X, codes):
    """Out-of-bag means by a loop over rows and members."""
    P, keys = fitted.predict_members(X).astype(np.float64), Rows(X, codes).marks
    found = np.full(P.shape[1:], np.nan)
    for i in range(len(X)):
        others = [P[k, i] for k, m in enumerate(fitted.pool_) if keys[i] not in set(m.rows.tolist())]
        if others:
            found[i] = np.mean(others, axis=0)
    return found


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_recipe_is_its_sentence(kind):
    given, data, sentence = (net(), (X, y), EnsembleClassifier) if kind == "classifier" else (
        regressor(), (Z, t), EnsembleRegressor
    )  # fmt: skip
    recipe = BaggingFusion(given, n_members=3, max_samples=0.5, random_state=5).fit(*data)
    whole = sentence(given, collect=Bootstrap(3, max_samples=0.5), random_state=5).fit(*data)
    np.testing.assert_array_equal(recipe.predict(data[0]), whole.predict(data[0]))
    assert recipe.score(*data) == pytest.approx(whole.score(*data))
    assert hasattr(recipe, "predict_proba") == (kind == "classifier")


def test_members_that_did_not_see_a_row_predict_it():
    labels = np.array(["a", "b", "c"])[y]
    fitted = BaggingFusion(net(), n_members=12, oob_score=True, random_state=0).fit(X, labels)
    expected = by_hand(fitted, X, y)
    assert not np.isnan(expected).any()
    np.testing.assert_allclose(fitted.oob_decision_function_, expected, rtol=1e-5)
    assert fitted.oob_score_ == accuracy_score(labels, fitted.classes_[expected.argmax(axis=1)])
    assert not hasattr(fitted, "oob_prediction_")


def test_values_out_of_bag():
    fitted = BaggingFusion(regressor(), n_members=12, oob_score=True, random_state=0).fit(Z, t)
    expected = by_hand(fitted, Z, t.astype(np.float32)[:, None])[:, 0]
    np.testing.assert_allclose(fitted.oob_prediction_, expected, rtol=1e-5)
    assert fitted.oob_score_ == pytest.approx(r2_score(t, expected), abs=1e-6)
    two = BaggingFusion(regressor(), n_members=12, oob_score=True, random_state=0).fit(Z, np.column_stack([t, -t]))
    assert two.oob_prediction_.shape == (442, 2)


def test_the_mean_of_scikit_learn():
    """The same members on the same samples give scikit-learn's own out-of-bag predictions."""
    fitted = BaggingFusion(net(), n_members=12, oob_score=True, random_state=0).fit(X, y)
    keys = Rows(X, y).marks
    reference = BaggingClassifier(n_estimators=12, random_state=0)
    reference.estimators_ = fitted.estimators_
    reference.estimators_features_ = [np.arange(4)] * 12
    reference.classes_, reference.n_classes_ = fitted.classes_, 3
    samples = [np.flatnonzero(np.isin(keys, m.rows)) for m in fitted.pool_]
    type(reference).estimators_samples_ = property(lambda self: samples)
    try:
        reference._set_oob_score(X, y)
    finally:
        del type(reference).estimators_samples_
    np.testing.assert_allclose(fitted.oob_decision_function_, reference.oob_decision_function_, rtol=1e-5)
    assert fitted.oob_score_ == reference.oob_score_


def test_the_score_is_honest():
    """On labels that mean nothing, members know their own rows by heart, and the out-of-bag score knows nothing."""
    rng = np.random.RandomState(0)
    labels = rng.randint(2, size=300)
    noise = rng.normal(size=(300, 20)).astype(np.float32)
    memory = net(max_epochs=60, module__hidden=(64,), optimizer__weight_decay=0.0)
    fitted = BaggingFusion(memory, n_members=20, oob_score=True, random_state=0).fit(noise, labels)
    assert fitted.score(noise, labels) > 0.95
    assert abs(fitted.oob_score_ - 0.5) < 4 * np.sqrt(0.25 / 300)


def test_without_it_there_is_no_score():
    fitted = BaggingFusion(net(), n_members=8, oob_score=True, random_state=0)
    with pytest.warns(UserWarning, match="rows are in the samples of all 8 members.*Train more") as caught:
        fitted.fit(X, y)
    assert caught[0].filename == __file__
    missing = np.isnan(fitted.oob_decision_function_).any(axis=1)
    assert 0 < missing.sum() < 20
    right = fitted.oob_decision_function_[~missing].argmax(axis=1) == y[~missing]
    assert fitted.oob_score_ == pytest.approx(right.mean())
    fitted.set_params(oob_score=False).fit(X, y)
    assert not hasattr(fitted, "oob_score_")
    assert not hasattr(fitted, "oob_decision_function_")


@pytest.mark.parametrize(("kind", "by"), [("classifier", "inputs"), ("regressor", "inputs"), ("classifier", "groups")])
def test_rows_that_all_samples_know_are_told_and_the_fit_is_kept(kind, by):
    few = np.random.RandomState(0).randint(2, size=(300, 3)).astype(np.float32)  # all 8 inputs are in each sample
    A = few if by == "inputs" else np.random.RandomState(1).normal(size=(300, 3)).astype(np.float32)
    groups = None if by == "inputs" else np.zeros(300)
    given = net() if kind == "classifier" else regressor()
    targets = few[:, 0].astype(int) if kind == "classifier" else np.column_stack([few[:, 0], few[:, 1]])
    fitted = BaggingFusion(given, n_members=3, oob_score=True, random_state=0)
    with pytest.warns(UserWarning, match="300 rows are in the samples.*which is NaN as no row is left.*max_samples"):
        fitted.fit(A, targets, groups=groups)
    assert np.isnan(fitted.oob_score_)
    found = fitted.oob_decision_function_ if kind == "classifier" else fitted.oob_prediction_
    assert found.shape == (300, 2)
    assert np.isnan(found).all()
    assert len(fitted.predict(A)) == 300
    with pytest.raises(ValueError, match="or on one with its inputs or of its group.*few different inputs or groups"):
        out_of_bag(fitted, A, targets, groups=groups)


def test_weights_and_frames():
    weight = np.where(np.arange(150) % 5, 1, 0)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    fitted = BaggingFusion(net(), n_members=15, oob_score=True, random_state=0).fit(frame, y, sample_weight=weight)
    assert np.isnan(fitted.oob_decision_function_[weight == 0]).all()
    assert not np.isnan(fitted.oob_decision_function_[weight > 0]).any()
    plain = BaggingFusion(net(), n_members=15, oob_score=True, random_state=0).fit(X[weight > 0], y[weight > 0])
    assert fitted.oob_score_ == plain.oob_score_
    weighted = np.linspace(0.5, 1.5, 150)
    found = out_of_bag(fitted, frame, y, weighted)
    index = found.n_members > 0
    right = found.prediction[index].argmax(axis=1) == y[index]
    assert found.score == pytest.approx(np.average(right, weights=weighted[index]))


def test_other_ensembles_pools_and_scores():
    fitted = EnsembleClassifier(net(), collect=Bootstrap(20), random_state=0).fit(X, y)
    found = out_of_bag(fitted, X, y, scoring="neg_log_loss")
    assert found.score == pytest.approx(-log_loss(y, by_hand(fitted, X, y)), rel=1e-5)
    assert found.n_members.sum() == sum(150 - len(m.rows) for m in fitted.pool_)
    again = out_of_bag(fitted.pool_, X, y)
    np.testing.assert_array_equal(again.prediction, found.prediction)
    pool = Bootstrap(12).collect(regressor(), Z, t, random_state=0)
    assert out_of_bag(pool, Z, t).prediction.shape == (442, 1)
    few = X[y > 0], y[y > 0]
    np.testing.assert_array_equal(out_of_bag(fitted, *few).prediction, found.prediction[y > 0])  # classes are fit's


def test_several_labels_a_row():
    A, labels = make_multilabel_classification(n_samples=120, n_classes=3, random_state=0)
    fitted = BaggingFusion(net(multilabel=True), n_members=20, oob_score=True, random_state=0).fit(A, labels)
    assert fitted.oob_decision_function_.shape == (120, 3)
    assert fitted.oob_score_ == accuracy_score(labels, fitted.oob_decision_function_ > 0.5)


def test_a_class_that_samples_miss():
    rare = np.where(np.arange(150) == 0, 2, y % 2)
    fitted = BaggingFusion(net(), n_members=12, oob_score=True, random_state=0).fit(X, rare)
    missed = [m for m in fitted.pool_ if not np.isin(Rows(X, rare).marks[0], m.rows)]
    assert missed
    assert fitted.oob_decision_function_.shape == (150, 3)
    assert not np.isnan(fitted.oob_decision_function_[0]).any()


def test_what_cannot_be_predicted_out_of_bag(tmp_path):
    seeds = EnsembleClassifier(net(), collect=Seeds(2), random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="Every member was trained on every row.*Bootstrap"):
        out_of_bag(seeds, X, y)
    with pytest.raises(TypeError, match="out_of_bag needs a fitted ensemble"):
        out_of_bag(SoupClassifier(net(), collect=Seeds(1), random_state=0).fit(X, y), X, y)
    bags = EnsembleClassifier(net(), collect=Bootstrap(2), random_state=0).fit(X, y)
    forgot = bags.pool_.replace([m.replace(rows=None) for m in bags.pool_])
    with pytest.raises(ValueError, match="unknown what member 'bag-0' was trained on"):
        out_of_bag(forgot, X, y)
    bags.pool_.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    with pytest.raises(ValueError, match="The pool has no net"):
        out_of_bag(loaded, X, y)
    fused = EnsembleClassifier(net()).fuse(loaded, X, y)
    np.testing.assert_allclose(out_of_bag(fused, X, y).prediction, out_of_bag(bags, X, y).prediction, atol=1e-6)


def test_more_members_vary_less():
    """The variance of the mean of B members is rho s2 + (1 - rho) s2 / B: it falls with B, to a floor above zero."""
    rng = np.random.RandomState(0)
    A = rng.uniform(-1, 1, size=(60, 1)).astype(np.float32)
    grid = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    found = {1: [], 8: []}
    for _ in range(12):
        b = np.sin(4 * A[:, 0]) + rng.normal(size=60)
        fitted = BaggingFusion(regressor(max_epochs=20), n_members=8, random_state=0).fit(A, b)
        members = fitted.predict_members(grid)[:, :, 0]
        found[1].append(members[0])
        found[8].append(members.mean(axis=0))
    one, eight = (np.var(found[n], axis=0).mean() for n in (1, 8))
    assert one / 8 < eight < 0.8 * one
