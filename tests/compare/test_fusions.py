"""What is compared: words that stand for estimators, and the task where no estimator says it."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion import PortfolioClassifier, PortfolioRegressor, SoupClassifier
from skfusion.compare import compare_fusions, of_few_folds
from skfusion.compare._fusions import is_classification, named, spelt_out
from skfusion.estimators.recipes import _portfolio

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike


@pytest.fixture
def trees(monkeypatch):
    """Let portfolios have members that are fast."""
    monkeypatch.setattr(_portfolio, "PORTFOLIO", ("extra-trees", "linear"))


def read(fusions, y):
    fusions = named(fusions)
    return spelt_out(fusions, is_classification(fusions, y))


def test_the_word_is_the_estimator_of_the_task_with_the_seed_of_the_comparison(trees):
    table = compare_fusions("portfolio", X, y, cv=3, random_state=7)
    given = compare_fusions({"portfolio": PortfolioClassifier(random_state=7)}, X, y, cv=3, random_state=7)
    assert list(table.index) == ["portfolio"]
    assert table.loc["portfolio", "accuracy_mean"] == given.loc["portfolio", "accuracy_mean"] > 0.9
    assert table.loc["portfolio", "log_loss"] == given.loc["portfolio", "log_loss"]
    assert table.loc["portfolio", "n_members"] >= 1
    assert np.isnan(table.loc["portfolio", "n_parameters"])


def test_the_word_stands_beside_estimators_which_say_the_task(trees):
    table = compare_fusions({"all": "portfolio", "mean": DummyRegressor()}, X[:, :3], X[:, 3], cv=3, random_state=0)
    assert table.loc["all", "r2_mean"] > 0.8
    assert isinstance(read({"a": "portfolio", "b": DummyRegressor()}, y)["a"], PortfolioRegressor)  # although y is 0..2
    assert isinstance(read([("a", "portfolio"), ("b", DummyClassifier())], X[:, 0])["a"], PortfolioClassifier)


def test_an_instance_has_a_time_limit():
    limited = PortfolioClassifier(n_members=3, cv=2, time_limit=1e-6)
    with pytest.warns(UserWarning, match="time_limit=1e-06 s was over when 1 of 3 members were finished"):
        table = compare_fusions({"portfolio": limited}, X, y, cv=3, random_state=0)
    assert table.loc["portfolio", "accuracy_mean"] > 0.8
    assert table.loc["portfolio", "n_members"] == 1


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.arange(60) % 3, PortfolioClassifier),
        (np.arange(60) % 2 == 0, PortfolioClassifier),
        (np.array(["a", "b"] * 30), PortfolioClassifier),
        (np.array([f"word {i}" for i in range(60)], object), PortfolioClassifier),
        ((np.arange(60) % 3).astype(float), PortfolioClassifier),
        (np.arange(60), PortfolioRegressor),
        (np.linspace(0, 1, 60), PortfolioRegressor),
        ([0.5, 1.0, 2.0], PortfolioRegressor),
    ],
)
def test_the_task_of_targets_where_only_words_are_given(y, kind):
    assert type(read("portfolio", y)["portfolio"]) is kind


def test_unknown_words_are_refused():
    with pytest.raises(
        ValueError, match=r"Fusion 'swa' is the word 'swa', and the only .* is \"portfolio\"\. .*as estim"
    ):
        compare_fusions("swa", X, y)
    with pytest.raises(ValueError, match=r"the word 'boosting', .*Baselines are given by baselines=\[\"boosting\"\]"):
        compare_fusions({"b": "boosting"}, X, y)
    with pytest.raises(ValueError, match="Fusion 'a' is the word 'Portfolio'"):
        compare_fusions({"a": "Portfolio", "b": DummyClassifier()}, X, y)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (SoupClassifier(), "SoupClassifier"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline"),
        ([SoupClassifier(), "portfolio"], "list with a SoupClassifier in it"),
        (["portfolio"], "list with a str in it"),
        ([("a", LogisticRegression(), 3)], "list with a tuple in it"),
        ({1: LogisticRegression()}, "dict with the name 1"),
        (3, "int"),
    ],
)
def test_what_is_no_fusions_is_told_what_is_taken(given, got):
    example = r'a dict .*, such as \{"soup": SoupClassifier\(\), "all": "portfolio"\}, \(name, estimator\) pairs'
    with pytest.raises(TypeError, match=rf'{example}, or the word "portfolio"; got {got}\.$'):
        compare_fusions(given, X, y)


# ---- few folds -------------------------------------------------------------------------------------------------------

TWO = {"prior": DummyClassifier(), "line": LogisticRegression(max_iter=500)}


def test_two_folds_can_hardly_tell_fusions_apart():
    with pytest.warns(UserWarning, match="With 2 folds, fusions can hardly be told apart.*must be 13 times") as caught:
        table = compare_fusions(TWO, X, y, cv=2, random_state=0)
    assert caught[0].filename == __file__
    assert table.attrs["n_folds"] == 2
    splits = [(np.arange(0, 150, 2), np.arange(1, 150, 2)), (np.arange(1, 150, 2), np.arange(0, 150, 2))]
    with pytest.warns(UserWarning, match="With 2 folds"):  # also of baselines, and of folds that are given
        compare_fusions({"line": TWO["line"]}, X, y, cv=splits, baselines="dummy", random_state=0)


@pytest.mark.parametrize(("n_folds", "n_rows"), [(3, 2), (10, 5), (2, 1), (1, 3)])
def test_more_folds_and_single_rows_need_no_word(n_folds, n_rows):
    assert of_few_folds(n_folds, n_rows) == ""
