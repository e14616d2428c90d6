"""Tables of scores are DataFrames that notebooks show with intervals."""

import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.compare import compare_fusions
from skfusion.evaluate import Scoreboard, leaderboard
from skfusion.nets import mlp_classifier
from skfusion.pool import LeakageWarning

X, y = load_iris(return_X_y=True)


def words(table):
    """What a page says, without its elements and style."""
    shown = table._repr_html_()
    assert not re.search(r"<(?!/?(style|div|table|thead|tbody|tr|th|td|span|bdi|i|b)\b)", shown)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", shown, flags=re.S)))


def table(n=3, **columns):
    means = np.linspace(0.5, 0.9, n)
    given = {"auc_mean": means, "auc_low": means - 0.1, "auc_high": means + 0.1, **columns}
    return Scoreboard(given, index=pd.Index([f"member-{k}" for k in range(n)], name="member"))


def test_a_score_has_its_interval():
    shown = words(table(n_seen=[0, 7, None]))
    assert "member auc rows seen" in shown
    assert "member-0 0.500 0.400 to 0.600 0" in shown
    assert "95 % intervals of auc , drawn from 0.400 to 1.000" in shown
    assert "left:0.0%;right:66.7%" in table()._repr_html_()
    assert "member-2 0.900 0.800 to 1.000 –" in shown


def test_scores_that_are_missing_are_said_and_not_drawn():
    some = table(auc_mean=[0.5, math.nan, math.inf], auc_low=[0.4, math.nan, math.nan], auc_high=math.nan)
    shown = words(some)
    assert "member-1 –" in shown
    assert "2 have no finite auc" in shown
    assert "nan" not in some._repr_html_()
    none = table(auc_mean=math.nan, auc_low=math.nan, auc_high=math.nan)
    assert "3 have no finite auc" in words(none)


def test_many_rows_are_cut_and_an_empty_table_is_that_of_pandas():
    large = table(1000)
    assert large._repr_html_().count("<tr>") == 41
    assert "and 960 more" in words(large)
    assert len(large._repr_html_()) < 30_000
    assert "dataframe" in table().iloc[:0]._repr_html_()


def test_names_are_escaped():
    hostile = "<script>alert(1)</script>"
    board = table().rename(index={"member-0": hostile}, columns=lambda c: c.replace("auc", hostile))
    board.index.name = hostile
    board.attrs = {"reference": hostile, "folds": pd.DataFrame({"fusion": [hostile], "error": [hostile]})}
    board["difference"], board["difference_low"], board["difference_high"] = 0.0, -0.1, 0.1
    shown = board._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(1)") == 7


def test_it_is_a_frame_in_all_else():
    board = table(n_seen=[1, 2, 3])
    board.attrs["scores"] = ["auc"]
    again = pickle.loads(pickle.dumps(board))
    assert type(again) is type(board.sort_values("auc_mean")) is Scoreboard
    assert again.attrs == {"scores": ["auc"]}
    assert isinstance(board, pd.DataFrame)
    pd.testing.assert_frame_equal(pd.DataFrame(board), pd.DataFrame(again))
    assert "dataframe" in board[["n_seen"]]._repr_html_()
    assert "dataframe" in board.T._repr_html_()
    with pd.option_context("display.notebook_repr_html", False):
        assert board._repr_html_() is None


def test_a_leaderboard_of_a_pool_is_one():
    pool = EnsembleClassifier(mlp_classifier(max_epochs=2), collect=Seeds(2), random_state=0).fit(X, y).pool_
    with pytest.warns(LeakageWarning):
        board = leaderboard(pool, X, y)
    assert "member accuracy rows seen" in words(board)


class Fails(DummyClassifier):
    def fit(self, *data, **params):
        raise ValueError("<b>no</b> luck")


def test_a_comparison_is_one_and_says_what_failed():
    fusions = {"ensemble": EnsembleClassifier(mlp_classifier(max_epochs=2), collect=Seeds(2)), "bad": Fails()}
    with pytest.warns(FitFailedWarning):
        board = compare_fusions(fusions, X, y, cv=3, random_state=0, baselines=["dummy"])
    shown = words(board)
    assert "fusion accuracy difference tied networks seconds of a fit µs a row" in shown
    assert "dummy baseline" in shown
    assert "tied: the scores do not tell it from the best" in shown
    assert f"differences are from {board.attrs['reference']}" in shown
    assert "1 has no finite accuracy" in shown
    assert "bad : ValueError: &lt;b&gt;no&lt;/b&gt; luck" in shown
    assert f"the table has {len(board.columns)} columns" in shown


def test_names_and_columns_that_have_no_place_are_shown_by_pandas():
    board = table()
    for made in (board.reset_index(), board.describe(), pd.concat([board, board], axis=1)):
        assert made._repr_html_() == pd.DataFrame(made)._repr_html_()
    assert "member-0" in board.reset_index()._repr_html_()
