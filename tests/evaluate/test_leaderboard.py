"""The score of each member of a pool, with an interval."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.svm import LinearSVC
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor
from skfusion.collect import Hyper, Seeds
from skfusion.diagnose import leaderboard
from skfusion.evaluate._leaderboard import wilson
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.plots import LeaderboardDisplay
from skfusion.pool import LeakageWarning, Member, ModelPool


def net(**params):
    return mlp_classifier(module__hidden=(8,), max_epochs=8, lr=0.03, **params)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    y = np.array(["b", "c", "a"])[y]  # whose order is another one than that of the numbers
    X = (X - X.mean(0)) / X.std(0)
    pool = EnsembleClassifier(net(), collect=Seeds(3), random_state=0).fit(X[::2], y[::2]).pool_
    return pool, X[1::2], y[1::2]


def test_scores_are_those_of_the_members_and_the_best_is_first(iris):
    pool, X, y = iris
    table = pool.leaderboard(X, y, ["accuracy", "neg_log_loss"])
    assert table.attrs == {"scores": ["accuracy", "neg_log_loss"], "n_rows": 75}
    assert sorted(table.index) == sorted(pool.names)
    assert table["accuracy_mean"].is_monotonic_decreasing
    for name in pool.names:
        fitted = EnsembleClassifier(net()).fuse(pool[[name]], X, y)
        assert table["accuracy_mean"][name] == pytest.approx(accuracy_score(y, fitted.predict(X)))
        assert table["neg_log_loss_mean"][name] == pytest.approx(-log_loss(y, fitted.predict_proba(X)), rel=1e-5)
        for score in ("accuracy", "neg_log_loss"):
            low, middle, high = (table[f"{score}_{what}"][name] for what in ("low", "mean", "high"))
            assert low < middle <= high
    assert table["n_seen"].tolist() == [0, 0, 0] or table["n_seen"].max() <= 3  # equal flowers
    assert table.equals(leaderboard(pool, X, y, ["accuracy", "neg_log_loss"]))
    assert LeaderboardDisplay.from_frame(table).names == table.index.tolist()


def test_the_default_is_accuracy_or_r2(iris):
    pool, X, y = iris
    assert pool.leaderboard(X, y).columns[0] == "accuracy_mean"
    A, b = load_diabetes(return_X_y=True)
    values = EnsembleRegressor(
        mlp_regressor(module__hidden=(8,), max_epochs=20, lr=0.02), collect=Seeds(2), random_state=0
    ).fit(A[:300], b[:300])
    table = values.pool_.leaderboard(A[300:], b[300:])
    assert table.columns.tolist() == ["r2_mean", "r2_low", "r2_high", "n_seen"]
    for name in values.pool_.names:
        fitted = EnsembleRegressor(values.net_).fuse(values.pool_[[name]], A[300:], b[300:])
        assert table["r2_mean"][name] == pytest.approx(r2_score(b[300:], fitted.predict(A[300:])), abs=1e-6)


def test_labels_and_members_of_different_architecture():
    X, y = load_iris(return_X_y=True)
    Y = np.stack([y == 0, y > 0], axis=1).astype(int)
    of_labels = mlp_classifier(module__hidden=(4,), max_epochs=2, criterion=nn.BCEWithLogitsLoss)
    widths = Hyper([{"module__hidden": (4,)}, {"module__hidden": (5, 5)}])
    pool = EnsembleClassifier(of_labels, collect=widths, random_state=0).fit(X[::2], Y[::2]).pool_
    table = pool.leaderboard(X[1::2], Y[1::2], "f1_macro")
    assert table["f1_macro_mean"].between(0, 1).all()


def test_members_that_were_trained_on_the_rows_are_warned_of(iris):
    pool = iris[0]
    X, y = load_iris(return_X_y=True)
    X, y = (X - X.mean(0)) / X.std(0), np.array(["b", "c", "a"])[y]
    with pytest.warns(LeakageWarning, match="75 of the 75 rows used to score members"):
        table = pool.leaderboard(X[::2], y[::2])
    assert table["n_seen"].tolist() == [75] * 3


class Broken(ClassifierMixin, BaseEstimator):
    """Fails in prediction, or predicts NaN."""

    def __init__(self, nan=False):
        self.nan = nan

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        if self.nan:
            return np.full((len(X), len(self.classes_)), np.nan)
        raise RuntimeError("no such thing")

    def predict(self, X):
        return self.predict_proba(X)


def test_estimators_are_scored_beside_networks_and_members_that_fail_have_nan(iris):
    pool, X, y = iris
    logistic, svc = LogisticRegression().fit(X, y), LinearSVC().fit(X, y)
    members = [
        *pool,
        Member("logistic", estimator=logistic),
        Member("svc", estimator=svc),
        Member("broken", estimator=Broken().fit(X, y)),
        Member("nan", estimator=Broken(nan=True).fit(X, y)),
        Member("fewer classes", estimator=LogisticRegression().fit(X[y != "a"], y[y != "a"])),
    ]
    mixed = ModelPool(members, classes=pool.classes)
    with pytest.warns(
        UserWarning, match=r"have NaN\. 'broken': no such thing; 'nan': it predicts NaN or infinity for 75 of 75 rows"
    ):
        table = mixed.leaderboard(X, y)
    assert table["accuracy_mean"]["logistic"] == pytest.approx(logistic.score(X, y))
    assert table["accuracy_mean"]["svc"] == pytest.approx(svc.score(X, y))
    assert table["accuracy_mean"]["fewer classes"] == pytest.approx(members[-1].estimator.score(X, y))
    assert table.index[-2:].tolist() == ["broken", "nan"]
    assert table["accuracy_mean"].isna().sum() == 2
    assert table["n_seen"].isna().sum() == 5


def test_estimators_of_values():
    A, b = load_diabetes(return_X_y=True)
    pool = ModelPool([Member(f"ridge-{a}", estimator=Ridge(a).fit(A[:300], b[:300])) for a in (0.1, 1.0)])
    table = pool.leaderboard(A[300:], b[300:], ["neg_mean_absolute_error", "r2"])
    for member in pool:
        assert table["r2_mean"][member.name] == pytest.approx(member.estimator.score(A[300:], b[300:]))


def test_functions_are_scores_of_codes(iris):
    pool, X, y = iris

    def right(estimator, X, y):
        return float((estimator.predict(X) == y).mean())

    table = pool.leaderboard(X, y, [right, "accuracy"])
    assert np.allclose(table["right_mean"], table["accuracy_mean"])


def test_intervals_cover_the_score_on_other_rows():
    rng = np.random.RandomState(0)
    covered = {"accuracy": 0, "neg_log_loss": 0, "neg_brier_score": 0}
    X, y = rng.normal(size=(30_000, 2)), rng.randint(2, size=30_000)
    X[:, 0] += 1.2 * y
    fitted = LogisticRegression().fit(X[:200], y[:200])
    pool = ModelPool([Member("a", estimator=fitted)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truth = pool.leaderboard(X[10_000:], y[10_000:], [*covered]).iloc[0]
        for i in range(60):
            part = slice(200 + 90 * i, 290 + 90 * i)
            row = pool.leaderboard(X[part], y[part], [*covered]).iloc[0]
            for score in covered:
                covered[score] += row[f"{score}_low"] <= truth[f"{score}_mean"] <= row[f"{score}_high"]
    for score, n in covered.items():
        assert n >= 50, (score, n)  # of 57 expected, less four deviations


def test_copies_of_rows_do_not_make_a_score_surer():
    X, y = load_breast_cancer(return_X_y=True)
    pool = ModelPool([Member("a", estimator=LogisticRegression(max_iter=5000, C=1e-4).fit(X[:100], y[:100]))])
    once = pool.leaderboard(X[100:200], y[100:200], ["accuracy", "neg_log_loss"]).iloc[0]
    index = np.tile(np.arange(100, 200), 5)
    often = pool.leaderboard(X[index], y[index], ["accuracy", "neg_log_loss"]).iloc[0]
    for score in ("accuracy", "neg_log_loss"):
        widths = [row[f"{score}_high"] - row[f"{score}_low"] for row in (once, often)]
        assert widths[1] > 0.6 * widths[0]


def test_wilson_is_the_interval_of_the_textbook():
    low, high = wilson(0.8, 50)
    assert (low, high) == pytest.approx((0.6696, 0.8876), abs=1e-4)
    assert wilson(1.0, 20)[0] == pytest.approx(0.8389, abs=1e-4)
    assert wilson(0.0, 20)[0] == 0


def test_errors(iris, tmp_path):
    pool, X, y = iris
    with pytest.raises(ValueError, match="labels that members do not know: \\['z'\\]"):
        pool.leaderboard(X, np.where(np.arange(75) == 3, "z", y))
    with pytest.raises(ValueError, match="'precise' is not a valid scoring"):
        pool.leaderboard(X, y, "precise")
    with pytest.raises(ValueError, match="one or several different scores"):
        pool.leaderboard(X, y, ["accuracy", "accuracy"])
    with pytest.raises(ValueError, match="No member can be scored"):
        pool.leaderboard(X[:, :2], y)
    pool.save(tmp_path)
    read = ModelPool.load(tmp_path)
    with pytest.raises(ValueError, match="give estimator="):
        read.leaderboard(X, y)
    assert read.leaderboard(X, y, estimator=pool[0].net).index.tolist() == pool.leaderboard(X, y).index.tolist()
    mixed = ModelPool([Member("c", estimator=LogisticRegression().fit(X, y)), Member("r", estimator=Ridge().fit(X, X))])
    with pytest.raises(ValueError, match="Member 'c' is a classifier and 'r' is not"):
        mixed.leaderboard(X, y)
