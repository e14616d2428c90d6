"""Searches over fusions."""

import numpy as np
import pandas as pd
import pytest
from optuna.samplers import CmaEsSampler, GridSampler, RandomSampler
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier, SoupRegressor
from skfusion.collect import Seeds, Tail
from skfusion.compare import expected_calibration_error
from skfusion.estimators import _base
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning
from skfusion.select import TopK
from skfusion.tuning import FusionSearch, suggest_members

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
NAMES = np.array(["setosa", "versicolor", "virginica"])
NET = mlp_classifier(max_epochs=3, module__hidden=(5,), lr=0.02)
SOUP = SoupClassifier(NET, collect=Seeds(3), random_state=7)


def space(trial):
    """Three fusions, and how many of the best members to fuse."""
    params = {"select": TopK(trial.suggest_int("k", 1, 3))}
    kind = trial.suggest_categorical("kind", ["greedy", "uniform", "ensemble"])
    if kind == "ensemble":
        return {**params, "fusion": EnsembleClassifier(NET, collect=Seeds(3), random_state=7)}
    return {**params, "merge": Greedy() if kind == "greedy" else Uniform()}


GRID = {"k": [1, 2, 3], "kind": ["greedy", "uniform", "ensemble"]}


def search(estimator=SOUP, to=space, **params):
    return FusionSearch(estimator, to, **{"n_trials": 4, "cv": 3, "random_state": 0, **params})


def same_results(a, b):
    assert a.keys() == b.keys()
    for name in a.keys() - {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}:
        if name == "params":
            assert list(map(repr, a[name])) == list(map(repr, b[name]))
        else:
            np.testing.assert_array_equal(a[name], b[name])
    return True


@pytest.fixture
def collected(monkeypatch):
    """Counts the calls of collectors, by what they are called with."""
    calls, run = [], _base._run_collector

    def counted(key, *args):
        calls.append(key)
        return run(key, *args)

    monkeypatch.setattr(_base, "_run_collector", counted)
    return calls


# ---- against scikit-learn ------------------------------------------------------------------------------------------


def test_scores_are_those_of_cross_validation():
    found = search(sampler=GridSampler(GRID), n_trials=9).fit(X, y).cv_results_
    cv = StratifiedKFold(3)
    for i in range(9):
        params = {**found["params"][i]}
        expected = cross_val_score(clone(params.pop("fusion", SOUP)).set_params(**params), X, y, cv=cv)
        np.testing.assert_allclose([found[f"split{k}_test_score"][i] for k in range(3)], expected)
        assert found["mean_test_score"][i] == pytest.approx(expected.mean())
        assert found["std_test_score"][i] == pytest.approx(expected.std())


def test_a_grid_gives_what_grid_search_gives():
    grid = {"C": [0.001, 0.1, 10.0], "fit_intercept": [True, False]}

    def values(trial):
        return {name: trial.suggest_categorical(name, options) for name, options in grid.items()}

    ours = search(LogisticRegression(max_iter=5000), values, sampler=GridSampler(grid), n_trials=6).fit(X, y)
    theirs = GridSearchCV(LogisticRegression(max_iter=5000), grid, cv=3).fit(X, y)
    places = [theirs.cv_results_["params"].index(params) for params in ours.cv_results_["params"]]
    assert sorted(places) == [*range(6)]
    for name in theirs.cv_results_.keys() - {"params"}:
        if "time" not in name:
            ranks = np.asarray(ours.cv_results_[name], dtype=float)
            np.testing.assert_allclose(ranks, np.asarray(theirs.cv_results_[name], dtype=float)[places])
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    assert ours.score(X, y) == theirs.score(X, y)
    pd.DataFrame(ours.cv_results_)


def test_a_pipeline_may_end_in_a_fusion(collected):
    pipe = make_pipeline(StandardScaler(), SOUP)

    def values(trial):
        return {"soupclassifier__merge__strict": trial.suggest_categorical("strict", [False, True])}

    pipe.set_params(soupclassifier__merge=Greedy(), soupclassifier__select=TopK(2))
    found = search(pipe, values, sampler=GridSampler({"strict": [False, True]}), n_trials=2).fit(X, y)
    assert len(collected) == 3 + 1
    for i, params in enumerate(found.cv_results_["params"]):
        expected = cross_val_score(clone(pipe).set_params(**params), X, y, cv=StratifiedKFold(3)).mean()
        assert found.cv_results_["mean_test_score"][i] == pytest.approx(expected)
    assert found.score(X, y) == found.best_estimator_.score(X, y)


def test_other_estimators_are_baselines():
    def values(trial):
        plain = trial.suggest_categorical("plain", [True, False])
        return {"fusion": LogisticRegression(max_iter=5000)} if plain else {}

    found = search(to=values, sampler=GridSampler({"plain": [True, False]}), n_trials=2).fit(X, y)
    (row,) = np.flatnonzero(found.cv_results_["param_plain"] == True)  # noqa: E712
    expected = cross_val_score(LogisticRegression(max_iter=5000), X, y, cv=3).mean()
    assert found.cv_results_["mean_test_score"][row] == pytest.approx(expected)


# ---- members -------------------------------------------------------------------------------------------------------


def test_members_are_collected_once_a_fold(collected):
    search(sampler=GridSampler(GRID), n_trials=9).fit(X, y)
    assert len(collected) == 3 + 1
    assert len({*collected}) == 4


def test_fusions_that_judge_nothing_share_the_members_too(collected):
    def values(trial):
        return {"merge": Uniform() if trial.suggest_categorical("plain", [True, False]) else Greedy()}

    search(to=values, sampler=GridSampler({"plain": [True, False]}), n_trials=2, refit=False).fit(X, y)
    assert len(collected) == 3


def test_each_collector_is_run_once_a_fold(collected):
    def values(trial):
        tail = trial.suggest_categorical("tail", [True, False])
        return {
            "collect": Tail(0.5) if tail else Seeds(2),
            "merge__strict": trial.suggest_categorical("strict", [True, False]),
        }

    grid = {"tail": [True, False], "strict": [True, False]}
    soup = clone(SOUP).set_params(merge=Greedy())
    search(soup, values, sampler=GridSampler(grid), n_trials=4, refit=False).fit(X, y)
    assert len(collected) == 2 * 3


def test_a_pool_stands_where_a_collector_stands(collected):
    pool = clone(SOUP).fit(X[::2], y[::2]).pool_
    collected.clear()
    found = search(clone(SOUP).set_params(collect=pool)).fit(X[1::2], y[1::2])
    assert found.best_estimator_.pool_.names == pool.names
    assert not collected


@pytest.mark.filterwarnings("ignore:.*to choose or weigh members")
def test_a_pool_that_knows_the_rows_is_told_of():
    pool = clone(SOUP).fit(X, y).pool_
    with pytest.warns(LeakageWarning, match="120 of the 150 rows used to compare fusions"):
        search(clone(SOUP).set_params(collect=pool), n_trials=1).fit(X, y)


def test_members_are_chosen():
    names = ["seed-0", "seed-1", "seed-2"]
    found = search(to=lambda trial: {"select": suggest_members(trial, names)}, n_trials=6).fit(X, y)
    assert [*found.best_estimator_.member_weights_] == [*found.best_params_["select"].members]
    assert len({params["select"].members for params in found.cv_results_["params"]}) > 2


# ---- what is promised ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [None, CmaEsSampler, RandomSampler(seed=3)])
def test_a_seed_gives_one_result_for_any_number_of_jobs(sampler):
    def values(trial):
        return {
            "validation_fraction": trial.suggest_float("share", 0.1, 0.4),
            "select": TopK(trial.suggest_int("k", 1, 3)),
        }

    first, second, parallel = (
        search(to=values, sampler=sampler, n_trials=5, n_jobs=n, refit=False).fit(X, y) for n in (None, None, 2)
    )
    assert same_results(first.cv_results_, second.cv_results_)
    assert same_results(first.cv_results_, parallel.cv_results_)


def test_other_seeds_give_other_trials():
    first, other = (search(random_state=seed, n_trials=6, refit=False).fit(X, y) for seed in (0, 1))
    assert [t.params for t in first.study_.trials] != [t.params for t in other.study_.trials]
    free = search(random_state=np.random.RandomState(0), refit=False).fit(X, y)
    assert len(free.study_.trials) == 4


def test_results_have_a_row_a_trial():
    found = search(n_trials=8).fit(X, y)
    table = pd.DataFrame(found.cv_results_)
    assert [*table["trial"]] == [*range(8)]
    assert {*table["state"]} == {"COMPLETE"}
    assert {*table["error"]} == {""}
    assert (table["mean_fit_time"] > 0).all()
    assert [*table["mean_test_score"]] == [t.value for t in found.study_.trials]
    assert found.best_score_ == table["mean_test_score"].max() == found.study_.best_value
    assert table["rank_test_score"][found.best_index_] == 1
    assert repr(found.best_params_) == repr(table["params"][found.best_index_])
    assert found.n_splits_ == 3
    assert found.refit_time_ > 0
    assert found.n_features_in_ == 4
    for trial, k, kind in zip(found.study_.trials, table["param_k"], table["param_kind"], strict=True):
        assert trial.params == {"k": k, "kind": kind}


def test_values_that_come_again_keep_their_scores(monkeypatch):
    from skfusion.tuning import _trials

    calls, judge = [], _trials.judge
    monkeypatch.setattr(_trials, "judge", lambda *args: calls.append(1) or judge(*args))
    found = search(to=lambda t: {"merge": Greedy(t.suggest_categorical("strict", [True, False]))}, n_trials=7).fit(X, y)
    assert len(found.cv_results_["trial"]) == 7
    assert len(calls) == 2 * 3


def test_what_the_user_gave_stays_as_it_was():
    net = clone(NET)
    soup = SoupClassifier(net, collect=Seeds(2))
    found = search(soup, lambda t: {"merge": Uniform(), "select": TopK(t.suggest_int("k", 1, 2))}).fit(X, y)
    assert found.estimator is soup
    assert soup.merge is None
    assert soup.random_state is None
    assert not getattr(net, "initialized_", False)
    assert found.best_estimator_.random_state == 0


# ---- data ----------------------------------------------------------------------------------------------------------


def test_labels_and_regression():
    labelled = search().fit(X, NAMES[y])
    assert {*labelled.predict(X)} <= {*NAMES}
    assert [*labelled.classes_] == [*NAMES]
    assert is_classifier(labelled)
    Z, t = load_diabetes(return_X_y=True)
    net = mlp_regressor(max_epochs=3, module__hidden=(5,))

    def values(trial):
        kind = trial.suggest_categorical("kind", ["soup", "ensemble", "ridge"])
        others = {"ridge": Ridge(), "ensemble": EnsembleRegressor(net, collect=Seeds(2))}
        return {"fusion": others[kind]} if kind in others else {}

    found = search(SoupRegressor(net, collect=Seeds(2)), values, n_trials=6).fit(Z, t)
    assert is_regressor(found)
    assert found.predict(Z).shape == t.shape
    assert not hasattr(found, "predict_proba")
    assert found.score(Z, t) == pytest.approx(found.best_estimator_.score(Z, t))


def test_a_score_that_scikit_learn_lacks_is_known_by_its_name():
    found = search(scoring="neg_ece", n_trials=2).fit(X, y)
    assert -1 < found.best_score_ < 0
    assert found.score(X, y) == pytest.approx(-expected_calibration_error(y, found.predict_proba(X)))


def test_scoring_is_used_to_choose_and_to_score():
    found = search(scoring="neg_log_loss", n_trials=3).fit(X, y)
    assert found.score(X, y) == pytest.approx(-log_loss(y, found.predict_proba(X)))
    assert found.best_score_ < 0


def test_weights_are_repetitions():
    weight = np.random.RandomState(0).randint(0, 3, size=150)
    index = np.repeat(np.arange(150), weight)
    cv = [(np.arange(0, 150, 2), np.arange(1, 150, 2)), (np.arange(1, 150, 2), np.arange(0, 150, 2))]
    among = [tuple(np.flatnonzero(np.isin(index, part)) for part in parts) for parts in cv]
    weighted = search(cv=cv, n_trials=3).fit(X, y, sample_weight=weight)
    repeated = search(cv=among, n_trials=3).fit(X[index], y[index])
    assert same_results(weighted.cv_results_, repeated.cv_results_)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_groups_stay_together():
    groups = np.arange(150) % 10
    Z = np.column_stack([X, groups])
    seen = []

    def parts(fitted, X, y):
        seen.append({*X[:, 4]})
        return fitted.score(X, y)

    search(scoring=parts, n_trials=1, refit=False).fit(Z, y, groups=groups)
    assert sum(len(test) for test in seen) == len(set.union(*seen)) == 10
    found = search(cv=GroupKFold(5), n_trials=1).fit(X, y, groups=groups)
    assert found.n_splits_ == 5
