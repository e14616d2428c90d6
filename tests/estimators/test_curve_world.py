"""Curves inside scikit-learn's machinery and that of the package: searches, comparisons, caches, storage, checks."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_checks import cases
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import CurveClassifier, CurveRegressor, EnsembleClassifier, SoupClassifier, compare_fusions
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.compare._fold import holds_out
from skfusion.connect import Bezier, Line, PolyChain
from skfusion.estimators import _base
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning
from skfusion.testing import checks_for
from skfusion.testing._laws_estimator import check_one_member_is_its_own_fusion
from skfusion.tuning import FusionSearch

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
NAMES = np.array(["setosa", "versicolor", "virginica"])
SMALL = {"max_epochs": 3, "module__hidden": (8,), "lr": 0.02}
QUICK = Bezier(n_epochs=2)
LEARNING = {"max_epochs": 15, "module__hidden": (16,), "lr": 0.02}  # enough for scikit-learn's checks of accuracy


def curve(net=None, **params):
    net = mlp_classifier(**SMALL) if net is None else net
    return CurveClassifier(net, **{"connect": QUICK, "n_points": 5, "random_state": 0, **params})


@pytest.fixture
def trained(monkeypatch):
    """Count calls of collectors."""
    calls = []
    run = _base._run_collector

    def counted(key, collect, net, rows, seed, n_jobs, progress):
        calls.append(key)
        return run(key, collect, net, rows, seed, n_jobs, progress)

    monkeypatch.setattr(_base, "_run_collector", counted)
    return calls


# ---- rules ---------------------------------------------------------------------------------------------------------

CHECKED = {
    "best": CurveClassifier(mlp_classifier(**LEARNING), predict_with="best", n_points=5),
    "three": CurveClassifier(mlp_classifier(**LEARNING, module__norm="batch"), collect=Seeds(3), n_points=3),
    "regressor": CurveRegressor(mlp_regressor(**LEARNING), predict_with="best", connect=PolyChain(), n_points=5),
    "aligned": CurveRegressor(mlp_regressor(**LEARNING, module__norm="batch"), align=WeightMatching(), n_points=3),
}


@pytest.mark.parametrize(("estimator", "check"), list(cases(CHECKED, {"best"})))
def test_curves_keep_to_scikit_learn(estimator, check):
    check(estimator)


LAWFUL = [
    curve(),
    curve(mlp_classifier(**SMALL, module__norm="batch"), predict_with="best"),
    curve(collect=Seeds(3), align=WeightMatching(), connect=PolyChain(n_epochs=2)),
    curve(predict_with="midpoint"),
    CurveRegressor(mlp_regressor(**SMALL), connect=QUICK, n_points=3),
]


def law_cases():
    """Every law of every estimator."""
    for i, estimator in enumerate(LAWFUL):
        for name, law in checks_for(estimator):
            yield pytest.param(estimator, law, id=f"{i}-{name}")


@pytest.mark.parametrize(("estimator", "law"), list(law_cases()))
def test_curves_keep_the_laws_of_estimators(estimator, law):
    law(estimator)


def test_the_exemption_is_needed():
    assert [*CurveRegressor._test_skips()] == [check_one_member_is_its_own_fusion.__name__]
    with pytest.raises(ValueError, match="joins two networks or more"):
        check_one_member_is_its_own_fusion(curve())


# ---- parameters and searches ---------------------------------------------------------------------------------------


def test_nested_parameters():
    params = curve().get_params()
    assert params["connect__n_epochs"] == 2
    assert params["predict_with"] == "ensemble"
    again = clone(curve()).set_params(connect__n_bends=2, collect=Seeds(2), collect__n_members=3)
    assert again.connect.n_bends == 2
    assert QUICK.n_bends == 1
    assert len(again.fit(X, y).curves_) == 2
    assert all(len(path.controls) == 4 for path in again.curves_.values())


def test_a_fitted_curve_does_not_follow_its_parameters():
    fitted = curve().fit(X, y)
    (path,) = fitted.curves_.values()
    before = path.weights(0.3)
    assert path.basis is not fitted.connect
    fitted.set_params(connect__n_bends=5)
    np.testing.assert_array_equal(path.weights(0.3), before)
    assert path.basis.n_bends == 1


def test_grid_search_over_connectors_and_ways(trained, tmp_path):
    grid = {
        "connect": [Line(), QUICK, PolyChain(n_epochs=2)],
        "predict_with": ["ensemble", "midpoint"],
        "align": [None, WeightMatching()],
    }
    search = GridSearchCV(curve(memory=str(tmp_path)), grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 12
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(trained) == 3  # two folds, and all rows
    nested = GridSearchCV(curve(), {"connect__n_bends": [0, 2], "predict_with": ["best"]}, cv=2).fit(X, y)
    assert np.isfinite(nested.cv_results_["mean_test_score"]).all()


def test_members_are_cached(tmp_path):
    first = curve(memory=str(tmp_path)).fit(X, y)
    second = curve(memory=str(tmp_path), connect=Line()).fit(X, y)
    assert [m.state.keys() for m in first.pool_] == [m.state.keys() for m in second.pool_]
    for a, b in zip(first.pool_, second.pool_, strict=True):
        assert all(torch.equal(a.state[k], b.state[k]) for k in a.state)
    np.testing.assert_array_equal(first.predict_proba(X), curve().fit(X, y).predict_proba(X))


def test_comparison_with_other_fusions():
    net = mlp_classifier(**SMALL)
    fusions = {
        "soup": SoupClassifier(net, collect=Seeds(2), merge=Uniform()),
        "curve": CurveClassifier(net, collect=Seeds(2), connect=QUICK, n_points=5),
        "tree": CurveClassifier(net, collect=Seeds(3), connect=QUICK, n_points=5),
    }
    table = compare_fusions(fusions, X, y, cv=2)
    assert table["n_members"].to_dict() == {"soup": 1, "curve": 5, "tree": 9}
    assert table["n_collected"].to_dict() == {"soup": 2, "curve": 2, "tree": 3}
    assert np.isfinite(table.drop(columns="n_merged")).all(axis=None)


def test_comparison_holds_rows_out_for_all_where_one_point_is_chosen():
    net = mlp_classifier(**SMALL)
    fusions = {
        "ensemble": EnsembleClassifier(net, collect=Seeds(2)),
        "curve": CurveClassifier(net, collect=Seeds(2), connect=QUICK, n_points=5, predict_with="best"),
    }
    assert [holds_out(f) for f in fusions.values()] == [False, True]
    table = compare_fusions(fusions, X, y, cv=2, hold_out=True)
    assert table["n_members"].to_dict() == {"ensemble": 2, "curve": 1}
    assert table["n_held_out"].nunique() == 1


def test_optuna_searches_over_curves():
    def space(trial):
        connect = {"line": Line(), "bezier": QUICK}[trial.suggest_categorical("connect", ["line", "bezier"])]
        return {"connect": connect, "predict_with": trial.suggest_categorical("way", ["ensemble", "best"])}

    search = FusionSearch(curve(), space, n_trials=3, cv=2, random_state=0).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(X).shape == (150,)


def test_cross_validation_of_a_pool():
    pool = EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    found = cross_validate(curve(collect=pool), X[1::2], y[1::2], cv=2, error_score="raise")
    assert np.isfinite(found["test_score"]).all()
    with pytest.warns(LeakageWarning):
        curve(collect=pool, predict_with="best").fit(X[::2], y[::2])


# ---- inputs --------------------------------------------------------------------------------------------------------


def test_frames_and_pipelines():
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipe = make_pipeline(StandardScaler(), curve()).set_output(transform="pandas").fit(frame, NAMES[y])
    assert pipe[-1].feature_names_in_.tolist() == list("abcd")
    assert pipe[-1].n_features_in_ == 4
    assert pipe[-1].classes_.tolist() == NAMES.tolist()
    assert {*pipe.predict(frame)} <= {*NAMES}
    with pytest.raises(ValueError, match="feature names"):
        pipe[-1].predict(frame.rename(columns={"a": "z"}))


def test_dict_inputs():
    class Two(nn.Module):
        def __init__(self, n_out):
            super().__init__()
            self.a, self.b = nn.Linear(2, 8), nn.Linear(2, 8)
            self.last = nn.Linear(8, n_out)

        def forward(self, left, right):
            return self.last((self.a(left) + self.b(right)).relu())

    net = NeuralNetClassifier(Two, criterion=nn.CrossEntropyLoss, max_epochs=3, train_split=None, verbose=0, lr=0.1)
    parts = {"left": X[:, :2], "right": X[:, 2:]}
    for align in (None, WeightMatching()):
        fitted = curve(net, align=align).fit(parts, y)
        assert fitted.predict_proba(parts).shape == (150, 3)
        np.testing.assert_allclose(fitted.predict_proba(parts), fitted.predict_members(parts).mean(axis=0), atol=1e-6)


def test_few_rows_are_predicted_as_many():
    fitted = curve().fit(X, y)
    for n in (1, 2, 150):
        np.testing.assert_allclose(fitted.predict_proba(X[:n]), fitted.predict_proba(np.tile(X, (3, 1)))[:n], atol=1e-6)


# ---- running -------------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_n_jobs():
    one, two = (curve(collect=Seeds(3), n_jobs=n).fit(X, y) for n in (None, 2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert one.spanning_tree_ == two.spanning_tree_
    assert one.barrier_ == two.barrier_


def test_seeds():
    np.testing.assert_array_equal(curve().fit(X, y).predict_proba(X), curve().fit(X, y).predict_proba(X))
    pool = curve().fit(X, y).pool_
    a, b = (curve(collect=pool, connect=Bezier(n_epochs=2, random_state=s)).fit(X, y) for s in (0, 1))
    assert np.abs(a.predict_proba(X) - b.predict_proba(X)).max() > 1e-5


def test_callbacks_see_members_and_progress(capsys):
    monitor = ScoringMonitor(scoring="accuracy")
    fitted = curve(verbose=1).set_callbacks(monitor, ProgressBar()).fit(X, y)
    assert fitted.score(X, y) > 0.3
    assert "CurveClassifier" in capsys.readouterr().out
    frame = monitor.get_logs().data_as_pandas
    assert frame.query("task_name == 'epoch'")["accuracy"].between(0, 1).sum() == 6


@pytest.mark.parametrize("net", [mlp_classifier(**SMALL), mlp_classifier(**SMALL, module__norm="batch")], ids="ab")
@pytest.mark.parametrize("params", [{}, {"predict_with": "best"}, {"align": WeightMatching(), "collect": Seeds(3)}])
def test_pickles_hold_arrays(net, params):
    fitted = curve(net, **params).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.barrier_ == fitted.barrier_
    assert again.spanning_tree_ == fitted.spanning_tree_
    for edge, path in fitted.curves_.items():
        other = again.curves_[edge]
        assert repr(other) == repr(path)
        assert other.history == path.history
        for a, b in zip(other.controls, path.controls, strict=True):
            assert all(torch.equal(a[k], b[k]) for k in b)
        np.testing.assert_array_equal(again.profiles_[edge].loss, fitted.profiles_[edge].loss)
    for (name, before), after in zip(fitted.__getstate__().items(), again.__getstate__().values(), strict=True):
        assert joblib.hash(before) == joblib.hash(after), name  # a pickled tensor would hold its address
    assert "_runner" not in vars(pickle.loads(pickle.dumps(again)))


def test_skops_round_trip():
    fitted = curve().fit(X, y)
    data = skops.io.dumps(fitted)
    other = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert other.curves_.keys() == fitted.curves_.keys()
    assert io.BytesIO(data).read(2) == b"PK"


def test_before_fit():
    for ask in (lambda c: c.predict(X), lambda c: c.estimators_, lambda c: c.state_, lambda c: c.predict_members(X)):
        with pytest.raises(NotFittedError):
            ask(curve())


def test_regressors_in_a_search():
    Z, t = load_diabetes(return_X_y=True)
    regressor = CurveRegressor(mlp_regressor(**SMALL), connect=QUICK, n_points=3, random_state=0)
    grid = {"connect__n_epochs": [1, 2], "predict_with": ["ensemble", "best", "midpoint"]}
    search = GridSearchCV(regressor, grid, cv=2, error_score="raise").fit(Z, t)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
