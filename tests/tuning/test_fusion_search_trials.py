"""Trials that end early, fail or are stopped, and bad settings of a search."""

import itertools

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.pruners import ThresholdPruner
from optuna.samplers import GridSampler
from optuna.storages import InMemoryStorage
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skfusion import SoupClassifier
from skfusion._progress import _bar
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier
from skfusion.select import TopK
from skfusion.tuning import FusionSearch, _trials

X, y = load_iris(return_X_y=True)
SOUP = SoupClassifier(mlp_classifier(max_epochs=2, module__hidden=(5,)), collect=Seeds(2), random_state=7)
KINDS = ["dummy", "linear"]


def space(trial):
    return {"select": TopK(trial.suggest_int("k", 1, 2)), "validation_fraction": trial.suggest_float("share", 0.1, 0.4)}


def search(estimator=SOUP, to=space, **params):
    return FusionSearch(estimator, to, **{"n_trials": 4, "cv": 3, "random_state": 0, **params})


# ---- trials that end early -----------------------------------------------------------------------------------------


def test_pruned_trials_are_kept_and_cost_less():
    def values(trial):
        return {"fusion": DummyClassifier()} if trial.suggest_categorical("kind", KINDS) == "dummy" else {}

    linear, grid = LogisticRegression(max_iter=5000), GridSampler({"kind": KINDS})
    found = search(linear, values, sampler=grid, pruner=ThresholdPruner(lower=0.5), n_trials=2).fit(X, y)
    table = pd.DataFrame(found.cv_results_).set_index("param_kind")
    assert [*table.loc[KINDS, "state"]] == ["PRUNED", "COMPLETE"]
    weak = table.loc["dummy"]
    assert weak["split0_test_score"] == pytest.approx(1 / 3, abs=0.03)
    assert np.isnan([weak["split1_test_score"], weak["split2_test_score"], weak["mean_test_score"]]).all()
    assert weak["rank_test_score"] == 2
    assert found.best_params_ == {}


def test_a_space_may_prune():
    def values(trial):
        if trial.suggest_categorical("skip", [True, False]):
            raise optuna.TrialPruned
        return {}

    found = search(to=values, sampler=GridSampler({"skip": [True, False]}), n_trials=2).fit(X, y)
    states = dict(zip(found.cv_results_["param_skip"], found.cv_results_["state"], strict=True))
    assert states == {True: "PRUNED", False: "COMPLETE"}
    assert found.best_params_ == {}


def test_failed_trials_are_recorded_with_their_error():
    def values(trial):
        return {"select": TopK(trial.suggest_categorical("k", [0, 2]))}

    with pytest.warns(
        FitFailedWarning, match="1 of the 2 trials failed and have no score: trial .: fold 0: ValueError"
    ):
        found = search(to=values, sampler=GridSampler({"k": [0, 2]}), n_trials=2).fit(X, y)
    table = pd.DataFrame(found.cv_results_).set_index("param_k")
    assert [*table.loc[[0, 2], "state"]] == ["FAIL", "COMPLETE"]
    assert table.loc[0, "error"] == "fold 0: ValueError: TopK keeps at least one member; got k=0."
    assert table.loc[2, "error"] == ""
    assert np.isnan(table.loc[0, "mean_test_score"])
    assert table.loc[0, "params"]["select"].k == 0


def test_a_score_that_is_not_a_number_is_a_failure():
    with pytest.raises(ValueError, match="None of the 4 trials has a score.*All 4 failed: trial 0: fold 0: score nan"):
        search(scoring=lambda e, X, y: float("nan")).fit(X, y)


def test_an_interrupted_trial_does_not_count(monkeypatch):
    left, judge = [1], _trials.judge

    def interrupted_once(*args):
        if left:
            left.pop()
            raise KeyboardInterrupt
        return judge(*args)

    monkeypatch.setattr(_trials, "judge", interrupted_once)
    found = search(storage=InMemoryStorage())
    with pytest.raises(KeyboardInterrupt):
        found.fit(X, y)
    (trial,) = found.study_.trials
    assert trial.state.name == "FAIL"
    found.fit(X, y)  # a warning of a failed trial would be an error
    assert len(found.cv_results_["params"]) == found.n_trials
    assert set(found.cv_results_["state"]) == {"COMPLETE"}
    assert len(found.study_.trials) == found.n_trials + 1


def test_time_may_run_out():
    found = search(n_trials=1000, timeout=0.2, refit=False).fit(X, y)
    assert 1 <= len(found.study_.trials) < 1000
    with pytest.raises(ValueError, match="None of the 0 trials has a score"):
        search(timeout=0).fit(X, y)


# ---- callbacks -----------------------------------------------------------------------------------------------------


class Spy:
    """Records the tasks that end, and stops where asked to."""

    def __init__(self, stop_after=99):
        self.stop_after, self.ended = stop_after, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        return self.ended.count("trial") >= self.stop_after

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_trials_and_stop_them():
    spy = Spy()
    search(refit=False).set_callbacks(spy).fit(X, y)
    assert spy.ended == [*["trial"] * 4, "fit"]
    stopped = search(refit=False).set_callbacks(Spy(stop_after=2)).fit(X, y)
    assert len(stopped.study_.trials) == 2


def test_a_progress_bar_is_shown_where_asked_for(capsys):
    search(n_trials=1, verbose=1).fit(X, y)
    assert "FusionSearch" in capsys.readouterr().out
    search(n_trials=1).set_callbacks(ProgressBar()).fit(X, y)
    assert "FusionSearch" in capsys.readouterr().out
    search(n_trials=1).fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_the_running_trial_is_named_with_its_values_and_its_fold(capsys, monkeypatch):
    seconds = itertools.count(step=20.0)  # each report is a line
    monkeypatch.setattr(_bar, "SHARE", 0.0)
    monkeypatch.setattr(_bar.time, "monotonic", lambda: next(seconds))
    found = search(verbose=1, estimator=clone(SOUP).set_params(verbose=1)).fit(X, y)
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == "FusionSearch: 0 of 4 trials (0%)"
    for number, trial in enumerate(found.study_.trials, 1):
        values = ", ".join(f"{name}={value}" for name, value in trial.params.items())
        for fold in range(1, found.n_splits_ + 1):
            what = f"trial {number} ({values}), fold {fold} of {found.n_splits_}: {number - 1} of 4 trials"
            assert any(line.startswith(f"FusionSearch: {what}") for line in lines), what
    assert any("left" in line for line in lines)
    assert lines[-1] == "FusionSearch: fitting the best on all rows: 4 of 4 trials (100%)"
    assert last.startswith("FusionSearch: done in ")


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"estimator": SoupClassifier}, TypeError, "must be an estimator, such as SoupClassifier"),
        ({"estimator": StandardScaler()}, TypeError, "a classifier or a regressor; got StandardScaler"),
        ({"to": {"k": 1}}, TypeError, "space must be a function of a trial"),
        ({"to": lambda trial: 3}, TypeError, "space must return a dict of parameters; got 3"),
        ({"to": lambda trial: {"fusion": "soup"}}, TypeError, "'fusion' must be an estimator.*got 'soup'"),
        ({"to": lambda trial: {"fusion": Ridge()}}, ValueError, "Ridge is a regressor, and .* is a classifier"),
        ({"to": lambda trial: {"depth": 3}}, ValueError, "depth"),
        ({"n_trials": 0}, ValueError, "n_trials must be a whole number, 1 or more; got 0"),
        ({"scoring": ["accuracy", "neg_log_loss"]}, ValueError, "scoring must be one score.*got .'accuracy', 'neg_log"),
        ({"scoring": {"a": "accuracy"}}, ValueError, "scoring must be one score.*got {'a': 'accuracy'}"),
        ({"sampler": "tpe"}, TypeError, "make one from seed=.*got 'tpe'"),
        ({"storage": "sqlite://", "random_state": None}, ValueError, "needs an integer random_state"),
    ],
)
def test_bad_settings_are_named(params, error, message):
    with pytest.raises(error, match=message):
        search(**params).fit(X, y)


def test_errors_of_the_space_are_raised():
    def values(trial):
        return {"merge": trial.suggest_int("a", 1, 2) / 0}

    with pytest.raises(ZeroDivisionError):
        search(to=values).fit(X, y)


def test_without_refit_there_is_nothing_to_predict_with():
    found = search(refit=False).fit(X, y)
    assert found.best_score_ > 0
    with pytest.raises(AttributeError, match="refit=False.*fit one with best_params_"):
        found.predict(X)
    with pytest.raises(ValueError, match="not fitted"):
        search().predict(X)


def test_weights_that_a_baseline_cannot_take_fail_its_trial():
    weight = np.linspace(0.5, 1.5, 150)
    values = lambda t: {"fusion": KNeighborsClassifier()} if t.suggest_categorical("near", [True, False]) else {}  # noqa: E731
    with pytest.warns(FitFailedWarning, match="KNeighborsClassifier takes no sample_weight"):
        search(to=values, sampler=GridSampler({"near": [True, False]}), n_trials=2).fit(X, y, sample_weight=weight)
