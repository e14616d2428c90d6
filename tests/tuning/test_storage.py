"""Searches whose study is kept in a storage."""

import importlib.util
import os
import pickle
import socket
import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.samplers import CmaEsSampler, GPSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sklearn.base import clone
from sklearn.datasets import load_iris
from sqlalchemy.exc import IntegrityError, OperationalError

from skfusion import SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier
from skfusion.select import TopK
from skfusion.tuning import FusionSearch, _trials

X, y = load_iris(return_X_y=True)
SOUP = SoupClassifier(mlp_classifier(max_epochs=2, module__hidden=(4,)), collect=Seeds(2), random_state=7)


def space(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.1, 0.4), "select": TopK(trial.suggest_int("k", 1, 2))}


def journal(folder):
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def search(n_trials=3, estimator=SOUP, to=space, **params):
    return FusionSearch(estimator, to, **{"n_trials": n_trials, "cv": 2, "random_state": 0, "refit": False, **params})


def values_of(fitted):
    return [(t.params, t.value) for t in fitted.study_.trials]


@pytest.fixture
def judged(monkeypatch):
    """Counts the folds on which a fusion is fitted."""
    calls, judge = [], _trials.judge
    monkeypatch.setattr(_trials, "judge", lambda *args: calls.append(1) or judge(*args))
    return calls


@pytest.mark.parametrize("sampler", [None, CmaEsSampler, RandomSampler, GPSampler], ids=str)
def test_a_study_that_is_continued_is_as_if_it_had_not_been_interrupted(sampler, tmp_path, judged):
    whole = search(7, sampler=sampler).fit(X, y)
    first = search(3, sampler=sampler, storage=journal(tmp_path)).fit(X, y)
    assert values_of(first) == values_of(whole)[:3]
    judged.clear()
    rest = search(7, sampler=sampler, storage=journal(tmp_path)).fit(X, y)
    assert len(judged) == 4 * 2
    assert values_of(rest) == values_of(whole)
    assert rest.best_score_ == whole.best_score_
    np.testing.assert_array_equal(rest.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"])
    assert (rest.cv_results_["mean_fit_time"] > 0).all()


def test_a_study_that_is_complete_is_only_read(tmp_path, judged):
    first = search(refit=True, storage=journal(tmp_path)).fit(X, y)
    judged.clear()
    again = search(refit=True, storage=journal(tmp_path)).fit(X, y)
    fewer = search(2, refit=True, storage=journal(tmp_path)).fit(X, y)
    assert not judged
    assert values_of(again) == values_of(fewer) == values_of(first)
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))


def test_a_database_by_its_address(tmp_path):
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    first = values_of(search(2, storage=address, study_name="mine").fit(X, y))
    again = search(3, storage=address, study_name="mine").fit(X, y)
    assert values_of(again)[:2] == first
    assert optuna.study.get_all_study_names(address) == ["mine"]


TOGETHER = """
import os, sys, time
from pathlib import Path
import numpy as np
import optuna
from skfusion import SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.tuning import FusionSearch

OPENED
folder = Path(sys.argv[1])
(folder / "here" / str(os.getpid())).touch()
while len([*(folder / "here").iterdir()]) < 2:  # so that they begin together
    time.sleep(0.01)

def values(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.1, 0.4)}

soup = SoupClassifier(collect=Seeds(1), merge=Uniform())
search = FusionSearch(soup, values, n_trials=int(sys.argv[2]), cv=2, refit=False, random_state=0, storage=storage)
search.fit(np.load(folder / "X.npy"), np.load(folder / "y.npy"))
"""


def shared_by_two_processes(opened, folder, n_trials=6):
    """Return the study that two processes have run at once; ``opened`` has the code that makes their storage."""
    (folder / "here").mkdir()
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    run = [sys.executable, "-c", TOGETHER.replace("OPENED", opened), str(folder), str(n_trials)]
    both = [subprocess.Popen(run, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        errors = process.communicate(timeout=500)[1]
        assert process.returncode == 0, errors
    scope = {}
    exec(opened, scope)
    return optuna.load_study(study_name="fusion-search", storage=scope["storage"])


JOURNAL = """
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
storage = JournalStorage(JournalFileBackend(PATH + "/journal.log"))
"""
DATABASE = """
storage = "sqlite:///" + PATH + "/studies.db"
"""


@pytest.mark.parametrize("opened", [JOURNAL, DATABASE], ids=["journal", "database"])
def test_processes_share_a_study(opened, tmp_path):
    study = shared_by_two_processes(opened.replace("PATH", repr(str(tmp_path))), tmp_path)
    assert 6 <= len(study.trials) <= 7  # both may be at work when the sixth is done
    assert {t.state.name for t in study.trials} == {"COMPLETE"}
    assert len({t.params["share"] for t in study.trials}) == len(study.trials)
    assert [t.number for t in study.trials] == [*range(len(study.trials))]


SERVER = """
import sys
import optuna
from optuna.storages import JournalStorage, run_grpc_proxy_server
from optuna.storages.journal import JournalFileBackend
run_grpc_proxy_server(JournalStorage(JournalFileBackend(sys.argv[1])), host="localhost", port=int(sys.argv[2]))
"""
PROXY = """
import warnings
from optuna.storages import GrpcStorageProxy
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Optuna calls it experimental
    storage = GrpcStorageProxy(host="localhost", port=PORT)
    storage.wait_server_ready(timeout=60)
"""


@pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="grpcio is not installed")
def test_processes_share_a_study_through_a_server(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path / "journal.log"), port]) as server:
        try:
            study = shared_by_two_processes(PROXY.replace("PORT", port), tmp_path, n_trials=4)
            assert 4 <= len(study.trials) <= 5
            study._storage.close()
        finally:
            server.kill()
    assert len(optuna.load_study(study_name="fusion-search", storage=journal(tmp_path)).trials) >= 4


def test_a_net_has_the_same_mark_in_every_process():
    code = (
        "from skfusion.nets import mlp_classifier; from skfusion.tuning._candidate import mark_of;"
        "print(mark_of(mlp_classifier()))"
    )
    marks = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(marks) == 1


def test_a_trial_that_a_dead_process_has_left_is_not_waited_for(tmp_path):
    first = search(2, storage=journal(tmp_path)).fit(X, y)
    first.study_.ask()
    found = search(4, storage=journal(tmp_path)).fit(X, y)
    assert [*found.cv_results_["trial"]] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"cv": 3}, "data or folds"),
        ({"scoring": "neg_log_loss"}, "scoring"),
        ({"random_state": 1}, "random_state"),
        ({"estimator": clone(SOUP).set_params(merge=Greedy(strict=True))}, "estimator"),
        ({"cv": 3, "random_state": 1}, "data or folds and other random_state"),
    ],
)
def test_a_study_of_something_else_is_refused(changed, what, tmp_path):
    search(1, storage=journal(tmp_path)).fit(X, y)
    with pytest.raises(ValueError, match=f"'fusion-search' .* was made with other {what}, so its scores cannot"):
        search(**{"n_trials": 2, "storage": journal(tmp_path), **changed}).fit(X, y)


def test_what_changes_no_result_may_change(tmp_path):
    search(1, storage=journal(tmp_path)).fit(X, y)
    quick = clone(SOUP).set_params(n_jobs=1, memory=str(tmp_path))
    assert len(search(2, quick, storage=journal(tmp_path), sampler=RandomSampler).fit(X, y).study_.trials) == 2


def test_other_data_are_refused(tmp_path):
    search(1, storage=journal(tmp_path)).fit(X, y)
    with pytest.raises(ValueError, match="other data or folds"):
        search(2, storage=journal(tmp_path)).fit(X + 1, y)
    search(1, storage=journal(tmp_path), study_name="shifted").fit(X + 1, y)


def test_a_foreign_study_is_refused(tmp_path):
    optuna.create_study(study_name="fusion-search", storage=journal(tmp_path), direction="maximize").ask()
    with pytest.raises(ValueError, match="by something other than a FusionSearch. Give another study_name"):
        search(1, storage=journal(tmp_path)).fit(X, y)


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"]])
def test_a_study_that_does_not_maximise_is_refused(directions, tmp_path):
    optuna.create_study(study_name="fusion-search", storage=journal(tmp_path), directions=directions)
    with pytest.raises(ValueError, match="'fusion-search' .* was made to minimise, or .*Give another study_name"):
        search(1, storage=journal(tmp_path)).fit(X, y)


MOST = 0.4


def reading(trial):
    return {"validation_fraction": trial.suggest_float("share", 0.1, MOST)}


def other_merger(trial):
    return {**space(trial), "merge": Greedy(strict=True)}


@pytest.mark.parametrize(("first", "then"), [(space, other_merger), (reading, reading)])
def test_a_space_that_has_changed_is_refused(first, then, tmp_path, monkeypatch):
    search(1, to=first, storage=journal(tmp_path)).fit(X, y)
    monkeypatch.setitem(globals(), "MOST", 0.3)
    with pytest.raises(ValueError, match="was made with other space, so its scores cannot be compared"):
        search(2, to=then, storage=journal(tmp_path)).fit(X, y)


def test_a_space_that_depends_on_what_cannot_be_seen_is_told_of(tmp_path, monkeypatch):
    def values(trial):
        return {"select": TopK(trial.suggest_int(os.environ["NAME"], 1, 2))}

    monkeypatch.setenv("NAME", "k")
    search(1, to=values, storage=journal(tmp_path)).fit(X, y)
    monkeypatch.setenv("NAME", "n")
    with pytest.raises(ValueError, match="makes no parameters of trial 0.*Where the space has changed"):
        search(2, to=values, storage=journal(tmp_path)).fit(X, y)


def test_tables_that_another_process_makes_are_waited_for(tmp_path, monkeypatch):
    get, failures = optuna.storages.get_storage, [IntegrityError, OperationalError]

    def racing(storage):
        if failures:
            raise failures.pop()("CREATE TABLE studies", None, Exception("table studies already exists"))
        return get(storage)

    monkeypatch.setattr(optuna.storages, "get_storage", racing)
    found = search(1, storage=f"sqlite:///{tmp_path / 'studies.db'}").fit(X, y)
    assert len(found.study_.trials) == 1
    assert not failures


def test_a_database_that_cannot_be_opened_is_told_of(tmp_path):
    with pytest.raises(ValueError, match="studies.db cannot be opened: .*unable to open database file"):
        search(1, storage=f"sqlite:///{tmp_path / 'no' / 'such' / 'studies.db'}").fit(X, y)


def test_a_fitted_search_can_be_pickled(tmp_path):
    found = search(2, refit=True, storage=journal(tmp_path)).fit(X, y)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))
    assert values_of(again) == values_of(found)
