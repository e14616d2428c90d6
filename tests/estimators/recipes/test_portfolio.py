"""Portfolios on tables of mixed columns, and how they were chosen."""

import importlib.util
import json
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold
from sklearn.utils.class_weight import compute_sample_weight

from skfusion import EnsembleClassifier, EnsembleRegressor, PortfolioClassifier, PortfolioRegressor, portfolio
from skfusion.combine import Average
from skfusion.data import TableColumns
from skfusion.estimators.recipes import _portfolio
from skfusion.estimators.recipes._portfolio_members import CONFIGURATIONS, Builder
from skfusion.estimators.support._named_members import prepared

FOLDER = Path(__file__).parents[3] / "benchmarks"
spec = importlib.util.spec_from_file_location("portfolio_script", FOLDER / "portfolio.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

RNG = np.random.RandomState(0)
N = 120
SIZE = RNG.normal(size=N)
TABLE = pd.DataFrame(
    {
        "size": np.where(np.arange(N) % 7, SIZE, np.nan),
        "count": pd.array([None if i % 11 == 0 else i % 5 for i in range(N)], dtype="Int64"),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.randint(0, 300, N), unit="D"),
        "colour": pd.Categorical(np.where(SIZE > 0.3, "red", RNG.choice(["green", "blue"], N))),
        "mixed": [None if i % 13 == 0 else "a" if i % 3 else 1 for i in range(N)],
        "missing": np.full(N, np.nan),
        "constant": 3,
        "flag": SIZE > 0,
        "id": [f"row {i}" for i in range(N)],
    }
)
LABELS = np.where(SIZE + RNG.normal(size=N) / 3 > 0, "yes", "no")
VALUES = 3 * SIZE + RNG.normal(size=N) / 3
TREES = ("boosting-small", "extra-trees", "linear")


@pytest.fixture
def trees(monkeypatch):
    """Let portfolios have members that are fast."""
    monkeypatch.setattr(_portfolio, "PORTFOLIO", TREES)


# ---- columns -----------------------------------------------------------------------------------------------------


def test_columns_are_numbers_or_categories():
    columns = TableColumns.of(TABLE)
    assert [TABLE.columns[j] for j in columns.categories] == ["colour", "mixed", "id"]
    assert [*columns.numbers] == [j for j in range(TABLE.shape[1]) if j not in columns.categories]
    objects = np.array([[1, "a", True], [2.5, "b", None]], dtype=object)
    assert TableColumns.of(objects) == TableColumns((0, 2), (1,))
    assert TableColumns.of(np.zeros((2, 2))) == TableColumns((0, 1), ())
    assert TableColumns.of(np.array([["a", "b"]])) == TableColumns((), (0, 1))


def test_codes_stand_before_numbers():
    codes = TableColumns.of(TABLE).coded(impute=False).fit(TABLE)
    found = codes.transform(TABLE)
    assert found.shape == (N, 9)
    assert set(found[:, 0]) == {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(found[:, 1] == -1, TABLE["mixed"].isna())
    np.testing.assert_array_equal(found[:, 3], TABLE["size"])
    assert (found[:, 6] == 0).all()  # nothing is known of it
    assert found[:, 5].min() > 18_000  # days since 1970
    other = TABLE.assign(colour="violet", mixed=2.5)
    assert (codes.transform(other)[:, :2] == -1).all()


def test_imputed_tables_are_finite():
    columns = TableColumns.of(TABLE)
    for made in (columns.coded(impute=True), columns.indicated(), columns.indicated(n_knots=4)):
        assert np.isfinite(made.fit(TABLE[:80]).transform(TABLE)).all()


def test_ten_thousand_categories_are_few_columns():
    many = pd.DataFrame({"name": [f"n{i}" for i in range(10_000)] + ["often"] * 50, "x": 0.0})
    columns = TableColumns.of(many)
    assert columns.coded(impute=True).fit_transform(many)[:, 0].max() < 255
    assert columns.indicated().fit_transform(many).shape[1] < 40


def test_infinite_values_are_named():
    with pytest.raises(ValueError, match=r"Column 'size' of X holds infinite values"):
        PortfolioRegressor(n_members=1, cv=2).fit(TABLE.assign(size=np.inf), VALUES)


# ---- weights of classes ------------------------------------------------------------------------------------------

RARE = np.where(SIZE + np.random.RandomState(1).normal(size=N) / 2 > 1.2, "rare", "often")


@pytest.mark.parametrize("name", TREES)
def test_rows_of_classes_count_as_with_such_weights_of_rows(monkeypatch, name):
    monkeypatch.setattr(_portfolio, "PORTFOLIO", (name,))
    settings = {"combine": Average(), "cv": 2, "random_state": 0}
    by_class = PortfolioClassifier(class_weight="balanced", **settings).fit(TABLE, RARE)
    by_row = PortfolioClassifier(**settings).fit(TABLE, RARE, sample_weight=compute_sample_weight("balanced", RARE))
    np.testing.assert_allclose(by_class.predict_proba(TABLE), by_row.predict_proba(TABLE), rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "boosting-short", "net-slow", "nets-small", "net-swa"])
def test_a_rare_class_that_counts_for_much_is_predicted(monkeypatch, name):
    monkeypatch.setattr(_portfolio, "PORTFOLIO", (name,))
    settings = {"combine": Average(), "cv": 2, "random_state": 0}
    assert (PortfolioClassifier(**settings).fit(TABLE, RARE).predict(TABLE) == "rare").mean() < 0.3
    weighted = PortfolioClassifier(class_weight={"rare": 1e4, "often": 1e-4}, **settings).fit(TABLE, RARE)
    assert (weighted.predict(TABLE) == "rare").mean() > 0.8


def test_labels_that_weights_name_are_those_of_y(trees):
    with pytest.raises(ValueError, match=r"class_weight names labels that y does not have: \['rarely'\]"):
        PortfolioClassifier(class_weight={"rarely": 9.0}).fit(TABLE, RARE)
    more = {"rare": 9.0, "often": 1.0, "never": 5.0}  # as a fold of cross-validation may lack one
    assert PortfolioClassifier(class_weight=more, n_members=1, cv=2).fit(TABLE, RARE).classes_.tolist() == [
        "often",
        "rare",
    ]
    assert "class_weight" not in PortfolioRegressor().get_params()


# ---- members -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("classify", [True, False])
def test_every_configuration_takes_the_table(name, classify):
    member = CONFIGURATIONS[name](Builder(classify, TableColumns.of(TABLE)))
    few = {k: 2 for k in member.get_params() if k.endswith(("__max_epochs", "__n_estimators", "__max_iter"))}
    few |= {k: 200 for k in few if "logistic" in k}
    member = prepared(member.set_params(**few), 0, EnsembleClassifier if classify else EnsembleRegressor)
    fitted = member.fit(TABLE[:90], LABELS[:90] if classify else VALUES[:90])
    new = TABLE[90:].assign(colour="violet")
    assert np.isfinite(fitted.predict_proba(new) if classify else fitted.predict(new)).all()


def test_members_are_chosen_configurations():
    names = [name for name, _ in portfolio(TABLE, "regression")]
    assert tuple(names) == _portfolio.PORTFOLIO
    assert len(names) == len(set(names)) >= 8
    assert set(names) <= set(CONFIGURATIONS)


def test_the_order_is_that_of_the_script():
    kept = json.loads((FOLDER / "portfolio.json").read_text())
    assert tuple(kept["order"]) == _portfolio.PORTFOLIO
    errors = [list(fit["errors"].values()) for fit in kept["fits"].values()]
    names = [*next(iter(kept["fits"].values()))["errors"]]
    order, costs = script.greedy(len(names), script.mean_best_rank(errors), 12)
    assert [names[i] for i in order] == kept["order_by_ranks"]
    np.testing.assert_allclose(costs, kept["mean_best_ranks"], atol=1e-4)


# ---- estimators --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("trees")
def test_a_table_as_it_comes():
    fitted = PortfolioClassifier(cv=3, random_state=0).fit(TABLE[:90], LABELS[:90])
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.score(TABLE[90:], LABELS[90:]) > 0.7
    assert list(fitted.member_weights_) == list(TREES)
    assert sum(fitted.member_weights_.values()) == pytest.approx(1)
    again = clone(fitted).fit(TABLE[:90], LABELS[:90])
    np.testing.assert_array_equal(again.predict_proba(TABLE), fitted.predict_proba(TABLE))
    values = PortfolioRegressor(cv=3, random_state=0).fit(TABLE[:90], VALUES[:90])
    assert values.score(TABLE[90:], VALUES[90:]) > 0.5


def test_a_net_in_the_portfolio(monkeypatch):
    monkeypatch.setattr(_portfolio, "PORTFOLIO", ("net-stopped", "linear"))
    fitted = PortfolioClassifier(cv=2, combine=Average(), random_state=0).fit(TABLE[:90], LABELS[:90])
    assert list(fitted.named_estimators_) == ["net-stopped", "linear"]
    assert fitted.score(TABLE[90:], LABELS[90:]) > 0.7


@pytest.mark.usefixtures("trees")
def test_fractional_weights_and_groups():
    groups, weight = np.arange(N) // 4, RNG.uniform(0.5, 2, N)
    fitted = PortfolioRegressor(n_members=2, cv=3, random_state=0).fit(TABLE, VALUES, weight, groups)
    assert fitted.left_out_ == {}
    assert fitted.score(TABLE, VALUES) > 0.5


@pytest.mark.usefixtures("trees")
def test_time_limit():
    stack = PortfolioClassifier(cv=2, time_limit=1e-6, random_state=0)
    with pytest.warns(UserWarning, match="1 of 3 members were finished"):
        stack.fit(TABLE, LABELS)
    assert stack.left_out_ == dict.fromkeys(TREES[1:], "time_limit")


@pytest.mark.usefixtures("trees")
def test_random_labels_give_chance():
    rng = np.random.RandomState(1)
    X, y = rng.normal(size=(400, 5)), rng.randint(2, size=400)
    fitted = PortfolioClassifier(cv=KFold(4), random_state=0).fit(X[:200], y[:200])
    proba = fitted.predict_proba(X[200:])
    assert np.log(2) - 0.05 < log_loss(y[200:], proba) < np.log(2) + 0.25
    assert abs((proba.argmax(axis=1) == y[200:]).mean() - 0.5) < 0.12


@pytest.mark.usefixtures("trees")
def test_classes_of_few_rows():
    y = np.where(np.arange(N) < 2, "rare", LABELS)
    fitted = PortfolioClassifier(cv=2, random_state=0).fit(TABLE, y)
    assert fitted.predict_proba(TABLE).shape == (N, 3)


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (
            scipy.sparse.csr_array(np.eye(30)),
            np.arange(30) % 2,
            TypeError,
            "Sparse input is not supported",
        ),
        ({"a": np.zeros(30)}, np.arange(30) % 2, TypeError, "A portfolio takes tables"),
        (np.zeros((30, 2, 2)), np.arange(30) % 2, ValueError, "two axes; got X of shape"),
        (load_iris().data[:30], np.eye(30, 3, dtype=int), ValueError, "predicts one target, and y has 3 columns"),
    ],
)
def test_inputs_that_are_no_tables(X, y, error, message):
    with pytest.raises(error, match=message):
        PortfolioClassifier(cv=2).fit(X, y)


def test_bad_parameters():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="n_members must be at least 1"):
        PortfolioRegressor(n_members=0).fit(X, y)
    with pytest.raises(ValueError, match="predicts one target"):
        PortfolioRegressor(n_members=1).fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="task must be"):
        portfolio(X, "multilabel")


# ---- the greedy choice -------------------------------------------------------------------------------------------


def by_hand(errors, chosen):
    """The mean over tables of the best rank of those chosen, by loops."""
    best = []
    for row in errors:
        order = sorted(row)
        best.append(min(np.mean([i + 1 for i, e in enumerate(order) if e == row[c]]) for c in chosen))
    return np.mean(best)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_choice_by_ranks(seed):
    errors = np.random.RandomState(seed).rand(6, 8).round(1)  # with ties
    cost = script.mean_best_rank(errors)
    chosen, costs = script.greedy(8, cost, 8)
    assert all(a > b for a, b in pairwise(costs))
    np.testing.assert_allclose(costs, [by_hand(errors, chosen[: i + 1]) for i in range(len(chosen))])
    for n in range(1, len(chosen) + 1):
        best = min(cost(list(some)) for some in combinations(range(8), n))
        gain, most = costs[0] - costs[n - 1], costs[0] - best
        assert costs[n - 1] >= best - 1e-12
        assert gain >= (1 - 1 / np.e) * most - 1e-12  # a coverage function
    assert costs[0] == pytest.approx(min(cost([c]) for c in range(8)))
    assert costs[-1] == pytest.approx(cost([*range(8)]), abs=1e-12)


def test_a_duplicate_is_never_chosen():
    errors = np.random.RandomState(0).rand(5, 4)
    chosen, _ = script.greedy(8, script.mean_best_rank(np.tile(errors, 2)), 8)
    assert len({c % 4 for c in chosen}) == len(chosen)
    assert script.greedy(3, script.mean_best_rank(np.zeros((2, 3))), 3)[0] == [0]


def test_what_brings_most_for_its_price_is_chosen_first():
    gains, prices = np.array([5.0, 3.0, 1.0, 0.0]), [10.0, 1.0, 4.0, 1.0]
    chosen, costs = script.greedy(4, lambda some: 9 - gains[some].sum(), 4, prices=prices)
    assert chosen == [1, 0, 2]  # gains over the worst, and for the price: 3, 0.5, 0.25
    assert costs == [6, 1, 0]
    assert script.greedy(4, lambda some: 9 - gains[some].sum(), 4)[0] == [0, 1, 2]


def test_ensembles_choose_what_complements():
    rng = np.random.RandomState(0)
    y = rng.normal(size=200)
    noise = rng.normal(size=200)
    P = np.stack([y + noise, y + 1.1 * noise, y - 1.3 * noise])[:, :, None]  # the last one cancels the first
    half = {"P_valid": P[:, :100], "P_test": P[:, 100:], "y_valid": y[:100], "y_test": y[100:], "task": "regression"}
    half["errors"] = np.array([script.error(p, y[100:], "regression") for p in half["P_test"]])
    cost = script.mean_ensemble_error([half])
    chosen, costs = script.greedy(3, cost, 3, n_least=3)
    assert chosen == [0, 2, 1]
    assert costs[0] == pytest.approx(0)
    assert costs[1] < -0.5
    np.testing.assert_allclose(half["errors"][0], np.mean(noise[100:] ** 2) / np.var(y[100:]))


def test_parts_do_not_overlap():
    y = np.arange(500) % 3
    train, valid, test = script.parts_of(y, "classification", 0, 200)
    assert len(np.unique(np.concatenate([train, valid, test]))) == 200
    assert (len(train), len(valid), len(test)) == (120, 40, 40)
