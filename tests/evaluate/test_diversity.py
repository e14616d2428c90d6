"""How unlike the mistakes of members are, against counting them one row after another."""

import math
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion import CurveClassifier, DropoutEnsembleClassifier, EnsembleClassifier, EnsembleRegressor, ModelPool
from skfusion.collect import Bootstrap, Seeds
from skfusion.connect import Bezier
from skfusion.diagnose import diversity
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.plots import DiversityDisplay
from skfusion.pool import LeakageWarning
from skfusion.select import TopK

SMALL = {"module__hidden": (8,), "max_epochs": 4}


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    labels = np.array(["red", "rosé", "white"])[y]
    return X[::2], labels[::2], X[1::2], labels[1::2]


@pytest.fixture(scope="module")
def classifier(wine):
    net = mlp_classifier(**SMALL)
    return EnsembleClassifier(net, collect=Bootstrap(4), random_state=0).fit(*wine[:2])


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.fixture(scope="module")
def regressor(diabetes):
    net = mlp_regressor(**SMALL)
    return EnsembleRegressor(net, collect=Bootstrap(4), random_state=0).fit(*diabetes[:2])


@pytest.fixture(scope="module")
def multilabel():
    X, y = make_multilabel_classification(200, n_classes=3, random_state=0)
    net = mlp_classifier(multilabel=True, **SMALL)
    return EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(X[:100], y[:100]), X[100:], y[100:]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def counted(first, second, truth, weight):
    """Measures of two members' labels, row after row."""
    n = dict.fromkeys([(a, b) for a in (True, False) for b in (True, False)], 0.0)
    unlike = 0.0
    for a, b, y, w in zip(first, second, truth, weight, strict=True):
        n[a == y, b == y] += w
        unlike += w * (a != b)
    total = sum(n.values())
    right, left, neither = n[True, False], n[False, True], n[False, False]
    agreeing, opposing = n[True, True] * neither, right * left
    row_a, row_b = n[True, True] + right, n[True, True] + left
    spread = math.sqrt(row_a * (total - row_a) * row_b * (total - row_b))
    q = (agreeing - opposing) / (agreeing + opposing) if agreeing + opposing else math.nan
    rho = (agreeing - opposing) / spread if spread > 1e-12 else math.nan
    return unlike / total, neither / total, rho, q


@pytest.mark.parametrize("weighted", [False, True])
def test_mistakes_of_classifiers(classifier, wine, weighted):
    X, y = wine[2:]
    weight = np.random.default_rng(0).uniform(0, 2, len(y)) if weighted else np.ones(len(y))
    frame = diversity(classifier, X, y, sample_weight=weight if weighted else None)
    labels = [classifier.classes_[e.predict(X.astype(np.float32))] for e in classifier.estimators_]
    assert frame.index.tolist() == [*combinations([m.name for m in classifier.members_], 2)]
    columns = ["disagreement", "double_fault", "error_correlation", "q_statistic"]
    for (i, j), row in zip(combinations(range(4), 2), frame[columns].to_numpy(), strict=True):
        np.testing.assert_allclose(row, counted(labels[i], labels[j], y, weight), atol=1e-12)
    assert frame["disagreement"].min() > 0


def test_whole_weights_are_repetitions(classifier, wine):
    X, y = wine[2:]
    times = np.arange(len(y)) % 3
    frame = diversity(classifier, X, y, sample_weight=times)
    repeated = diversity(classifier, X.repeat(times, axis=0), y.repeat(times))
    np.testing.assert_allclose(frame, repeated, rtol=1e-5)  # more rows at once are rounded otherwise


def test_mistakes_of_labels(multilabel):
    ensemble, X, y = multilabel
    frame = diversity(ensemble, X, y)
    labels = (ensemble.predict_members(X) > 0.5).reshape(3, -1)
    columns = ["disagreement", "double_fault", "error_correlation", "q_statistic"]
    for (i, j), row in zip(combinations(range(3), 2), frame[columns].to_numpy(), strict=True):
        np.testing.assert_allclose(row, counted(labels[i], labels[j], y.ravel(), np.ones(y.size)), atol=1e-12)


def test_residuals_of_regressors(regressor, diabetes):
    X, y = diabetes[2:]
    frame = diversity(regressor, X, y)
    assert [*frame.columns] == ["error_correlation", "squared_difference"]
    P = regressor.predict_members(X)[:, :, 0].astype(np.float64)
    for (i, j), row in zip(combinations(range(4), 2), frame.to_numpy(), strict=True):
        assert row[0] == pytest.approx(np.corrcoef(P[i] - y, P[j] - y)[0, 1], rel=1e-9)
        assert row[1] == pytest.approx(np.mean((P[i] - P[j]) ** 2), rel=1e-12)


def test_residuals_of_several_outputs(diabetes):
    X, y, new, truth = diabetes
    ensemble = EnsembleRegressor(mlp_regressor(**SMALL), collect=Seeds(2), random_state=0)
    ensemble.fit(X, np.stack([y, y**2], axis=1))
    both = np.stack([truth, truth**2], axis=1)
    residuals = ensemble.predict_members(new).astype(np.float64) - both
    expected = np.mean([np.corrcoef(residuals[0, :, o], residuals[1, :, o])[0, 1] for o in range(2)])
    assert diversity(ensemble, new, both)["error_correlation"].item() == pytest.approx(expected, rel=1e-9)


def test_the_average_gains_the_ambiguity(classifier, regressor, multilabel, wine, diabetes):
    cases = ((classifier, *wine[2:]), (regressor, *diabetes[2:]), multilabel)
    for ensemble, X, y in cases:
        frame = diversity(ensemble, X, y)
        known = frame.attrs
        scale = known["mean_loss"]
        assert abs(known["mean_loss"] - known["ambiguity"] - known["ensemble_loss"]) < 1e-12 * scale
        assert known["ambiguity"] > 0
        n_members = len(ensemble.members_)
        assert known["ambiguity"] == pytest.approx(frame["squared_difference"].sum() / n_members**2, rel=1e-9)
        assert np.mean([*known["member_loss"].values()]) == pytest.approx(scale, rel=1e-12)
        assert known["n_rows"] == len(y)


def test_the_losses_are_those_of_the_predictions(classifier, regressor, wine, diabetes):
    known = diversity(classifier, *wine[2:]).attrs
    p = classifier.predict_proba(wine[2])
    truth = (wine[3][:, None] == classifier.classes_).astype(float)
    assert known["loss_name"] == "Brier score"
    assert known["ensemble_loss"] == pytest.approx(np.mean(((p - truth) ** 2).sum(axis=1)), rel=1e-5)
    known = diversity(regressor, *diabetes[2:]).attrs
    assert known["loss_name"] == "squared error"
    assert known["ensemble_loss"] == pytest.approx(
        np.mean((regressor.predict(diabetes[2]) - diabetes[3]) ** 2), rel=1e-5
    )


def test_a_pool_and_its_ensemble_say_the_same(classifier, wine):
    from_pool = diversity(classifier.pool_, *wine[2:])
    assert from_pool.equals(diversity(classifier, *wine[2:]))
    assert from_pool.equals(diversity(classifier.pool_, *wine[2:], estimator=mlp_classifier(**SMALL)))
    assert from_pool.equals(
        diversity(classifier.pool_, *wine[2:], estimator=EnsembleClassifier(mlp_classifier(**SMALL)))
    )


def test_members_of_unlike_architectures(wine):
    X, y, new, truth = wine
    nets = [mlp_classifier(**{**SMALL, "module__hidden": (width,)}) for width in (4, 8)]
    members = [EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y).pool_[0] for net in nets]
    pool = ModelPool([m.replace(name=n) for m, n in zip(members, "ab", strict=True)], classes=np.unique(y))
    assert len(diversity(pool, new, truth)) == 1


def test_points_of_a_curve(wine):
    net = mlp_classifier(**SMALL)
    curve = CurveClassifier(net, connect=Bezier(n_epochs=2), n_points=3, random_state=0).fit(*wine[:2])
    frame = diversity(curve, *wine[2:])
    assert len(frame) == 3
    assert frame.index[0] == (curve.members_[0].name, curve.members_[1].name)


def test_passes_of_one_network(wine):
    net = mlp_classifier(**{**SMALL, "module__dropout": 0.3})
    ensemble = DropoutEnsembleClassifier(net, random_state=0).fit(*wine[:2])
    frame = diversity(ensemble, *wine[2:])
    n_passes = len(ensemble.predict_members(wine[2]))
    assert len(frame) == n_passes * (n_passes - 1) / 2
    assert frame.index[0] == ("member-0", "member-1")
    assert frame["squared_difference"].median() > 0  # two passes may have one mask


def test_twins_have_no_diversity(classifier, wine):
    one = classifier.pool_[0]
    twins = classifier.pool_.replace([one, one.replace(name="twin")])
    frame = diversity(twins, *wine[2:])
    assert frame["disagreement"].item() == 0
    assert frame["squared_difference"].item() == 0
    assert frame["error_correlation"].item() == pytest.approx(1)
    assert frame["q_statistic"].item() == 1
    assert frame.attrs["ambiguity"] == 0


def test_what_is_undefined_is_nan(wine):
    X, y = wine[2:]
    ensemble = EnsembleClassifier(mlp_classifier(), collect=Seeds(2), random_state=0).fit(*wine[:2])
    right = ensemble.predict_members(X).argmax(axis=2) == np.unique(y, return_inverse=True)[1]
    rows = right.all(axis=0)
    frame = diversity(ensemble, X[rows], y[rows])
    assert frame["double_fault"].item() == 0
    assert frame[["error_correlation", "q_statistic"]].isna().all(axis=None)


def test_rows_that_members_know(classifier, wine):
    with pytest.warns(LeakageWarning, match="used to compare the mistakes of members"):
        diversity(classifier.pool_, *wine[:2])


def test_fitted_ensembles_tell_of_rows_that_their_members_know(classifier, multilabel, regressor, wine, diabetes):
    ensemble = multilabel[0]
    A, b = make_multilabel_classification(200, n_classes=3, random_state=0)
    cases = ((classifier, *wine[:2], 89), (regressor, *diabetes[:2], 221), (ensemble, A, b, 100))
    for fitted, known, target, n in cases:
        with pytest.warns(LeakageWarning, match=f"{n} of the {len(target)} rows used to compare the mistakes"):
            diversity(fitted, known, target)


def test_the_last_step_of_a_pipeline(classifier, wine):
    scaler = StandardScaler().fit(wine[0])
    fitted = EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2), random_state=0)
    fitted.fit(scaler.transform(wine[0]), wine[1])
    pipe = make_pipeline(StandardScaler(), clone(fitted)).fit(*wine[:2])
    frame = diversity(pipe, *wine[2:])
    assert frame.equals(diversity(fitted, scaler.transform(wine[2]), wine[3]))
    assert frame.equals(diversity(make_pipeline(fitted), scaler.transform(wine[2]), wine[3]))
    display = DiversityDisplay.from_estimator(pipe, *wine[2:])
    np.testing.assert_array_equal(display.matrix[0, 1], frame["disagreement"].item())
    with pytest.warns(LeakageWarning, match="89 of the 89 rows"):
        diversity(pipe, *wine[:2])
    with pytest.raises(TypeError, match="LogisticRegression has no predict_members"):
        diversity(make_pipeline(StandardScaler(), LogisticRegression()), *wine[2:])


@pytest.mark.parametrize("shift", [0.0, 0.1, 300.0])
def test_residuals_that_are_always_the_same_correlate_with_nothing(regressor, diabetes, shift):
    X, y = diabetes[2:]
    first = regressor.predict_members(X)[0, :, 0].astype(np.float64)
    frame = diversity(regressor, X, first + shift)
    names = [m.name for m in regressor.members_]
    alone = np.array([names[0] in pair for pair in frame.index])
    assert frame["error_correlation"].isna().tolist() == alone.tolist()
    noise = 1e-3 * np.random.default_rng(0).normal(size=len(y))  # small, but no rounding of predictions of some 150
    assert diversity(regressor, X, first + shift + noise)["error_correlation"].notna().all()


def test_bad_input(classifier, wine, regressor, diabetes):
    X, y = wine[2:]
    with pytest.raises(ValueError, match="A pair needs two members; there are 1"):
        diversity(classifier.pool_[:1], X, y)
    top = EnsembleClassifier(select=TopK(1)).fuse(classifier.pool_, *wine[2:])
    with pytest.raises(ValueError, match=r"there are 1\. The selector or combiner.*4 in its pool.*pool_.*estimator="):
        diversity(top, X, y)
    assert len(diversity(top.pool_, X, y, estimator=top)) == 6
    with pytest.raises(TypeError, match="LogisticRegression has no predict_members"):
        diversity(LogisticRegression(), X, y)
    with pytest.raises(ValueError, match="estimator= says how to run the members of a pool"):
        diversity(classifier, X, y, estimator=mlp_classifier())
    with pytest.raises(ValueError, match=r"not among the classes .*\['orange'\]"):
        diversity(classifier, X, np.where(y == "red", "orange", y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        diversity(classifier, X, y[:-1])
    with pytest.raises(ValueError, match="y has 2 outputs, and the members predict 1"):
        diversity(regressor, diabetes[2], np.stack([diabetes[3]] * 2, axis=1))
    with pytest.raises(ValueError, match="multilabel problem, and the members were trained for classification"):
        diversity(classifier, X, np.eye(3, dtype=int)[np.arange(len(y)) % 3] | 1)
    bare = ModelPool([m.replace(net=None) for m in classifier.pool_], classes=classifier.classes_)
    with pytest.raises(ValueError, match="The pool has no net"):
        diversity(bare, X, y)


def test_a_picture_of_it(classifier, wine):
    frame = diversity(classifier, *wine[2:])
    display = DiversityDisplay.from_estimator(classifier, *wine[2:])
    np.testing.assert_array_equal(display.matrix[np.triu_indices(4, 1)], frame["disagreement"])
    np.testing.assert_array_equal(np.diag(display.matrix), 0)
    assert display.plot() is display
    assert display.ax_.child_axes[0].get_ylabel() == "share of rows with unlike labels"
    title = display.ax_.get_title(loc="left")
    assert f"ambiguity {frame.attrs['ambiguity']:.3g}" in title
    assert title.startswith("Brier score")
    faults = DiversityDisplay.from_pool(classifier.pool_, *wine[2:], "double_fault")
    np.testing.assert_array_equal(faults.matrix[np.triu_indices(4, 1)], frame["double_fault"])
    assert np.isnan(np.diag(faults.matrix)).all()  # a member's own faults are no pair's


def test_a_picture_of_values(regressor, diabetes):
    display = DiversityDisplay.from_estimator(regressor, *diabetes[2:])
    assert display.label == "correlation of errors"
    np.testing.assert_array_equal(np.diag(display.matrix), 1)
    _, ax = plt.subplots()
    assert display.plot(ax).ax_ is ax


def test_a_picture_without_a_decomposition():
    display = DiversityDisplay([[0, 0.5], [0.5, 0]], ["a", "b"]).plot()
    assert display.ax_.get_title(loc="left") == ""


def test_a_picture_of_something_else(classifier, wine):
    frame = diversity(classifier, *wine[2:])
    with pytest.raises(ValueError, match="the column 'barrier'"):
        DiversityDisplay.from_frame(frame, "barrier")
    with pytest.raises(ValueError, match="an index of 1 levels"):
        DiversityDisplay.from_frame(frame.reset_index(drop=True))
    with pytest.raises(ValueError, match="for each of the 3 names"):
        DiversityDisplay(np.zeros((2, 2)), "abc")


# ---- members of any kind -------------------------------------------------------------------------------------------


def test_members_of_any_kind_are_compared(wine, classifier):
    X, y, new, truth = wine
    fitted = LogisticRegression(max_iter=10_000).fit(X, y)
    pool = ModelPool([*classifier.pool_, *ModelPool.from_estimators([("linear", fitted)], X, y)], classes=np.unique(y))
    frame = diversity(pool, new, truth)
    assert len(frame) == 10
    P = classifier.predict_members(new)[0].argmax(axis=1)
    expected = (np.unique(y)[P] != fitted.predict(new)).mean()
    assert frame.loc[(pool.names[0], "linear"), "disagreement"] == pytest.approx(expected)
    alone = ModelPool.from_estimators([("a", fitted), ("b", fitted)], X, y)
    assert diversity(alone, new, truth)["disagreement"].tolist() == [0.0]
    with pytest.warns(LeakageWarning, match="to compare the mistakes of members"):
        diversity(alone, X, y)
    assert DiversityDisplay.from_pool(pool, new, truth).matrix.shape == (5, 5)


def test_values_of_any_kind_are_compared(diabetes):
    X, y, new, truth = diabetes
    pool = ModelPool.from_estimators([("steep", Ridge(1e-3).fit(X, y)), ("flat", Ridge(1e3).fit(X, y))])
    frame = diversity(pool, new, truth)
    assert -1 <= frame["error_correlation"].item() <= 1
    assert frame.attrs["loss_name"] == "squared error"
