"""Models to reuse, and ways to combine them, that Optuna chooses on a few labelled rows."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from sklearn.datasets import load_diabetes, load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from skfusion import ModelReuseClassifier, ModelReuseRegressor
from skfusion._rows import Rows
from skfusion.data import folds, score_function
from skfusion.reuse import AsFound, AverageFound, LogME, MixtureMMD, ReusePool, Route
from skfusion.tuning import TunedReuse
from skfusion.tuning._reuse_candidates import WAYS, Candidates, labelled_rows

X, Y = load_digits(return_X_y=True)
X = X / 16
NEW, LATER = slice(1000, 1060), slice(1060, 1797)
BRIER = score_function("neg_brier_score", "classification")


def fitted(rows, model=None, labels=None):
    rows = np.flatnonzero(rows)[:300]
    model = LogisticRegression(max_iter=200) if model is None else model
    return model.fit(X[rows], (Y if labels is None else labels)[rows]), X[rows]


@pytest.fixture(scope="module")
def pool():
    """Models of low and of high digits, a tree of all, one of shuffled labels, and one that says the same of all."""
    early, rng = np.arange(len(Y)) < 1000, np.random.default_rng(0)
    models = {
        "low": fitted(early & (Y < 5)),
        "high": fitted(early & (Y >= 5)),
        "tree": fitted(early, DecisionTreeClassifier(max_depth=4, random_state=0)),
        "shuffled": fitted(early, labels=rng.permutation(Y)),
        "same": fitted(early, DummyClassifier()),
    }
    found = ReusePool()
    for name, (model, rows) in models.items():
        found = found.add(model, rows, name=name)
    return found


def reused(found, rows=LATER, classes=None):
    """Return the predictions for later rows by what is found."""
    classes = np.arange(10) if classes is None else classes
    return AsFound().fit(found, X[NEW], Y[NEW], classes, 0)(X[rows])


# ---- what it finds --------------------------------------------------------------------------------------------------


def test_it_finds_the_models_of_a_task_and_how_to_combine_them(pool):
    search = TunedReuse(n_trials=20)
    found = pool.search(X[NEW], Y[NEW], search)
    assert {"low", "high"} <= set(found.names)
    accuracy = (reused(found).argmax(axis=1) == Y[LATER]).mean()
    alone = [(o.for_classes(o.predictions(X[LATER]), np.arange(10)).argmax(axis=1) == Y[LATER]).mean() for o in pool]
    assert accuracy > max(alone) + 0.1


def test_it_is_never_worse_than_what_comes_to_mind_first(pool):
    """Recomputed here by what users would call, on the rows and by the score that it chooses by."""
    search = TunedReuse(n_trials=5, scoring="neg_brier_score")
    pool.search(X[NEW], Y[NEW], search)
    mixture = pool.search(X[NEW], search=MixtureMMD())

    def score(P):
        return BRIER(P, rows_of(Y[NEW]))

    singles = [o.for_classes(o.predictions(X[NEW]), np.arange(10)) for o in pool]
    obvious = [*map(score, singles), score(np.mean(singles, axis=0))]
    for reuser in (AverageFound(), Route()):
        obvious.append(score(reuser.fit(mixture, X[NEW], None, np.arange(10), 0)(X[NEW])))
    assert search.best_score_ >= max(obvious) - 1e-9
    values = [t.value for t in search.study_.get_trials(deepcopy=False) if t.value is not None]
    assert search.best_score_ == max(values)
    for value in (max(obvious[:5]), *obvious[5:]):  # the best single one, and what is made of several
        assert min(abs(v - value) for v in values) < 1e-9


def rows_of(y):
    return Rows(np.zeros((len(y), 1)), y, task="classification")


def test_the_first_trials_are_the_obvious_ones(pool):
    search = TunedReuse(n_trials=3, max_members=2)
    pool.search(X[NEW], Y[NEW], search)
    trials = search.study_.get_trials(deepcopy=False)
    ways = [(trial.user_attrs["way"], len(trial.user_attrs["members"])) for trial in trials]
    # a mixture of one model is that model
    assert ways[0] == ("average", 1)
    assert ways[3:9] == [("average", 2), ("weighted", 2), ("stack", 2), ("probe", 1), ("probe", 2), ("average", 5)]
    assert len(trials) == 12
    assert all(len(trial.user_attrs["members"]) <= 2 for trial in trials[9:])


def test_without_trials_the_best_of_the_obvious_ones_is_found(pool):
    search = TunedReuse(n_trials=0)
    found = pool.search(X[NEW], Y[NEW], search)
    assert len(search.study_.get_trials(deepcopy=False)) == 9
    assert found.reuse is not None


@pytest.mark.parametrize("way", ["average", "mixture", "weighted", "route", "stack", "probe"])
def test_what_is_found_predicts_as_it_was_judged(pool, way):
    """What does not learn predicts the labelled rows as in its trial; what does learn is out of fold there."""
    rows, classes = labelled_rows(pool, X[NEW], Y[NEW])
    parts = list(folds(rows, 3, "classification", 0))
    candidates = Candidates(pool, rows, classes, parts, BRIER, 0)
    candidate = (0, 1, 2), way
    found = candidates.found(candidate)
    assert type(found.reuse) is WAYS[way]
    if way in ("average", "mixture", "route"):
        P = AsFound().fit(found, X[NEW], rows.y, classes, 0)(X[NEW])
        assert BRIER(P, rows) == pytest.approx(candidates.value(candidate), abs=1e-9)
        return
    P = np.empty((len(rows), len(classes)))
    for train, test in parts:
        part = rows.take(train)
        of_fold = Candidates(pool, part, classes, [], BRIER, 0)
        names = [candidates.pool.names[i] for i in (0, 1, 2)]
        places = tuple(sorted(of_fold.pool.names.index(name) for name in names))
        P[test] = AsFound().fit(of_fold.found((places, way)), part.X, part.y, classes, 0)(rows.X[test])
    assert BRIER(P, rows) == pytest.approx(candidates.value(candidate), abs=2e-3)  # the order of columns may differ


# ---- chance ---------------------------------------------------------------------------------------------------------


def test_random_labels_give_chance_on_other_rows(pool):
    """The score by which it chooses is too good, as its docstring says; that of other rows is chance."""
    accuracies = []
    for seed in range(3):
        y = np.random.default_rng(seed).permutation(Y)
        found = pool.search(X[NEW], y[NEW], TunedReuse(n_trials=10, cv=3, random_state=seed))
        fitted = AsFound().fit(found, X[NEW], y[NEW], np.arange(10), 0)
        accuracies.append((fitted(X[LATER]).argmax(axis=1) == y[LATER]).mean())
    assert abs(np.mean(accuracies) - 0.1) < 4 * np.sqrt(0.09 / (3 * 737))


def test_random_labels_give_chance_in_the_report_of_an_estimator(pool):
    """Which searches anew in each fold, so that its score is of rows that the choice did not see."""
    scores, n = [], 120
    rows = slice(1000, 1000 + n)
    for seed in range(3):
        y = np.random.default_rng(seed).permutation(Y)[rows]
        reuse = ModelReuseClassifier(
            pool, search=TunedReuse(n_trials=2, cv=3), estimator=DummyClassifier(), cv=2, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that training anew is better
            scores.append(reuse.fit(X[rows], y).report_.loc["AsFound", "score"])
    assert abs(np.mean(scores) - 0.1) < 4 * np.sqrt(0.09 / (3 * n))


# ---- the same in every run ------------------------------------------------------------------------------------------


def trials_of(search):
    return [(t.value, t.params, t.user_attrs) for t in search.study_.get_trials(deepcopy=False)]


def test_the_same_seed_gives_the_same_trials_and_another_one_others(pool):
    searches = [TunedReuse(n_trials=8, random_state=seed) for seed in (0, 0, 1)]
    for search in searches:
        pool.search(X[NEW], Y[NEW], search)
    assert trials_of(searches[0]) == trials_of(searches[1])
    assert trials_of(searches[0])[9:] != trials_of(searches[2])[9:]


def test_a_sampler_is_used_and_left_as_it_is(pool):
    sampler = RandomSampler(seed=5)
    before = sampler._rng.rng.get_state()[1].tolist()
    search = TunedReuse(n_trials=4, sampler=sampler)
    pool.search(X[NEW], Y[NEW], search)
    assert sampler._rng.rng.get_state()[1].tolist() == before
    other = TunedReuse(n_trials=4, sampler=RandomSampler, random_state=5)
    pool.search(X[NEW], Y[NEW], other)
    assert [t.params for t in search.study_.trials] == [t.params for t in other.study_.trials]


def test_optuna_logs_nothing_and_its_level_is_kept(pool, capfd):
    level = optuna.logging.get_verbosity()
    pool.search(X[NEW], Y[NEW], TunedReuse(n_trials=2))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == level


def test_models_predict_the_rows_once(pool):
    calls = []

    class Counted(LogisticRegression):
        def predict_proba(self, X):
            calls.append(len(X))
            return super().predict_proba(X)

    counted = pool.add(Counted().fit(X[:200], Y[:200]), X[:200], name="counted")
    counted.search(X[NEW], Y[NEW], TunedReuse(n_trials=10))
    assert calls == [60]


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_labels_that_no_model_knows_are_learned_from_what_models_give(pool):
    y = np.array(["odd", "even"])[Y % 2]
    search = TunedReuse(n_trials=5, cv=3)
    found = pool.search(X[NEW], y[NEW], search)
    assert found.score_name == "LogME"
    assert {t.user_attrs["way"] for t in search.study_.get_trials(deepcopy=False)} <= {"stack", "probe"}
    fitted = AsFound().fit(found, X[NEW], (y[NEW] == "odd").astype(int), np.array(["even", "odd"]), 0)
    assert (fitted(X[LATER]).argmax(axis=1) == (y[LATER] == "odd")).mean() > 0.7


def test_values():
    X, y = load_diabetes(return_X_y=True)
    pool = ReusePool().add(Ridge(0.1).fit(X[:200], y[:200]), X[:200], name="right")
    pool = pool.add(Ridge(0.1).fit(X[:200], y[:200][::-1]), X[:200], name="wrong")
    search = TunedReuse(n_trials=5)
    found = pool.search(X[200:240], y[200:240], search)
    assert "right" in found.names
    assert np.isfinite(search.best_score_)
    reuse = ModelReuseRegressor(pool, search=search, reuse=AsFound(), estimator=Ridge(100.0), random_state=0)
    assert reuse.fit(X[200:240], y[200:240]).score(X[240:], y[240:]) > 0.2


def test_an_estimator_does_as_the_search_says(pool):
    search = TunedReuse(n_trials=2, cv=3)
    reuse = ModelReuseClassifier(pool, search=search, estimator=LogisticRegression(), cv=2, random_state=0)
    reuse.fit(X[NEW], Y[NEW])
    assert reuse.chosen_ == "AsFound"
    assert type(reuse.reuser_.reuser_) is type(reuse.found_.reuse)
    assert reuse.score(X[LATER], Y[LATER]) > 0.8


def test_two_rows_of_two_labels_are_enough(pool):
    found = pool.search(X[NEW][:2], Y[NEW][:2], TunedReuse(n_trials=3))
    assert np.isfinite(found.weights).all()


@pytest.mark.parametrize("search", [TunedReuse(n_trials=2), LogME()], ids=["Optuna", "LogME"])
def test_where_a_fold_has_too_few_rows_to_search_a_model_is_trained_anew(pool, search):
    """With a row of each of two labels, no fold has two rows, or two labels."""
    rows = np.flatnonzero(Y == 0)[-1], np.flatnonzero(Y == 1)[-1]
    reuse = ModelReuseClassifier(pool, search=search, estimator=DummyClassifier(), random_state=0)
    with (
        pytest.warns(UserWarning, match="A model is trained anew"),
        pytest.warns(UserWarning, match="These ways to reuse models are left out: .*at least 2"),
    ):
        reuse.fit(X[[*rows]], Y[[*rows]])
    assert reuse.chosen_ == "anew"
    assert "at least 2" in reuse.report_.loc[reuse.report_.index != "anew", "failure"].iloc[0]


def test_a_pool_of_one_model_tries_what_can_be_made_of_it(pool):
    search = TunedReuse(n_trials=50)
    assert pool[["tree"]].search(X[NEW], Y[NEW], search).names == ["tree"]
    assert len(search.study_.get_trials(deepcopy=False)) == 9


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_errors_name_what_is_wrong(pool):
    with pytest.raises(ValueError, match="TunedReuse judges models by labels: give y"):
        TunedReuse()(pool, X[NEW])
    with pytest.raises(ValueError, match="n_trials of TunedReuse must be a whole number, 0 or more; got -1"):
        pool.search(X[NEW], Y[NEW], TunedReuse(n_trials=-1))
    with pytest.raises(ValueError, match="max_members of TunedReuse must be a whole number, 1 or more; got 1.5"):
        pool.search(X[NEW], Y[NEW], TunedReuse(max_members=1.5))
    with pytest.raises(TypeError, match="sampler must be a sampler of Optuna"):
        pool.search(X[NEW], Y[NEW], TunedReuse(sampler="tpe"))
    with pytest.raises(ValueError, match="at least 2 rows"):
        pool.search(X[NEW][:1], Y[NEW][:1], TunedReuse())
    with pytest.raises(ValueError, match="None of the models predicts these inputs; 'low' raises ValueError: X has 5"):
        pool[["low", "high"]].search(X[NEW][:, :5], Y[NEW], TunedReuse())


def test_a_model_that_fails_is_left_out_by_name(pool):
    wider = pool.add(LogisticRegression().fit(X[:100, :5], Y[:100]), X[:100], name="narrow")
    with pytest.warns(UserWarning, match="TunedReuse leaves out 1 of 6 models. 'narrow' raises ValueError: X has 64"):
        found = wider.search(X[NEW], Y[NEW], TunedReuse(n_trials=2))
    assert "narrow" not in found.names
    assert np.isnan(found.scores[5])


def test_a_way_that_fails_loses_its_trials_alone(pool):
    """A model that knows none of the labels can be stacked, and not averaged."""
    other = pool[["low", "tree"]].add(LogisticRegression().fit(X[:100], Y[:100] + 50), X[:100], name="other")
    search = TunedReuse(n_trials=15, sampler=RandomSampler)
    other.search(X[NEW], Y[NEW], search)
    failed = [t for t in search.study_.get_trials(deepcopy=False) if t.state == TrialState.FAIL]
    assert failed
    assert all("other" in t.user_attrs["members"] and t.user_attrs["way"] not in ("stack", "probe") for t in failed)
