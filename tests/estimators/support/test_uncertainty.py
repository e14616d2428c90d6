"""How sure ensembles and curves are of what they predict."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification

from skfusion import (
    BoostingFusion,
    CurveClassifier,
    CurveRegressor,
    EnsembleClassifier,
    EnsembleRegressor,
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    SoupRegressor,
)
from skfusion.collect import Seeds
from skfusion.combine import (
    Average,
    Calibrated,
    DynamicSelection,
    DynamicWeighting,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)
from skfusion.connect import Bezier
from skfusion.estimators.support._uncertainty import Uncertain
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning

SMALL = {"module__hidden": (8,), "max_epochs": 4}


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def classifier(wine):
    return EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(3), random_state=0).fit(*wine)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[:200], y[:200], X[200:], y[200:]


@pytest.fixture(scope="module")
def regressor(diabetes):
    net = mlp_regressor(**SMALL)
    return EnsembleRegressor(net, collect=Seeds(3), random_state=0).fit(*diabetes[:2])


def entropy(p):
    return -sum(q * math.log(q) for q in p if q > 0)


def by_loops(P, weights):
    """Entropies of one sample after another, shape (n_samples, 3)."""
    rows = []
    for i in range(P.shape[1]):
        mean = [sum(w * P[k, i, c] for k, w in enumerate(weights)) for c in range(P.shape[2])]
        expected = sum(w * entropy(P[k, i]) for k, w in enumerate(weights))
        information = sum(
            w * P[k, i, c] * math.log(P[k, i, c] / mean[c])
            for k, w in enumerate(weights)
            for c in range(P.shape[2])
            if P[k, i, c] > 0
        )
        rows.append([entropy(mean), expected, information])
    return np.array(rows)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0]])
def test_entropy_is_that_of_the_members_and_of_their_disagreement(classifier, wine, weights):
    X, y = wine
    ensemble = EnsembleClassifier(combine=Average(weights)).fuse(classifier.pool_, X, y)
    found = ensemble.predict_uncertainty(X)
    assert [*found.columns] == ["entropy", "expected_entropy", "mutual_information"]
    shares = np.ones(3) / 3 if weights is None else np.array(weights) / sum(weights)
    P = ensemble.predict_members(X).astype(np.float64)
    np.testing.assert_allclose(found, by_loops(P, shares), rtol=0, atol=1e-12)
    apart = found["entropy"] - found["expected_entropy"] - found["mutual_information"]
    assert abs(apart).max() < 1e-12
    assert (found["mutual_information"] >= 0).all()
    assert found["mutual_information"].max() > 0.01
    assert (found["entropy"] <= math.log(3) + 1e-6).all()


def test_members_that_agree_know_nothing_of_each_other(classifier, wine):
    one = classifier.pool_[0]
    twins = classifier.pool_.replace([one, one.replace(name="twin")])
    found = EnsembleClassifier().fuse(twins, *wine).predict_uncertainty(wine[0])
    np.testing.assert_allclose(found["mutual_information"], 0, atol=1e-12)
    np.testing.assert_allclose(found["entropy"], found["expected_entropy"], atol=1e-12)


def test_inputs_far_from_the_data_are_told_by_mutual_information(wine):
    X, y = wine
    ensemble = EnsembleClassifier(mlp_classifier(), collect=Seeds(5), random_state=0).fit(X, y)
    center = X.mean(axis=0)
    far = center + 4 * (X[:, ::-1] - X[:, ::-1].mean(axis=0)) / X.std(axis=0)[::-1] * X.std(axis=0)
    near, away = ensemble.predict_uncertainty(X), ensemble.predict_uncertainty(far)
    assert away["mutual_information"].mean() > 3 * near["mutual_information"].mean()


def test_entropy_of_labels_is_a_sum(wine):
    X, y = make_multilabel_classification(120, n_classes=3, random_state=0)
    net = mlp_classifier(multilabel=True, **SMALL)
    ensemble = EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(X, y)
    P = ensemble.predict_members(X).astype(np.float64)
    each = [by_loops(np.stack([P[:, :, c], 1 - P[:, :, c]], axis=2), [0.5, 0.5]) for c in range(3)]
    np.testing.assert_allclose(ensemble.predict_uncertainty(X), sum(each), atol=1e-12)


def test_rows_keep_their_names(classifier, wine):
    frame = pd.DataFrame(wine[0], index=[f"bottle-{i}" for i in range(len(wine[0]))])
    assert [*classifier.predict_uncertainty(frame).index[:2]] == ["bottle-0", "bottle-1"]


@pytest.mark.parametrize("kind", [list, tuple], ids=["list", "tuple"])
def test_rows_without_names_are_numbered(classifier, wine, kind):
    found = classifier.predict_uncertainty(kind(map(kind, wine[0].tolist())))  # these have a method called index
    pd.testing.assert_frame_equal(found, classifier.predict_uncertainty(wine[0]))
    assert isinstance(found.index, pd.RangeIndex)


def unaware(pool):
    """The members without what they were trained on, so that combiners may learn from that here."""
    return pool.replace([m.replace(rows=None) for m in pool])


COMBINERS = {
    "average": Average(),
    "calibrated": Calibrated(),
    "calibrated-one": Calibrated(Average([1, 0, 0])),
    "calibrated-ensemble": Calibrated(of="ensemble"),
    "weighted": WeightedAverage(),
    "selection": EnsembleSelection(),
    "geometric": GeometricAverage(),
    "median": Median(),
    "vote": Vote(),
    "stack": Stack(),
    "dynamic": DynamicWeighting(),
    "dynamic-selection": DynamicSelection(),
    "vote-given": Vote([3, 0, 1]),
    "geometric-given": GeometricAverage([3, 0, 1]),
    "calibrated-stack": Calibrated(Stack()),
}


@pytest.mark.parametrize("name", COMBINERS)
def test_entropy_is_that_of_the_prediction(classifier, wine, name):
    X, y = wine
    ensemble = EnsembleClassifier(combine=COMBINERS[name]).fuse(unaware(classifier.pool_), X, y)
    found = ensemble.predict_uncertainty(X)
    np.testing.assert_allclose(found["entropy"], [entropy(p) for p in ensemble.predict_proba(X)], rtol=0, atol=1e-6)
    assert (found["mutual_information"] >= 0).all()
    if name in ("average", "calibrated", "calibrated-one", "weighted", "selection"):  # means of members
        apart = found["entropy"] - found["expected_entropy"] - found["mutual_information"]
        assert abs(apart).max() < 1e-12
    if name in (
        "calibrated-ensemble",
        "geometric",
        "median",
        "vote",
        "stack",
        "dynamic",
        "dynamic-selection",
    ):  # members count alike
        plain = classifier.predict_uncertainty(X)
        pd.testing.assert_frame_equal(found.iloc[:, 1:], plain.iloc[:, 1:])
        assert abs(found["entropy"] - plain["entropy"]).max() > 1e-3


class Nearly(Average):
    """Differs from the mean by much in two classes of the first row, and else by rounding."""

    def __call__(self, P):
        step = 4 * np.finfo(np.float32).eps
        return P.astype(np.float64).mean(axis=0) + np.array([[step, 0.01, -0.01 - step], [step, -step, 0]])


def test_the_entropy_of_a_row_is_that_of_one_prediction():
    class Members(Uncertain, ClassifierMixin, BaseEstimator):
        _task, combine_ = "classification", Nearly()

        def predict_members(self, X):
            return np.array([[[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]], [[0.3, 0.3, 0.4], [0.5, 0.2, 0.3]]], np.float32)

    P = Members().predict_members(None)
    combined, mean = Nearly()(P), P.astype(np.float64).mean(axis=0)
    found = Members().predict_uncertainty(np.zeros((2, 1)))["entropy"]
    np.testing.assert_allclose(found, [entropy(combined[0]), entropy(mean[1])], rtol=0, atol=1e-12)


def test_entropy_of_boosted_members_is_that_of_their_vote(wine):
    X, y = wine
    fitted = BoostingFusion(mlp_classifier(**SMALL), n_members=4, random_state=0).fit(X, y)
    found = fitted.predict_uncertainty(X)
    np.testing.assert_allclose(found["entropy"], [entropy(p) for p in fitted.predict_proba(X)], rtol=0, atol=1e-6)
    assert (found["mutual_information"] >= 0).all()


def test_calibrated_members_are_as_sure_as_they_are_combined(classifier, wine):
    X, y = wine
    ensemble = EnsembleClassifier(combine=Calibrated(Average([1, 2, 0]))).fuse(unaware(classifier.pool_), X, y)
    P = classifier.predict_members(X).astype(np.float64)
    z = np.log(P) / ensemble.combine_.temperatures_[:, None, None]
    scaled = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(ensemble.predict_uncertainty(X), by_loops(scaled, [1 / 3, 2 / 3, 0]), rtol=0, atol=1e-5)
    alone = EnsembleClassifier(combine=Calibrated(Average([1, 0, 0]))).fuse(unaware(classifier.pool_), X, y)
    assert (alone.predict_uncertainty(X)["mutual_information"] == 0).all()


def test_every_kind_has_its_own_methods():
    for kind in (EnsembleClassifier, SnapshotEnsembleClassifier, CurveClassifier):
        assert hasattr(kind(), "predict_uncertainty")
        assert not hasattr(kind(), "predict_std")
        assert not hasattr(kind(), "predict_interval")
    for kind in (EnsembleRegressor, SnapshotEnsembleRegressor, CurveRegressor):
        assert not hasattr(kind(), "predict_uncertainty")
        assert hasattr(kind(), "predict_std")
        assert hasattr(kind(), "predict_interval")
    assert not hasattr(SoupRegressor(), "predict_std")  # one network


def test_points_of_a_curve_are_members(wine, diabetes):
    options = {"connect": Bezier(n_epochs=2), "n_points": 3, "random_state": 0}
    curve = CurveClassifier(mlp_classifier(**SMALL), **options).fit(*wine)
    P = curve.predict_members(wine[0]).astype(np.float64)
    np.testing.assert_allclose(curve.predict_uncertainty(wine[0]), by_loops(P, [1 / 3] * 3), atol=1e-12)
    curve = CurveRegressor(mlp_regressor(**SMALL), **options).fit(*diabetes[:2])
    P = curve.predict_members(diabetes[2])[:, :, 0].astype(np.float64)
    np.testing.assert_allclose(curve.predict_std(diabetes[2]), P.std(axis=0), rtol=1e-12)


def test_standard_deviation_of_the_members(regressor, diabetes):
    X = diabetes[2]
    P = regressor.predict_members(X)[:, :, 0].astype(np.float64)
    np.testing.assert_allclose(regressor.predict_std(X), P.std(axis=0), rtol=1e-12)
    weighed = EnsembleRegressor(combine=Average([3, 1, 0])).fuse(regressor.pool_, X, diabetes[3])
    repeated = P[[0, 0, 0, 1]]
    np.testing.assert_allclose(weighed.predict_std(X), repeated.std(axis=0), rtol=1e-12)
    one = EnsembleRegressor().fuse(regressor.pool_[:1], X, diabetes[3])
    assert one.predict_std(X).tolist() == [0.0] * len(X)


def test_several_outputs(diabetes):
    X, y, new, _ = diabetes
    targets = np.stack([y, -2 * y], axis=1)
    ensemble = EnsembleRegressor(mlp_regressor(**SMALL), collect=Seeds(2), random_state=0).fit(X[:100], targets[:100])
    assert ensemble.predict_std(new).shape == (len(new), 2)
    low, high = ensemble.predict_interval(new, X[100:], targets[100:])
    assert low.shape == high.shape == (len(new), 2)
    with pytest.raises(ValueError, match="y_calibration has 1 outputs, but y had 2"):
        ensemble.predict_interval(new, X, y)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_an_interval_holds_just_the_rows_of_calibration_that_it_must(regressor, diabetes, coverage):
    X, y = diabetes[2:]
    low, high = regressor.predict_interval(X, X, y, coverage)
    inside = int(((low <= y) & (y <= high)).sum())
    np.testing.assert_allclose((low + high) / 2, regressor.predict(X), rtol=1e-6)
    # the last one lies on an end of its interval, and rounding decides on which side
    assert math.ceil((len(y) + 1) * coverage) - inside in (0, 1)


@pytest.mark.parametrize("n_members", [1, 3])
def test_intervals_cover_new_rows_as_promised(regressor, diabetes, n_members):
    X, y = diabetes[2:]
    ensemble = EnsembleRegressor().fuse(regressor.pool_[:n_members], X, y)
    rng = np.random.default_rng(0)
    n, coverage, covered, asked = 39, 0.8, 0, 0
    for _ in range(150):
        order = rng.permutation(len(y))
        known, new = order[:n], order[n:]
        low, high = ensemble.predict_interval(X[new], X[known], y[known], coverage)
        covered += ((low <= y[new]) & (y[new] <= high)).sum()
        asked += len(new)
    # on average ceil(40 * 0.8) / 40 = 0.8, whose standard error over 150 draws of 39 rows is about 0.006
    assert covered / asked == pytest.approx(0.8, abs=0.02)


def test_intervals_are_wide_where_members_disagree(regressor, diabetes):
    X, y = diabetes[2:]
    low, high = regressor.predict_interval(X, X, y, 0.9)
    widths, std = high - low, regressor.predict_std(X)
    np.testing.assert_allclose(np.ptp(widths - 2 * 1.6448536269514722 * std), 0, atol=1e-9)


def test_rows_of_calibration_that_members_know_are_told_of(regressor, diabetes):
    X, y, new, truth = diabetes
    with pytest.warns(LeakageWarning, match="200 of the 200 rows used to calibrate intervals"):
        regressor.predict_interval(new, X, y)
    some = np.concatenate([X[:30], new]), np.concatenate([y[:30], truth])
    with pytest.warns(LeakageWarning, match=f"30 of the {len(truth) + 30} rows"):
        regressor.predict_interval(new, *some)
    curve = CurveRegressor(mlp_regressor(**SMALL), connect=Bezier(n_epochs=1), n_points=3, random_state=0).fit(X, y)
    with pytest.warns(LeakageWarning, match="200 of the 200 rows"):
        curve.predict_interval(new, X, y)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1, 90])
def test_a_coverage_is_a_probability(regressor, diabetes, coverage):
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1"):
        regressor.predict_interval(diabetes[2], *diabetes[2:], coverage)


@pytest.mark.parametrize(("coverage", "enough"), [(0.9, 9), (0.99, 99), (0.5, 1), (0.95, 19)])
def test_a_high_coverage_takes_many_rows(regressor, diabetes, coverage, enough):
    X, y = diabetes[2:]
    regressor.predict_interval(X, X[:enough], y[:enough], coverage)
    if enough > 1:
        with pytest.raises(ValueError, match=f"more than the {enough - 1} rows .* at least {enough}"):
            regressor.predict_interval(X, X[: enough - 1], y[: enough - 1], coverage)
