"""Intervals and sets of classes around what members of any kind predict cover new targets as promised."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from skfusion import EnsembleClassifier, EnsembleRegressor, ModelPool
from skfusion.collect import Seeds
from skfusion.combine import DynamicSelection, EnsembleSelection
from skfusion.estimators.support._conformal import quantile
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning


def values(n, rng):
    X = rng.normal(size=(n, 3))
    return X, X[:, 0] + rng.standard_t(3, size=n) * (1 + np.abs(X[:, 1]))


def labels(n, rng):
    X = rng.normal(size=(n, 3))
    return X, (X[:, 0] + rng.normal(size=n) > 0).astype(int) + (X[:, 1] + rng.normal(size=n) > 0)


@pytest.fixture(scope="module")
def regressor():
    X, y = values(300, np.random.RandomState(0))
    networks = EnsembleRegressor(mlp_regressor(max_epochs=5), collect=Seeds(1), random_state=0).fit(X, y).pool_
    fitted = [Ridge().fit(X, y), RandomForestRegressor(5, random_state=0).fit(X, y)]
    pool = ModelPool([*networks, *ModelPool.from_estimators(fitted, X, y)])
    return EnsembleRegressor().fuse(pool, *values(20, np.random.RandomState(1)))


@pytest.fixture(scope="module")
def classifier():
    X, y = labels(300, np.random.RandomState(0))
    networks = EnsembleClassifier(mlp_classifier(max_epochs=5), collect=Seeds(1), random_state=0).fit(X, y).pool_
    fitted = [GaussianNB().fit(X, y), DecisionTreeClassifier(random_state=0).fit(X, y)]
    fitted.append(LogisticRegression().fit(X[y < 2], y[y < 2]))
    pool = ModelPool([*networks, *ModelPool.from_estimators(fitted, X, y)], classes=networks.classes)
    return EnsembleClassifier().fuse(pool, *labels(20, np.random.RandomState(1)))


def covered(kind, fitted, n, coverage, rng, **options):
    """Return for one draw of rows of calibration how many of 50 new targets are covered."""
    make = values if kind == "interval" else labels
    X, y = make(n + 50, rng)
    if kind == "interval":
        low, high = fitted.predict_interval(X[n:], X[:n], y[:n], coverage, **options)
        return int(((low <= y[n:]) & (y[n:] <= high)).sum())
    return int(fitted.predict_set(X[n:], X[:n], y[:n], coverage, **options)[np.arange(50), y[n:]].sum())


@pytest.mark.parametrize("kind", ["interval", "set"])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_new_targets_are_covered_at_least_as_often_as_asked(request, kind, coverage):
    fitted = request.getfixturevalue("regressor" if kind == "interval" else "classifier")
    rng = np.random.RandomState(3)
    one_each = sum(covered(kind, fitted, 29, coverage, rng) > rng.randint(50) for _ in range(300))
    # of each draw one new row is looked at, so that these are independent: a row drawn uniformly is covered
    assert one_each >= binom.ppf(1e-3, 300, coverage)
    if kind == "interval":  # of which the coverage is exact but for rounding the rank up: ceil(30 c) / 30
        assert one_each <= binom.ppf(1 - 1e-3, 300, math.ceil(30 * coverage) / 30)


@pytest.mark.parametrize("kind", ["interval", "set"])
def test_the_order_of_the_rows_of_calibration_does_not_matter(request, kind):
    fitted = request.getfixturevalue("regressor" if kind == "interval" else "classifier")
    X, y = (values if kind == "interval" else labels)(60, np.random.RandomState(2))
    ask = fitted.predict_interval if kind == "interval" else fitted.predict_set
    order = np.random.RandomState(0).permutation(60)
    np.testing.assert_allclose(ask(X, X[order], y[order]), ask(X, X, y), rtol=1e-9)


@pytest.mark.parametrize("kind", ["interval", "set"])
def test_weights_of_calibration_are_repetitions(request, kind):
    fitted = request.getfixturevalue("regressor" if kind == "interval" else "classifier")
    X, y = (values if kind == "interval" else labels)(60, np.random.RandomState(2))
    ask = fitted.predict_interval if kind == "interval" else fitted.predict_set
    weight = np.arange(60) % 4
    repeated = ask(X, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(ask(X, X, y, weight_calibration=weight), repeated, rtol=1e-9)
    with pytest.raises(ValueError, match=r"given, which weigh 6: at least 9"):
        ask(X, X, y, weight_calibration=np.full(60, 0.1))


def test_weights_correct_for_rows_that_are_more_frequent_among_new_ones():
    """Rows of calibration of a kind that is harder to predict are rare, and new ones are all of it."""
    rng, coverage, hits, n_draws = np.random.RandomState(0), 0.8, [0, 0], 200
    ridge = Ridge().fit([[0.0], [1.0]], [0.0, 0.0])
    ensemble = EnsembleRegressor().fuse(ModelPool.from_estimators([ridge]), [[0.0], [1.0]], [0.0, 0.0])
    for _ in range(n_draws):
        hard = rng.rand(200) < 0.2
        X, y = hard[:, None].astype(float), rng.normal(size=200) * np.where(hard, 5, 1)
        new = 5 * rng.normal()
        for k, weight in enumerate([None, hard.astype(float)]):
            low, high = ensemble.predict_interval([[1.0]], X, y, coverage, weight)
            hits[k] += low[0] <= new <= high[0]
    assert hits[0] < binom.ppf(1e-6, n_draws, coverage)
    assert hits[1] >= binom.ppf(1e-3, n_draws, coverage)


@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 0.5, 1.5, 3.0, 1.0, 1.0])])
def test_the_quantile_is_that_of_its_definition(weight):
    scores = np.array([0.3, -1.0, 2.0, 0.7, 0.1, 5.0, 0.2])
    w = np.ones(7) if weight is None else weight
    for coverage in (0.1, 0.5, 0.66, 0.8):
        candidates = [s for s in scores if w[scores <= s].sum() >= coverage * (w.sum() + 1) - 1e-9]
        assert quantile(scores, weight, coverage) == min(candidates)


# ---- sets of classes -----------------------------------------------------------------------------------------------


def test_a_set_has_the_probable_classes_and_is_never_empty(classifier):
    X, y = labels(200, np.random.RandomState(5))
    p = classifier.predict_proba(X)
    for coverage in (0.3, 0.6, 0.95):
        sets = classifier.predict_set(X, X[:80], y[:80], coverage)
        assert sets.dtype == bool
        assert sets[np.arange(200), p.argmax(axis=1)].all()
        ranked = np.sort(1 - p[np.arange(80), y[:80]])
        q = ranked[math.ceil(81 * coverage) - 1]
        expected = (1 - p <= q) | (p == p.max(axis=1, keepdims=True))
        assert (sets == expected).mean() > 0.99  # rounding of a row that lies on the bound
    sizes = [classifier.predict_set(X, X[:80], y[:80], c).sum() for c in (0.3, 0.6, 0.95)]
    assert sizes == sorted(sizes)


def test_classes_that_are_certain_need_no_others():
    X, y = labels(100, np.random.RandomState(5))
    y = np.array(["no", "perhaps", "yes"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    tree = DecisionTreeClassifier().fit(X, y)
    ensemble = EnsembleClassifier().fuse(ModelPool.from_estimators([tree]), X, y)
    sets = ensemble.predict_set(X, X, y)
    assert (sets.sum(axis=1) == 1).all()
    assert (ensemble.classes_[sets.argmax(axis=1)] == y).all()


def test_tables_with_text_have_sets():
    rng = np.random.RandomState(0)
    y = np.array(["a", "b"])[rng.randint(2, size=200)]
    X = pd.DataFrame({"text": np.where(rng.rand(200) < 0.9, y, "a")})
    encoded = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(X[:100], y[:100])
    pool = ModelPool.from_estimators([encoded, encoded])
    ensemble = EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, X[100:150], y[100:150])
    assert ensemble.predict_set(X[150:], X[150:], y[150:], 0.95).shape == (50, 2)  # without a warning


# ---- rows that are known, and bad input ----------------------------------------------------------------------------


def test_rows_that_members_or_the_combiner_know_are_warned_of(classifier, regressor):
    X, y = labels(300, np.random.RandomState(0))
    new, _ = labels(5, np.random.RandomState(9))
    with pytest.warns(LeakageWarning, match="300 of the 300 rows used to calibrate sets"):
        classifier.predict_set(new, X, y)
    with pytest.warns(LeakageWarning, match="300 of the 300 rows used to calibrate intervals"):
        regressor.predict_interval(new, *values(300, np.random.RandomState(0)))
    chosen, kept = labels(100, np.random.RandomState(7)), labels(100, np.random.RandomState(8))
    for combine in (EnsembleSelection(), DynamicSelection()):
        ensemble = EnsembleClassifier(combine=combine).fuse(classifier.pool_, *chosen)
        ensemble.predict_set(new, *kept)
        with pytest.warns(LeakageWarning, match="100 of the 100 rows .* by which members were chosen or weighed"):
            ensemble.predict_set(new, *chosen)


def test_bad_input(classifier):
    X, y = labels(50, np.random.RandomState(4))
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1; got 90"):
        classifier.predict_set(X, X, y, 90)
    with pytest.raises(ValueError, match="more than the 8 rows of calibration .* at least 9"):
        classifier.predict_set(X, X[:8], y[:8])
    with pytest.raises(ValueError, match=r"labels that are not among the classes \[0, 1, 2\]: \[7\]"):
        classifier.predict_set(X, X, np.full(50, 7))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.predict_set(X, X, y[:40])
    several = np.column_stack([y == 1, y == 2]).astype(int)
    tree = DecisionTreeClassifier(max_depth=2).fit(X, several)
    ensemble = EnsembleClassifier().fuse(ModelPool.from_estimators([tree]), X, several)
    with pytest.raises(ValueError, match="sets of classes are for one a row"):
        ensemble.predict_set(X, X, several)
