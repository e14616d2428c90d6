"""A merged network far below its members is told of, and a good one is not."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_regression

from skfusion import SoupClassifier, SoupRegressor
from skfusion.collect import FineTunes, Seeds, Tail
from skfusion.compare import compare_fusions
from skfusion.estimators import _far_below
from skfusion.estimators._far_below import FarBelowWarning, warn_if_far_below
from skfusion.merge import Greedy, Slerp, Uniform
from skfusion.nets import Runner, mlp_classifier, mlp_regressor
from skfusion.rows import Rows
from skfusion.tuning import FusionSearch

X, y = make_regression(300, 8, noise=1.0, random_state=0)
y = y / y.std()
VALUES = mlp_regressor(max_epochs=30, module__hidden=(32,), lr=0.02)
D, t = load_digits(n_class=5, return_X_y=True)
D, t = D[:400], t[:400]
LABELS = mlp_classifier(max_epochs=10, module__hidden=(32,))


@pytest.mark.parametrize("merge", [Uniform(), Slerp()])
def test_independent_networks_that_are_merged_are_told_of_with_numbers_and_remedies(merge):
    soup = SoupRegressor(VALUES, collect=Seeds(2), merge=merge, random_state=0)
    message = r"The merged network scores -?[\d.]+ on 300 rows, and its members 0.9\d+ to .*R2.*align=.*Greedy.*Ens"
    with pytest.warns(FarBelowWarning, match=message):
        soup.fit(X, y)
    assert soup.score(X, y) < 0.5


def test_labels_are_told_of_on_held_out_rows():
    pool = SoupClassifier(LABELS, collect=Seeds(4), merge=Greedy(), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool.fit(D, t)
    soup = SoupClassifier(collect=pool.pool_, merge=Uniform())
    with pytest.warns(FarBelowWarning, match=rf"on {len(pool.held_out_)} rows, .*\(accuracy\).*EnsembleClassifier"):
        soup.fit(D[pool.held_out_], t[pool.held_out_])


@pytest.mark.parametrize("collect", [Tail(), FineTunes(n_members=3)])
def test_a_soup_of_one_basin_says_nothing(collect):
    soup = SoupClassifier(LABELS, collect=collect, merge=Uniform(), random_state=0).fit(D, t)  # warnings are errors
    assert soup.score(D, t) > 0.8


def test_who_shows_the_scores_says_nothing():
    soup = SoupRegressor(VALUES, collect=Seeds(2), merge=Uniform())
    table = compare_fusions({"soup": soup}, X, y, cv=2, random_state=0)
    assert table.loc["soup", "gain_over_mean"] < -0.3
    FusionSearch(soup, lambda trial: {}, n_trials=1, cv=2, refit=False, random_state=0).fit(X, y)


def test_it_looks_at_few_rows_and_members(monkeypatch):
    asked, judge = [], _far_below.Judge

    def counted(runner, rows, score):
        asked.append(len(rows))
        return judge(runner, rows, score)

    monkeypatch.setattr(_far_below, "Judge", counted)
    monkeypatch.setattr(_far_below, "_ROWS", 50)
    SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0).fit(D, t)
    assert asked == [50]
    SoupClassifier(LABELS, collect=Seeds(1), merge=Uniform(), random_state=0).fit(D, t)
    SoupClassifier(LABELS, collect=Tail(), merge=Uniform(), random_state=0).fit(D[:12], t[:12])
    assert asked == [50]  # one member is itself, and a few rows say nothing


def test_random_labels_have_nothing_to_lose():
    noise = np.random.RandomState(0).randint(5, size=400)
    pool = SoupClassifier(LABELS, collect=Seeds(2), merge=Uniform(), random_state=0)
    pool.set_params(estimator__max_epochs=1).fit(D, noise)


def test_members_that_are_in_one_frame_need_no_advice_to_align():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soup = SoupRegressor(VALUES, collect=Seeds(2), random_state=0).fit(X, y)
    rows = Rows(X.astype(np.float32), y[:, None].astype(np.float32))
    runner = Runner(soup.net_, "regression", rows)
    states = [runner.place(m.state) for m in soup.pool_]
    nothing = {name: 0 * value for name, value in states[0].items()}
    with pytest.warns(FarBelowWarning) as told:
        warn_if_far_below(nothing, states, runner, rows, "regression", aligned=True)
    assert "align=" not in str(told[0].message)
