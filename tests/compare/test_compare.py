"""Comparisons: members are shared, numbers are those of plain cross-validation, failures are named."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import brier_score_loss, log_loss, make_scorer, mean_absolute_error
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfusion import (
    BoostingFusion,
    DeepForestClassifier,
    DistillClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    NeuralDecisionForestClassifier,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    TemporalEnsemblingClassifier,
    nets,
)
from skfusion.collect import Seeds, Tail
from skfusion.combine import Stack, Vote
from skfusion.compare import compare_fusions, expected_calibration_error
from skfusion.compare._table import half_width, warm_up
from skfusion.merge import Greedy, OneMemberWarning, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning
from skfusion.select import TopK

IRIS = load_iris(return_X_y=True)
IRIS[0][:] += np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike, so that folds are scikit-learn's own
NET = mlp_classifier(max_epochs=3, module__hidden=(8,))
DIABETES = load_diabetes(return_X_y=True)
VALUES = mlp_regressor(max_epochs=3, module__hidden=(8,))
TIMES = ["collect_seconds", "fuse_seconds", "predict_us_per_row"]


def ensemble(n=2, **params):
    return EnsembleClassifier(NET, collect=Seeds(n), **params)


def soup(n=2, **params):
    return SoupClassifier(NET, collect=Seeds(n), **params)


@pytest.fixture
def trainings(monkeypatch):
    """Count the networks that are trained, but for those of the first comparison in a process."""
    warm_up("cpu")
    rows, fit, fit_many = [], nets.fit, nets.fit_many

    def counted(net, data, *args, **kwargs):
        rows.append(len(data))
        return fit(net, data, *args, **kwargs)

    def counted_many(net, data, runs, watches):
        rows.extend(len(data) for _ in runs)
        return fit_many(net, data, runs, watches)

    monkeypatch.setattr(nets, "fit", counted)
    monkeypatch.setattr(nets, "fit_many", counted_many)
    return rows


def test_fusions_of_one_collector_train_each_fold_once(trainings):
    fusions = {
        "uniform": soup(3, merge=Uniform()),
        "greedy": soup(3),
        "average": ensemble(3),
        "vote": ensemble(3, combine=Vote()),
        "best": ensemble(3, select=TopK(1)),
    }
    table = compare_fusions(fusions, *IRIS, cv=2, random_state=0, hold_out=True)
    assert trainings == [60] * 2 * 3  # all hold out the same fifth of 75 rows
    assert table["n_members"].to_dict() == {"uniform": 1, "greedy": 1, "average": 3, "vote": 3, "best": 1}
    assert (table["n_collected"] == 3).all()
    assert table["collect_seconds"].nunique() <= len(table)
    assert table["collect_seconds"].min() > table["fuse_seconds"].min() > 0


def test_rows_are_held_out_where_a_fusion_asks_and_for_it_alone(trainings):
    fusions = {"uniform": soup(merge=Uniform()), "average": ensemble()}
    compare_fusions(fusions, *IRIS, cv=2, random_state=0)
    assert trainings == [75] * 2 * 2
    trainings.clear()
    compare_fusions({**fusions, "greedy": soup(), "same": soup()}, *IRIS, cv=2, random_state=0)
    assert trainings == ([75] * 2 + [60] * 2) * 2


def test_members_with_a_share_in_a_soup_are_counted_and_no_warning_tells_it(recwarn):
    fusions = {
        "uniform": soup(3, merge=Uniform()),
        "strict": soup(3, merge=Greedy(strict=True)),
        "average": ensemble(3),
    }
    table = compare_fusions({**fusions, "ridge": RidgeClassifier()}, *IRIS, cv=2, random_state=0, scoring="accuracy")
    folds = table.attrs["folds"].pivot(index="fold", columns="fusion", values="n_merged")
    assert folds["uniform"].tolist() == [3, 3]
    assert folds["strict"].isin([1, 2, 3]).all()
    assert folds["strict"].min() == 1
    assert folds[["average", "ridge"]].isna().all(axis=None)
    assert table.loc["strict", "n_merged"] == folds["strict"].mean()
    assert not [w for w in recwarn if issubclass(w.category, OneMemberWarning)]


def test_out_of_fold_members_are_counted_in_the_training_time(trainings):
    table = compare_fusions({"average": ensemble(), "stack": ensemble(combine=Stack(), cv=2)}, *IRIS, cv=2)
    assert len(trainings) == 2 * (2 + 2 * 2)
    assert table.loc["stack", "collect_seconds"] > 1.3 * table.loc["average", "collect_seconds"]


def test_pipelines_share_members_too(trainings):
    fusions = {name: make_pipeline(StandardScaler(), e) for name, e in {"soup": soup(), "average": ensemble()}.items()}
    others = {"bare": ensemble(), "alone": make_pipeline(ensemble())}
    table = compare_fusions({**fusions, **others}, *IRIS, cv=2, hold_out=True)
    assert len(trainings) == 2 * 2 * 2  # with and without scaling
    assert table.loc["bare", "accuracy_mean"] == table.loc["alone", "accuracy_mean"]
    assert not np.isnan(table["gain_over_best"]).any()


def test_scores_are_those_of_plain_cross_validation():
    X, y = IRIS
    fusions = {
        "ensemble": ensemble(3),
        "pipeline": make_pipeline(StandardScaler(), ensemble(3)),
        "ridge": RidgeClassifier(),
    }
    table = compare_fusions(fusions, X, y, cv=3, random_state=5)
    folds = table.attrs["folds"]
    splitter = StratifiedKFold(3, shuffle=True, random_state=5)
    for name, estimator in fusions.items():
        seeded = {k: 5 for k, v in estimator.get_params().items() if k.endswith("random_state") and v is None}
        plain = cross_val_score(estimator.set_params(**seeded), X, y, cv=splitter)
        found = folds.loc[folds["fusion"] == name, "accuracy"]
        np.testing.assert_allclose(found, plain, atol=1e-12)
        assert table.loc[name, "accuracy_mean"] == pytest.approx(plain.mean())
        assert table.loc[name, "accuracy_std"] == pytest.approx(plain.std(ddof=1))
        half = student.ppf(0.975, 2) * plain.std(ddof=1) * np.sqrt(1 / 3 + 50 / 100)
        assert table.loc[name, "accuracy_high"] - table.loc[name, "accuracy_mean"] == pytest.approx(half)
        assert table.loc[name, "accuracy_mean"] - table.loc[name, "accuracy_low"] == pytest.approx(half)


def test_gains_calibration_and_sizes_by_hand():
    X, y = IRIS
    table = compare_fusions({"ensemble": ensemble(3)}, X, y, cv=3, random_state=5)
    gains, losses, errors, distances = [], [], [], []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=5).split(X, y):
        fitted = ensemble(3, random_state=5).fit(X[train], y[train])
        singles = (fitted.predict_members(X[test]).argmax(axis=2) == y[test]).mean(axis=1)
        gains.append([fitted.score(X[test], y[test]) - singles.max(), fitted.score(X[test], y[test]) - singles.mean()])
        proba = fitted.predict_proba(X[test])
        losses.append(log_loss(y[test], proba))
        errors.append(expected_calibration_error(y[test], proba))
        distances.append(brier_score_loss(y[test], proba))
    row = table.loc["ensemble"]
    assert [row["gain_over_best"], row["gain_over_mean"]] == pytest.approx(np.mean(gains, axis=0))
    assert row["log_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert row["ece"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert row["brier"] == pytest.approx(np.mean(distances), rel=1e-5)
    # weights, biases, and the means and deviations of 4 inputs and 3 outputs
    assert row["n_parameters"] == 3 * (4 * 8 + 8 + 8 * 3 + 3 + 2 * (4 + 3))
    assert row["n_bytes"] == 4 * row["n_parameters"]


def test_a_single_network_gains_nothing():
    row = compare_fusions({"single": ensemble(1)}, *IRIS, cv=2).loc["single"]
    assert row["gain_over_best"] == row["gain_over_mean"] == 0.0


def test_the_number_of_processes_changes_nothing_but_times(untouched_rng):
    fusions = {"soup": soup(), "ensemble": ensemble(), "logistic": LogisticRegression(max_iter=500)}
    one = compare_fusions(fusions, *IRIS, cv=2, random_state=3)
    seen = []
    two = compare_fusions(fusions, *IRIS, cv=2, random_state=3, n_jobs=2, callback=lambda *done: seen.append(done))
    pd.testing.assert_frame_equal(one.drop(columns=TIMES), two.drop(columns=TIMES))
    pd.testing.assert_frame_equal(one.attrs["folds"].drop(columns=TIMES), two.attrs["folds"].drop(columns=TIMES))
    assert seen == [(name, fold) for fold in (0, 1) for name in fusions]


def test_what_is_fitted_as_a_whole_is_counted_too():
    small = mlp_classifier(max_epochs=2, module__hidden=(4,))
    fusions = {
        "distilled": DistillClassifier(small, teacher=LogisticRegression(max_iter=500)),
        "routed": NeuralDecisionForestClassifier(small, n_trees=1, depth=1),
        "forest": DeepForestClassifier(n_trees=2, max_levels=1, cv=2),
    }
    table = compare_fusions(fusions, *IRIS, cv=2, random_state=0)
    scaling, hidden = 2 * 4, 4 * 4 + 4
    assert table.loc["distilled", "n_parameters"] == scaling + hidden + 4 * 3 + 3 + 2 * 3
    assert table.loc["routed", "n_parameters"] > scaling + hidden
    assert np.isnan(table.loc["forest", "n_parameters"])
    assert (table["n_members"] == 1).all()
    assert table["n_merged"].isna().all()


def test_dropout_runs_as_many_networks_as_passes_and_has_a_single_of_its_own():
    dropped = mlp_classifier(max_epochs=3, module__hidden=(8,), module__dropout=0.5)
    fusions = {
        "plain": EnsembleClassifier(dropped, collect=Seeds(1)),
        "dropout": DropoutEnsembleClassifier(dropped, n_passes=4),
    }
    together = compare_fusions(fusions, *IRIS, cv=2, random_state=0)
    alone = compare_fusions({"dropout": fusions["dropout"]}, *IRIS, cv=2, random_state=0)
    assert together["n_members"].tolist() == [1, 4]
    assert together.loc["dropout", "n_parameters"] == together.loc["plain", "n_parameters"]
    assert together.loc["plain", "gain_over_best"] == 0
    names = ["gain_over_best", "gain_over_mean"]
    assert together.loc["dropout", names].tolist() == alone.loc["dropout", names].tolist()


def test_boosting_merges_no_networks():
    net = mlp_classifier(max_epochs=15, module__hidden=(8,), batch_size=16)
    row = compare_fusions({"boosting": BoostingFusion(net, n_members=2)}, *IRIS, cv=2, random_state=0).loc["boosting"]
    assert row["n_members"] > 1
    assert np.isnan(row["n_merged"])


def test_a_baseline_has_no_members():
    row = compare_fusions({"logistic": make_pipeline(StandardScaler(), LogisticRegression())}, *IRIS, cv=2).loc[
        "logistic"
    ]
    assert np.isnan(row["gain_over_best"])
    assert np.isnan(row["n_parameters"])
    assert (row["n_members"], row["n_collected"], row["fuse_seconds"]) == (1, 1, 0)
    assert row["log_loss"] > 0
    row = compare_fusions({"ridge": RidgeClassifier()}, *IRIS, cv=2).loc["ridge"]
    assert np.isnan(row["log_loss"])
    assert np.isnan(row["ece"])


def test_a_frozen_estimator_is_compared_as_it_is():
    frozen = FrozenEstimator(LogisticRegression(max_iter=1000).fit(*IRIS))
    found = compare_fusions({"frozen": frozen}, *IRIS, cv=2).attrs["folds"]
    accuracy = frozen.score(*IRIS)  # the folds are of one size
    assert found["accuracy"].mean() == pytest.approx(accuracy)


def test_what_is_known_of_the_comparison():
    table = compare_fusions([("a", ensemble(1)), ("b", soup(1))], *IRIS, cv=2, random_state=np.random.RandomState(0))
    assert table.index.name == "fusion"
    assert list(table.index) == ["a", "b"]
    assert table.attrs["n_rows"] == 150
    assert table.attrs["n_folds"] == 2
    assert isinstance(table.attrs["random_state"], int)
    assert "StratifiedKFold" in table.attrs["cv"]
    assert list(table.attrs["folds"]["fusion"]) == ["a", "b"] * 2


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("neg_log_loss", ["neg_log_loss"]),
        (["balanced_accuracy", "f1_macro"], ["balanced_accuracy", "f1_macro"]),
        ({"mine": "accuracy"}, ["mine"]),
        (lambda estimator, X, y: estimator.predict_proba(X).max(), ["score"]),
    ],
)
def test_scoring_is_that_of_cross_validate(scoring, names):
    table = compare_fusions({"soup": soup(1)}, *IRIS, cv=2, scoring=scoring)
    assert table.attrs["scores"] == names
    assert all(f"{name}_{what}" in table for name in names for what in ("mean", "std", "low", "high"))


def test_regression_of_several_targets():
    X, y = DIABETES
    fusions = {"soup": SoupRegressor(VALUES, collect=Tail(0.5), merge=Uniform()), "ridge": Ridge()}
    table = compare_fusions(fusions, X, np.stack([y, -y], axis=1), cv=KFold(2), scoring=["r2"])
    assert {"log_loss", "brier", "ece"} <= set(table)
    assert table[["log_loss", "brier", "ece"]].isna().all(axis=None)
    assert table["r2_mean"].notna().all()
    negative = make_scorer(mean_absolute_error, greater_is_better=False)
    flat = compare_fusions({"e": EnsembleRegressor(VALUES, collect=Seeds(2))}, X, y, cv=2, scoring=negative)
    assert flat.loc["e", "score_mean"] < 0


def test_labels_that_do_not_exclude_each_other():
    X, y = IRIS
    Y = np.stack([y == 0, y == 1], axis=1).astype(int)
    row = compare_fusions({"e": EnsembleClassifier(collect=Seeds(2))}, X, Y, cv=2, random_state=0).loc["e"]
    assert 0 < row["log_loss"] < 1
    assert 0 <= row["ece"] < 1
    assert 0 < row["brier"] < 0.25  # of labels that are one in three


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_probabilities_by_name_are_the_columns(n_classes):
    X, y = (part[: 50 * n_classes] for part in IRIS)
    groups = np.arange(len(y)) // 5
    scoring = ["neg_ece", "neg_brier_score", "neg_log_loss"]
    fusions = {
        "ensemble": ensemble(2),
        "soup": soup(2, scoring="neg_ece"),
        "logistic": LogisticRegression(max_iter=500),
    }
    table = compare_fusions(fusions, X, np.array(["b", "c", "a"])[y], cv=2, groups=groups, scoring=scoring)
    for name, column in zip(scoring, ["ece", "brier", "log_loss"], strict=True):
        np.testing.assert_allclose(table[f"{name}_mean"], -table[column], rtol=1e-4)
    assert (table["gain_over_best"].drop("logistic") < 1).all()


def test_random_labels_give_the_brier_score_and_error_of_chance():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(300, 4)).astype(np.float32), np.arange(300) % 3
    table = compare_fusions({"prior": DummyClassifier(), "ensemble": ensemble(2)}, X, y, cv=3, random_state=0)
    assert table.loc["prior", "brier"] == pytest.approx(2 / 3, abs=1e-3)
    assert table.loc["prior", "ece"] == pytest.approx(0, abs=0.01)
    assert table.loc["ensemble", "brier"] > 2 / 3 - 0.02
    accuracy = table.loc["ensemble", "accuracy_mean"]
    assert accuracy == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 300))


def test_frames_with_text_and_string_labels():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = X.assign(colour=np.where(X.index % 2, "red", "blue"))
    labels = y.map({0: "a", 1: "b", 2: "c"})
    prepare = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    table = compare_fusions(
        {"soup": make_pipeline(prepare, soup()), "e": make_pipeline(prepare, ensemble())}, X, labels, cv=2
    )
    assert table["accuracy_mean"].between(0, 1).all()
    assert table["ece"].notna().all()


def test_inputs_by_name_and_lists():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, left, right):
            return self.layer(torch.cat([left, right], 1))

    X, y = IRIS
    net = mlp_classifier(max_epochs=2).set_params(module=Two)
    named = {"left": X[:, :2], "right": X[:, 2:]}
    assert compare_fusions({"e": EnsembleClassifier(net, collect=Seeds(2))}, named, y.tolist(), cv=2).shape[0] == 1
    assert compare_fusions({"e": ensemble(1)}, X.tolist(), y.tolist(), cv=2).shape[0] == 1


def test_groups_are_tested_together():
    X, y = IRIS
    groups = np.arange(150) // 3
    seen = []

    def scorer(estimator, X_test, y_test):
        seen.append(X_test)
        return 0.0

    compare_fusions({"soup": soup(1)}, X, y, cv=3, groups=groups, scoring={"s": scorer})
    tests = [{tuple(row) for row in part} for part in seen[::2]]
    for group in np.unique(groups):
        rows = {tuple(row) for row in X[groups == group]}
        assert any(rows <= part for part in tests)


def test_a_class_that_a_training_part_lacks():
    X, y = IRIS
    table = compare_fusions({"e": ensemble(1), "v": ensemble(2, combine=Vote())}, X, y, cv=KFold(3))  # sorted by class
    assert (table["accuracy_mean"] == 0).all()
    assert np.isfinite(table["log_loss"]).all()


def test_a_given_pool_is_used_and_its_leakage_told(trainings):
    X, y = IRIS
    pool = ensemble(2, random_state=0).fit(X[::2], y[::2]).pool_
    trainings.clear()
    with pytest.warns(LeakageWarning, match="used to test the fusions"):
        table = compare_fusions({"given": SoupClassifier(collect=pool, merge=Uniform())}, X, y, cv=2)
    assert trainings == []
    assert table.loc["given", "n_collected"] == 2


@pytest.mark.parametrize(
    ("fusions", "error", "message"),
    [
        ({}, ValueError, "nothing to compare"),
        ([("a", soup()), ("a", ensemble())], ValueError, "its own name.*'a'"),
        ([soup()], TypeError, "pairs"),
        ({"a": SoupClassifier}, TypeError, "'a' must be a scikit-learn estimator"),
        ({"a": soup(), "b": Ridge()}, ValueError, "either classifiers or regressors"),
    ],
)
def test_what_cannot_be_compared(fusions, error, message):
    with pytest.raises(error, match=message):
        compare_fusions(fusions, *IRIS)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_failing_fusion_is_named(n_jobs):
    def refuse(estimator, X, y):
        raise ValueError("no score today")

    given = {"cv": 2, "scoring": refuse, "n_jobs": n_jobs, "error_score": "raise"}
    with pytest.raises(RuntimeError, match="Fusion 'bad' failed in fold [01]: ValueError: no score today"):
        compare_fusions({"bad": ensemble(1)}, *IRIS, **given)


@pytest.mark.parametrize(
    ("params", "message"),
    [({"cv": 1}, "at least 2 folds"), ({"scoring": []}, "scoring is empty"), ({"groups": [1, 2]}, "inconsistent")],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        compare_fusions({"e": ensemble(1)}, *IRIS, **params)


def test_rows_must_match():
    with pytest.raises(ValueError, match="X has 149 rows and y has 150"):
        compare_fusions({"e": ensemble(1)}, IRIS[0][1:], IRIS[1])


# ---- expected calibration error and intervals ----------------------------------------------


def literal_ece(y, proba, n_bins):
    total = 0.0
    for m in range(1, n_bins + 1):
        inside = [i for i, p in enumerate(proba) if (m - 1) / n_bins < max(p) <= m / n_bins]
        if inside:
            accuracy = np.mean([np.argmax(proba[i]) == y[i] for i in inside])
            confidence = np.mean([max(proba[i]) for i in inside])
            total += len(inside) / len(y) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("n_bins", [1, 2, 15])
def test_calibration_error_follows_its_formula(n_bins):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), 200)
    y = rng.integers(4, size=200)
    assert expected_calibration_error(y, proba, n_bins) == pytest.approx(literal_ece(y, proba, n_bins))


def test_calibration_error_of_the_extremes():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert expected_calibration_error([0, 1, 2, 0], sure) == 0
    assert expected_calibration_error([1, 2, 0, 1], sure) == 1
    assert expected_calibration_error([0, 1], [[0.5, 0.5]] * 2) == 0


@pytest.mark.parametrize(
    ("y", "proba", "n_bins", "message"),
    [
        ([0], [0.5], 15, "n_classes"),
        ([0, 1], [[0.5, 0.5]], 15, "shapes"),
        ([], np.empty((0, 2)), 15, "one row"),
        ([0], [[1, 0]], 0, "n_bins"),
    ],
)
def test_calibration_error_of_bad_input(y, proba, n_bins, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(y, proba, n_bins)


def test_an_interval_needs_two_folds():
    assert np.isnan(half_width(np.array([0.5]), 10, 5))
    wide = half_width(np.array([0.4, 0.6]), 1, 1)
    assert wide == pytest.approx(student.ppf(0.975, 1) * np.sqrt(1.5 * 0.02))


def test_the_interval_covers_the_truth():
    """95 of 100 intervals hold the mean where the scores correlate as much as the correction assumes."""
    rng = np.random.default_rng(0)
    k, share = 5, 0.25  # n_test / n_train of 5 folds
    rho = share / (1 + share)
    common = rng.normal(size=(4000, 1)) * np.sqrt(rho)
    scores = common + rng.normal(size=(4000, k)) * np.sqrt(1 - rho)
    held = [abs(s.mean()) <= half_width(s, 4, 1) for s in scores]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)  # 4 standard errors of 4000 draws


def test_a_stack_of_networks_is_a_fusion_too():
    stack = StackingFusion(mlp_classifier(max_epochs=2, module__hidden=(4,)), n_members=2, cv=2)
    table = compare_fusions({"stack": stack}, *load_iris(return_X_y=True), cv=2, random_state=0)
    assert table.loc["stack", ["n_members", "n_collected"]].tolist() == [2, 2]
    assert table.loc["stack", "n_parameters"] > 0
    assert np.isnan(table.loc["stack", "gain_over_best"])  # its members are fitted on codes of the classes


# ---- rows without labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [False, True])
def test_rows_without_labels_train_who_can_learn_from_them_and_test_nobody(words):
    X, y = IRIS
    names = np.array(["a", "b", "c"], dtype=object)[y] if words else y
    half = np.where(np.arange(150) % 2, names, -1)
    net = mlp_classifier(max_epochs=10, module__hidden=(8,))
    fusions = {"half": TemporalEnsemblingClassifier(net), "full": EnsembleClassifier(net, collect=Seeds(1))}
    table = compare_fusions(fusions, X, half, cv=3, random_state=0)
    assert (table.attrs["folds"]["n_test"] == 25).all()
    strata = np.where(np.arange(150) % 2, y, -1)
    expected = {"half": [], "full": []}
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, strata):
        tested = test[strata[test] != -1]
        known = train[strata[train] != -1]
        for name, rows, labels in [("half", train, strata), ("full", known, y)]:
            fitted = clone(fusions[name]).set_params(random_state=0).fit(X[rows], labels[rows])
            expected[name].append(fitted.score(X[tested], y[tested]))
    assert table["accuracy_mean"].to_dict() == pytest.approx({k: np.mean(v) for k, v in expected.items()})
    assert (table["log_loss"] < 1.2).all()


def test_those_that_learn_from_rows_without_labels_are_compared_where_all_have_one():
    net = mlp_classifier(max_epochs=3, module__hidden=(8,))
    table = compare_fusions({"half": TemporalEnsemblingClassifier(net)}, *IRIS, cv=2, random_state=0)
    assert (table.attrs["folds"]["n_test"] == 75).all()


def test_minus_one_is_a_class_where_nobody_learns_from_rows_without_labels():
    X, y = IRIS
    table = compare_fusions({"line": LogisticRegression(max_iter=500)}, X, y - 1, cv=2, random_state=0)
    assert (table.attrs["folds"]["n_test"] == 75).all()
