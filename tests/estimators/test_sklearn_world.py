"""Estimators inside scikit-learn's machinery: pipelines, searches, wrappers, callbacks, routing, storage."""

import io
import pickle
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfusion import (
    EnsembleClassifier,
    EnsembleRegressor,
    SnapshotEnsembleClassifier,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingRegressor,
)
from skfusion.collect import Collector, Seeds, Snapshots, Tail
from skfusion.combine import Average, Stack, Vote
from skfusion.estimators import _base
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.select import TopK

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
NAMES = np.array(["setosa", "versicolor", "virginica"])


def net(**params):
    return mlp_classifier(**{"max_epochs": 3, "module__hidden": (8,), "lr": 0.02, **params})


def soup(**params):
    return SoupClassifier(net(), **{"collect": Seeds(2), "random_state": 0, **params})


@pytest.fixture
def trained(monkeypatch):
    """Count calls of collectors and the networks that they trained."""
    counts = {"calls": 0, "networks": 0}
    call = _base._run_collector

    def counted(key, *args):
        pool = call(key, *args)
        counts["calls"] += 1
        counts["networks"] += len(pool)
        return pool

    monkeypatch.setattr(_base, "_run_collector", counted)
    return counts


def test_pipeline_and_its_parameters():
    pipe = make_pipeline(StandardScaler(), soup()).set_output(transform="pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipe.set_params(soupclassifier__collect__n_members=3, soupclassifier__estimator__lr=0.05)
    pipe.fit(frame, NAMES[y])
    assert len(pipe[-1].pool_) == 3
    assert pipe[-1].feature_names_in_.tolist() == list("abcd")
    assert set(pipe.predict(frame)) <= set(NAMES)


def test_column_transformer_on_strings():
    frame = pd.DataFrame({"length": X[:, 0], "colour": np.where(X[:, 2] > 3, "red", "blue"), "width": X[:, 3]})
    columns = ColumnTransformer(
        [("number", StandardScaler(), ["length", "width"]), ("name", OneHotEncoder(), ["colour"])]
    )
    pipe = make_pipeline(columns, soup()).fit(frame, NAMES[y])
    assert pipe.score(frame, NAMES[y]) > 0.5


def test_grid_over_nested_parameters():
    grid = {
        "collect__n_members": [1, 2],
        "merge": [Uniform(), Greedy(strict=True)],
        "estimator__lr": [0.01, 0.05],
        "select": [None, TopK(1)],
    }
    search = GridSearchCV(soup(), grid, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.best_estimator_.pool_) == search.best_params_["collect__n_members"]
    assert search.best_estimator_.estimator_.lr == search.best_params_["estimator__lr"]


def test_grid_over_a_pool_trains_nothing(trained):
    pool = soup().fit(X[::2], y[::2]).pool_
    before = dict(trained)
    search = GridSearchCV(
        SoupClassifier(collect=pool), {"merge": [Uniform(), Greedy()], "select": [None, TopK(2)]}, cv=3
    ).fit(X[1::2], y[1::2])
    assert trained == before
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.pool_.names == pool.names


def test_memory_trains_each_fold_once(tmp_path):
    seen = tmp_path / "seen"

    def grid():
        estimator = soup(collect=Counted(str(seen)), memory=str(tmp_path / "cache"))
        return GridSearchCV(estimator, {"merge": [Greedy(), Greedy(strict=True)], "select": [None, TopK(1)]}, cv=3)

    first = grid().fit(X, y)
    assert len(seen.read_text()) == 3 + 1  # the folds and the refit
    second = grid().fit(X, y)
    assert len(seen.read_text()) == 3 + 1
    np.testing.assert_array_equal(first.cv_results_["mean_test_score"], second.cv_results_["mean_test_score"])
    without = clone(first.best_estimator_).set_params(memory=None).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), without.predict_proba(X))


class Counted(Collector):
    """Seeds(2) that leave a mark in a file."""

    def __init__(self, path):
        self.path = path

    def runs(self, net, rows, rng):
        with open(self.path, "a") as file:
            file.write("x")
        return Seeds(2).runs(net, rows, rng)


def test_cross_validate_returns_estimators():
    found = cross_validate(soup(), X, y, cv=3, return_estimator=True, scoring=["accuracy", "neg_log_loss"])
    assert [len(e.pool_) for e in found["estimator"]] == [2, 2, 2]
    assert np.isfinite(found["test_neg_log_loss"]).all()


def test_calibrated_and_frozen():
    fitted = soup().fit(X, y)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert CalibratedClassifierCV(soup(), cv=2).fit(X, y).predict(X).shape == y.shape
    np.testing.assert_array_equal(FrozenEstimator(fitted).fit(X[:3], y[:3]).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    "estimator",
    [
        soup(),
        EnsembleClassifier(net(), collect=Snapshots(2), combine=Stack(), cv=2, random_state=0),
        SnapshotEnsembleClassifier(net(), n_cycles=2, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_storage_round_trips(estimator, tmp_path):
    fitted = estimator.fit(X, NAMES[y])
    expected = fitted.predict_proba(X)
    joblib.dump(fitted, tmp_path / "model")
    for other in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model")):
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    assert len(pickle.dumps(fitted)) < 100_000


def test_fitted_state_hashes_alike():
    fitted = soup().fit(X, y)
    assert joblib.hash(fitted.pool_) == joblib.hash(pickle.loads(pickle.dumps(fitted.pool_)))


def test_html_and_text_repr():
    estimator = SoupClassifier(net(), collect=Snapshots(3), merge=Greedy(strict=True), random_state=0)
    assert "Snapshots(n_cycles=3)" in repr(estimator)
    for shown in (estimator._repr_html_(), estimator.fit(X, y)._repr_html_()):
        assert "Snapshots" in shown
        assert "Greedy" in shown
    assert "SoupClassifier" in make_pipeline(StandardScaler(), estimator)._repr_html_()


def test_clone_copies_components():
    estimator = SoupClassifier(net(), collect=Seeds(2), merge=Greedy())
    twin = clone(estimator)
    assert twin.collect is not estimator.collect
    assert repr(twin.get_params()["merge"]) == "Greedy()"
    assert twin.collect.n_members == 2
    pool = soup().fit(X, y).pool_
    assert clone(SoupClassifier(collect=pool)).collect is pool


def test_routing_of_weights_and_groups():
    weight = np.where(y == 0, 2.0, 0.5)
    groups = np.repeat(np.arange(30), 5)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = soup().set_fit_request(sample_weight=True, groups=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, estimator)
        found = cross_validate(
            pipe, X, y, params={"sample_weight": weight, "groups": groups}, cv=GroupKFold(3), return_estimator=True
        )
        for fitted in found["estimator"]:
            assert fitted[-1].held_out_ is not None
        pipe.fit(X, y, sample_weight=weight, groups=groups)
    held = np.isin(np.arange(150), pipe[-1].held_out_)
    assert not set(groups[held]) & set(groups[~held])


# ---- callbacks ---------------------------------------------------------------------------------------------------


class Spy:
    """Records the tasks that end, and stops where asked to."""

    def __init__(self, stop=lambda name, n: False):
        self.stop, self.ended = stop, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        return self.stop(context.task_name, self.ended.count(context.task_name))

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_members_and_epochs():
    spy = Spy()
    soup(collect=Seeds(2, vectorize=False)).set_callbacks(spy).fit(X, y)
    assert spy.ended == [*["epoch"] * 3, "seed-0", *["epoch"] * 3, "seed-1", "collect", "fuse", "fit"]


def test_callbacks_stop_a_run_or_the_rest():
    spy = Spy(lambda name, n: name == "epoch" and n == 2)
    fitted = soup(collect=Seeds(2, vectorize=False)).set_callbacks(spy).fit(X, y)
    assert [m.meta["epoch"] for m in fitted.pool_] == [2, 3]
    spy = Spy(lambda name, n: name == "seed-0")
    fitted = soup(collect=Seeds(5)).set_callbacks(spy).fit(X, y)
    assert fitted.pool_.names == ["seed-0"]


def test_callbacks_with_a_pool():
    pool = soup().fit(X[::2], y[::2]).pool_
    spy = Spy()
    SoupClassifier(collect=pool).set_callbacks(spy).fit(X[1::2], y[1::2])
    assert "epoch" not in spy.ended


def test_progress_bar_and_verbose(capsys):
    soup().set_callbacks(ProgressBar()).fit(X, y)
    capsys.readouterr()
    estimator = soup(verbose=1).fit(X, y)
    assert "SoupClassifier" in capsys.readouterr().out
    soup().fit(X, y)
    assert capsys.readouterr() == ("", "")
    pickle.loads(pickle.dumps(estimator)).fit(X, y)


def test_scoring_monitor_scores_every_epoch():
    monitor = ScoringMonitor(scoring="accuracy")
    EnsembleClassifier(net(), collect=Seeds(2), random_state=0).set_callbacks(monitor).fit(X, y)
    logs = monitor.get_logs()
    frame = logs.data_as_pandas
    assert (frame.query("task_name == 'epoch'")["accuracy"].between(0, 1)).sum() == 6


# ---- randomness and parallel runs --------------------------------------------------------------------------------


def test_random_state():
    same = [soup(random_state=3).fit(X, y).predict_proba(X) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    rng = np.random.RandomState(3)
    estimator = soup(random_state=rng)
    first, second = (clone(estimator).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, same[0])
    np.testing.assert_array_equal(first, second)  # clones copy the generator
    moved = [estimator.fit(X, y).predict_proba(X) for _ in range(2)]
    assert np.abs(moved[0] - moved[1]).max() > 0  # which moves on
    free = [soup(random_state=None).fit(X, y).predict_proba(X) for _ in range(2)]
    assert np.abs(free[0] - free[1]).max() > 0


def test_global_generators_are_left_alone(untouched_rng):
    soup().fit(X, y).predict(X)
    EnsembleRegressor(mlp_regressor(max_epochs=2, module__dropout=0.5), collect=Seeds(2), random_state=0).fit(
        X, X[:, 0]
    )


def test_results_do_not_depend_on_the_global_state():
    np.random.seed(0)  # noqa: NPY002
    first = soup(collect=Tail(0.3)).fit(X, y).predict_proba(X)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(soup(collect=Tail(0.3)).fit(X, y).predict_proba(X), first)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_members_do_not_depend_on_jobs(backend):
    estimator = SoupClassifier(net(module__dropout=0.3), collect=Seeds(3), random_state=0)
    alone = clone(estimator).fit(X, y)
    with joblib.parallel_config(backend=backend):
        together = clone(estimator).set_params(n_jobs=2).fit(X, y)
    assert together.pool_.names == alone.pool_.names
    for a, b in zip(alone.pool_, together.pool_, strict=True):
        assert all(np.array_equal(a.state[k], b.state[k]) for k in a.state)
        assert np.array_equal(a.rows, b.rows)
    np.testing.assert_array_equal(alone.predict_proba(X), together.predict_proba(X))


def test_threads_may_share_a_fitted_estimator():
    big = np.tile(X, (10, 1))
    fitted = EnsembleClassifier(net(module__hidden=(64,)), collect=Seeds(3), random_state=0).fit(X, y)
    expected, wrong = fitted.predict_proba(big), []

    def work():
        for _ in range(10):
            if not np.array_equal(fitted.predict_proba(big), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_inputs_are_not_written():
    before = X.copy(), y.copy()
    weight = np.linspace(0, 1, 150)
    soup().fit(X, y, sample_weight=weight).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    np.testing.assert_array_equal(weight, np.linspace(0, 1, 150))


def test_regressors_in_a_search():
    Z, t = load_diabetes(return_X_y=True)
    small = mlp_regressor(max_epochs=3, module__hidden=(8,))
    search = GridSearchCV(SoupRegressor(small, collect=Tail(), random_state=0), {"collect__burn_in": [0.0, 0.5]}, cv=2)
    assert np.isfinite(search.fit(Z, t).best_score_)
    found = cross_validate(WeightAveragingRegressor(small, random_state=0), Z, t, cv=2)
    assert np.isfinite(found["test_score"]).all()


def test_combiners_in_a_search():
    estimator = EnsembleClassifier(net(), collect=Seeds(2), cv=2, random_state=0)
    search = GridSearchCV(estimator, {"combine": [Average(), Vote(), Stack(), None]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_skops_round_trip():
    fitted = soup().fit(X, y)
    data = skops.io.dumps(fitted)
    other = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert io.BytesIO(data).read(2) == b"PK"
