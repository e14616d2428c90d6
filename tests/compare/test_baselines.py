"""Baselines stand beside the fusions, and read inputs of every kind."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion.compare import compare_fusions
from skfusion.compare._baselines import NAMES, _columns, baselines_of
from skfusion.data import TableColumns

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
ONE = {"one": DummyClassifier()}


def fitted(name, X, y, classify=True):
    return clone(baselines_of(name, {}, X, y, classify)[name]).fit(X, y)


def test_they_are_below_the_fusions_and_score_what_they_score_alone():
    table = compare_fusions(ONE, X, y, baselines=True, cv=3, random_state=4)
    assert list(table.index) == ["one", "dummy", "linear", "boosting"]
    assert table.attrs["baselines"] == ["dummy", "linear", "boosting"]
    splits = StratifiedKFold(3, shuffle=True, random_state=4)
    models = {
        "dummy": DummyClassifier(strategy="prior"),
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosting": HistGradientBoostingClassifier(random_state=4),
    }
    for name, model in models.items():
        assert table.loc[name, "accuracy_mean"] == pytest.approx(cross_val_score(model, X, y, cv=splits).mean())
    assert table["log_loss"].notna().all()
    assert table.loc[list(NAMES), ["gain_over_best", "n_parameters"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("asked", "names"),
    [(None, []), (False, []), ([], []), ("all", [*NAMES]), ("linear", ["linear"]), (["boosting", "dummy"], None)],
)
def test_which_are_asked_for(asked, names):
    assert [*baselines_of(asked, {}, X, y, True)] == (["boosting", "dummy"] if names is None else names)


def test_names_that_a_fusion_has_are_told_apart():
    assert [*baselines_of(True, {"boosting": 0}, X, y, True)] == ["dummy", "linear", "boosting (baseline)"]
    with pytest.raises(ValueError, match=r"A fusion is called 'linear \(baseline\)'.*another name"):
        baselines_of("linear", {"linear": 0, "linear (baseline)": 0}, X, y, True)
    with pytest.raises(ValueError, match=r"no baseline 'forest'.*\['dummy', 'linear', 'boosting'\].*among the fusions"):
        compare_fusions(ONE, X, y, baselines=["forest"])


N = 90
RNG = np.random.RandomState(0)
WORDS = np.array(["red", "green", "blue"])[np.arange(N) % 3]
LABELS = np.arange(N) % 3 == 0
NOISE = RNG.randn(N, 2)
FRAME = pd.DataFrame(
    {
        "number": np.where(np.arange(N) % 7, NOISE[:, 0], np.nan),
        "word": pd.Series(WORDS, dtype=object).where(np.arange(N) % 11 != 0, None),
        "kind": pd.Categorical(WORDS),
        "truth": LABELS ^ (NOISE[:, 1] > 1),
        "day": pd.to_datetime("2020-01-01") + pd.to_timedelta(np.arange(N), unit="D"),
        "odd": pd.Series([1, "1", None] * (N // 3), dtype=object),
        "whole": pd.array([None, *range(N - 1)], dtype="Int64"),
        "nothing": np.nan,
    }
)
INPUTS = {
    "frame": FRAME,
    "twins": pd.concat([FRAME, FRAME], axis=1),  # whose names occur twice
    "objects": np.column_stack([NOISE.astype(object), WORDS]),
    "lists": np.column_stack([NOISE, LABELS]).tolist(),
    "gaps": np.column_stack([NOISE.astype(object), np.where(NOISE[:, 0] > 1, None, NOISE[:, 1]), LABELS]),
    "images": np.where(LABELS, 1.0, 0.0)[:, None, None, None] + 0.1 * RNG.randn(N, 1, 3, 3),
    "named": {"left": NOISE, "right": np.c_[LABELS].astype(float)},
    "sparse": csr_array(np.c_[NOISE, LABELS]),
}


@pytest.mark.parametrize("name", ["linear", "boosting"])
@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_every_kind_are_read(kind, name):
    inputs = INPUTS[kind]
    one = baselines_of("dummy", {}, inputs, LABELS, True)
    table = compare_fusions(one, inputs, LABELS, baselines=name, cv=3, random_state=0, error_score="raise")
    assert table.loc["dummy", "accuracy_mean"] == pytest.approx(2 / 3)
    assert table.loc[name, "accuracy_mean"] > 0.9  # all of them have a column that says the label


def test_columns_are_numbers_and_categories_where_those_of_a_portfolio_are():
    kinds = FRAME.assign(
        span=pd.to_timedelta(np.arange(N), unit="h"),
        maybe=pd.Series([True, False, None] * (N // 3), dtype=object),
        some=pd.Series([1, 2.5, None] * (N // 3), dtype=object),
        text=pd.Series(WORDS, dtype="string"),
    )
    columns = TableColumns.of(kinds)
    assert _columns(kinds) == ([*columns.numbers], [*columns.categories])
    assert {kinds.columns[i] for i in columns.categories} == {"word", "kind", "odd", "text"}
    for name in NAMES:
        assert np.isfinite(fitted(name, kinds, LABELS).predict_proba(kinds)).all()


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_a_category_that_training_rows_lack(name):
    model = fitted(name, FRAME, LABELS)
    new = FRAME.assign(word="violet", kind="violet", odd=2.5)
    assert np.isfinite(model.predict_proba(new)).all()
    many = pd.DataFrame({"id": [f"row {i}" for i in range(1000)]})
    assert fitted(name, many, np.arange(1000) % 2).score(many, np.arange(1000) % 2) < 0.7  # most are one category


def test_dates_are_days_wherever_a_fold_begins():
    days = pd.DataFrame({"day": pd.date_range("1999-12-31", periods=60, tz="Europe/Paris")})
    model = fitted("linear", days, np.arange(60.0), classify=False)
    assert model.predict(days.iloc[50:]) == pytest.approx(np.arange(50, 60), rel=0.1)


def test_targets_of_every_kind():
    D, t = load_diabetes(return_X_y=True)
    one = {"ridge": Ridge()}
    table = compare_fusions(one, D, t, baselines=True, cv=2, random_state=0)
    assert table.loc["linear", "r2_mean"] > 0.3
    assert table.loc["boosting", "r2_mean"] > 0.2
    assert table.loc["dummy", "r2_mean"] <= 0
    several = compare_fusions(one, D, np.c_[t, -t], baselines=True, cv=2, random_state=0, error_score="raise")
    assert several.loc["boosting", "r2_mean"] == pytest.approx(table.loc["boosting", "r2_mean"], abs=0.1)
    assert isinstance(baselines_of("dummy", {}, D, t, False)["dummy"][-1], DummyRegressor)
    labels = np.c_[y == 0, y > 1].astype(int)
    many = compare_fusions(ONE, X, labels, baselines=True, cv=3, random_state=0)
    assert many.loc["boosting", "accuracy_mean"] > 0.85
    assert many.loc[list(NAMES), "log_loss"].notna().all()


def test_a_rare_class_does_not_stop_gradient_boosting_early():
    rare = np.where(np.arange(12_000) < 4, 2, np.arange(12_000) % 2)
    model = baselines_of("boosting", {}, np.zeros((12_000, 1)), rare, True)["boosting"][-1]
    assert model.early_stopping is False
    frequent = baselines_of("boosting", {}, np.zeros((12_000, 1)), rare % 2, True)["boosting"][-1]
    assert frequent.early_stopping == "auto"


def test_what_is_handed_in_is_left_as_it_was():
    before = FRAME.copy()
    for name in NAMES:
        fitted(name, FRAME, LABELS).predict(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


def test_random_labels_give_chance():
    rng = np.random.RandomState(1)
    noise, labels = rng.randn(300, 4), rng.randint(2, size=300)
    table = compare_fusions(ONE, noise, labels, baselines=True, cv=3, random_state=0)
    assert (table["accuracy_mean"] - 0.5).abs().max() < 4 * 0.5 / np.sqrt(300)
    assert table.loc["boosting", "log_loss"] > np.log(2)
