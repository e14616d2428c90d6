"""SubspaceClassifier and SubspaceRegressor: which points predict, on which rows they are trained and judged."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, TrainEndCheckpoint
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import CurveClassifier, EnsembleClassifier, ModelPool, SubspaceClassifier, SubspaceRegressor
from skfusion.collect import Seeds, Untrained
from skfusion.connect import Bezier, Complex, LearnedSubspace, Line, MultiPoint, SimplexPerMode, Simplicial
from skfusion.landscape import best_point, loss_at, points_at
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.repair import Recalibrate
from skfusion.state import is_statistic

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
VALUES = load_diabetes(return_X_y=True)
NET = mlp_classifier(max_epochs=5, module__hidden=(8,), lr=0.02)
NORMED = mlp_classifier(max_epochs=5, module__hidden=(8, 8), module__norm="batch", lr=0.02)
QUICK = Simplicial(n_epochs=2, n_samples=2)
LEARNED = LearnedSubspace(n_epochs=3)


def subspace(net=NET, **params):
    return SubspaceClassifier(net, **{"connect": QUICK, "n_points": 4, "random_state": 0, **params})


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, Y).pool_


@pytest.mark.parametrize(
    "connect", [QUICK, SimplexPerMode(n_epochs=2, n_samples=2), LEARNED, Bezier(n_epochs=2), Line()], ids=repr
)
def test_ensemble_is_the_mean_over_the_points(connect, pool):
    collect = Untrained(2) if connect.from_scratch else pool
    fitted = subspace(connect=connect, collect=collect).fit(X, Y)
    places = fitted.subspace_.spread(4, getattr(connect, "random_state", 0))
    assert len(fitted.members_) == 4
    for place, member in zip(places, fitted.members_, strict=True):
        assert same(member.state, fitted.subspace_.at(place))
    by_hand = [net.predict_proba(X) for net in fitted.estimators_]
    np.testing.assert_allclose(fitted.predict_proba(X), np.mean(by_hand, axis=0), atol=1e-6)
    assert len({p.tobytes() for p in fitted.predict_members(X)}) == 4
    assert len(fitted.subspace_.history) == {Line: 0, Bezier: 2}.get(type(connect), 3 if connect is LEARNED else 4)
    with pytest.raises(AttributeError, match="4 networks predict together, so there is no state_"):
        _ = fitted.state_


def test_simplexes_of_each_mode_have_equally_many_points(pool):
    fitted = subspace(connect=SimplexPerMode(1, n_epochs=1), collect=pool, n_points=6).fit(X, Y)
    of_first = [sum(m.meta["point"][:2]) > 0.5 for m in fitted.members_]
    assert sum(of_first) == 3


def test_bad_cells_of_a_plane_do_not_predict(pool):
    plane = MultiPoint([[-1, 1, -1], [1, -1, 1]], n_epochs=1, n_cells=2)
    fitted = subspace(connect=plane, collect=pool[[0]], n_points=5).fit(X, Y)
    places = [tuple(m.meta["point"]) for m in fitted.members_]
    assert {*places[:3]} == {(0.0, 1.0), (1.0, 0.0), (1.0, 2.0)} >= {*places[3:]}


def test_midpoint_and_best_point(pool):
    middle = subspace(predict_with="midpoint", collect=pool).fit(X, Y)
    assert same(middle.state_, middle.subspace_.midpoint)
    assert middle.point_.tolist() == [0.0, 0.0, 0.5, 0.5]
    assert np.isnan(middle.members_[0].score)
    np.testing.assert_allclose(middle.estimator_.predict_proba(X), middle.predict_proba(X), atol=1e-6)
    best = subspace(predict_with="best").fit(X, Y)
    assert len(best.held_out_) == 30
    held = X[best.held_out_], Y[best.held_out_]
    assert best.score(*held) == pytest.approx(best.members_[0].score, abs=1e-6)
    corners = [c for c in best.subspace_.grid(2) if np.argmax(c) < 2]
    scores = [EnsembleClassifier(NET, collect=best.pool_[[int(np.argmax(c))]]).fit(*held).score(*held) for c in corners]
    assert best.members_[0].score >= max(scores) - 1e-6


def test_a_member_that_predicts_is_that_of_the_pool():
    def first(estimator, inputs, labels):
        return -float(np.abs(estimator.predict_proba(inputs) - wanted).sum())

    fitted = subspace(predict_with="best").fit(X, Y)
    (member, *_) = fitted.pool_
    own = EnsembleClassifier(NET, collect=fitted.pool_[[0]], random_state=0).fit(X, Y)
    wanted = own.predict_proba(X[fitted.held_out_])
    again = subspace(predict_with="best", scoring=first).fit(X, Y)
    assert [m.name for m in again.members_] == ["seed-0"]
    assert same(again.state_, member.state)
    assert np.array_equal(again.members_[0].rows, member.rows)


def test_nothing_is_trained_on_rows_that_choose():
    """With labels at random, new rows have the score of chance, and so has the best point on average."""
    rng = np.random.RandomState(0)
    scores = []
    for seed in range(3):
        labels = rng.randint(2, size=150)
        connect = Simplicial(1, n_epochs=30, lr=0.1, n_samples=2)
        fitted = subspace(connect=connect, predict_with="best", random_state=seed).fit(X, labels)
        scores.append(fitted.members_[0].score)
        marks = fitted.pool_[0].rows
        assert len(marks) == 120
    assert np.mean(scores) < 0.75  # the best of a few, on 30 rows


def test_statistics_are_those_of_each_point():
    fitted = subspace(NORMED, connect=LearnedSubspace(n_epochs=2), n_points=3).fit(X, Y)
    statistics = [k for k in fitted.members_[0].state if is_statistic(k)]
    assert statistics
    for k in statistics:
        a, b, _ = (m.state[k] for m in fitted.members_)
        assert not torch.allclose(a, b)
        assert not torch.equal(a, fitted.subspace_.controls[0][k])
    best = subspace(NORMED, connect=LearnedSubspace(n_epochs=2), predict_with="best", n_points=1).fit(X, Y)
    held = X[best.held_out_], Y[best.held_out_]
    assert best.score(*held) == pytest.approx(best.members_[0].score, abs=1e-6)  # also at a corner
    grown = subspace(NORMED, predict_with="best", repair=Recalibrate()).fit(X, Y)
    assert np.isfinite(grown.predict_proba(X)).all()


def test_members_are_those_of_a_plain_ensemble_and_fuse_repeats_fit():
    fitted = subspace().fit(X, Y)
    plain = EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X, Y)
    assert all(same(a.state, b.state) for a, b in zip(fitted.pool_, plain.pool_, strict=True))
    again = subspace().fuse(fitted.pool_, X, Y)
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


def test_pickles_and_clones(pool):
    fitted = subspace(collect=pool).fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-7)
    assert all(same(a, b) for a, b in zip(again.subspace_.controls, fitted.subspace_.controls, strict=True))
    assert again.subspace_.basis.simplexes == fitted.subspace_.basis.simplexes
    assert repr(clone(fitted)) == repr(subspace(collect=pool))


def test_settings_of_the_connector_are_searched():
    search = GridSearchCV(subspace(), {"connect__n_connectors": [0, 1]}, cv=2).fit(X, Y)
    assert search.best_params_["connect__n_connectors"] in (0, 1)


def test_weights_are_repetitions():
    weight = np.arange(150) % 3
    weighted = subspace(predict_with="best").fit(X, Y, sample_weight=weight)
    repeated = subspace(predict_with="best").fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    assert weighted.members_[0].score == repeated.members_[0].score


def test_groups_are_held_out_together():
    groups = np.arange(150) // 10
    fitted = subspace(predict_with="best").fit(X, Y, groups=groups)
    assert not {*groups[fitted.held_out_]} & {*np.delete(groups, fitted.held_out_)}


def test_regression_does_not_depend_on_the_units():
    net = mlp_regressor(max_epochs=5, module__hidden=(8,), lr=0.02)
    connect = LearnedSubspace(n_epochs=10)
    fitted = SubspaceRegressor(net, connect=connect, random_state=0).fit(*VALUES)
    assert fitted.score(*VALUES) > 0.3
    assert np.isfinite(fitted.subspace_.history).all()


class Bare(nn.Module):
    """A skorch module of a user's own, whose sizes are given."""

    def __init__(self, n=6):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, n), nn.Tanh(), nn.Linear(n, 3))

    def forward(self, X):
        return self.net(X)


def test_nets_of_skorch():
    net = NeuralNetClassifier(Bare, criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1, verbose=0, module__n=5)
    fitted = subspace(net, connect=LearnedSubspace(n_epochs=15), predict_with="midpoint").fit(X, Y)
    assert fitted.score(X, Y) > 0.6
    instance = NeuralNetClassifier(Bare(), criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1, verbose=0)
    with pytest.raises(ValueError, match="a net with a module instance has those of the instance for all 3"):
        subspace(instance, connect=LEARNED).fit(X, Y)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"predict_with": "mean"}, ValueError, "predict_with must be 'ensemble', 'best' or 'midpoint'"),
        ({"n_points": 0}, ValueError, "n_points must be a whole number of at least 1"),
        ({"connect": Simplicial}, TypeError, r"connect must be a Connector, .* Write Simplicial\(\)"),
        ({"connect": Simplicial(n_samples=0)}, ValueError, "n_samples must be a whole number of at least 1"),
        (
            {"connect": Bezier(n_epochs=1), "collect": Untrained(3)},
            ValueError,
            r"joins 2 networks, and the pool has 3.*CurveClassifier\(connect=Bezier",
        ),
        (
            {"connect": SimplexPerMode(0), "predict_with": "midpoint"},
            ValueError,
            "The 2 simplexes have no corner in common",
        ),
    ],
)
def test_mistakes_are_named(params, error, message):
    with pytest.raises(error, match=message):
        subspace(**params).fit(X, Y)


def test_curves_are_for_pairs():
    with pytest.raises(TypeError, match=r"joins any number by one subspace: SubspaceClassifier\(connect=Simplicial"):
        CurveClassifier(NET, connect=Simplicial()).fit(X, Y)


def test_untrained_members_are_initial_weights():
    first, again = (Untrained(2).collect(NET, X, Y, random_state=s) for s in (0, 0))
    assert isinstance(first, ModelPool)
    assert all(same(a.state, b.state) for a, b in zip(first, again, strict=True))
    apart = [k for k, v in first[0].state.items() if not torch.equal(v, first[1].state[k])]
    assert any(k.endswith("weight") for k in apart)


@pytest.mark.parametrize(
    "callback", [EarlyStopping(load_best=True), TrainEndCheckpoint()], ids=lambda c: type(c).__name__
)
def test_callbacks_of_a_training_do_not_stop_one_from_scratch(callback, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the callback saves
    net = mlp_classifier(max_epochs=5, module__hidden=(8,), callbacks=[callback], train_split=ValidSplit(5))
    start = mlp_classifier(max_epochs=5, module__hidden=(8,))
    first, plain = (Untrained(2).collect(n, X, Y, random_state=0) for n in (net, start))
    assert all(same(a.state, b.state) for a, b in zip(first, plain, strict=True))
    assert subspace(net, connect=LEARNED, predict_with="midpoint").fit(X, Y).predict(X).shape == (150,)


def test_points_outside_of_an_estimator():
    from skfusion.testing import _problems as problems

    data, ends = problems.to_train(), problems.ends()
    subspace = Simplicial(n_connectors=1, n_epochs=2)(ends, data)
    found = points_at(subspace, subspace.grid(3), data)
    assert found[0].state is subspace.controls[0]  # a network has statistics of its own
    assert not torch.equal(found[2].state["1.running_var"], subspace.controls[2]["1.running_var"])
    np.testing.assert_allclose([p.loss for p in found], loss_at(subspace, subspace.grid(3), data).loss, rtol=1e-4)
    best = best_point(subspace, data, n_points=4)
    places = [*subspace.grid(2), *subspace.spread(4)]
    assert best.loss == pytest.approx(min(p.loss for p in points_at(subspace, places, data)), rel=1e-4)
    learned = LearnedSubspace(n_epochs=1)(ends, data)  # whose corners have no statistics
    corners = points_at(learned, learned.grid(2), data)
    assert not torch.equal(corners[0].state["1.running_var"], learned.controls[0]["1.running_var"])
    for repair in (None, Recalibrate()):
        losses = loss_at(learned, learned.grid(2), data, repair).loss
        np.testing.assert_allclose([p.loss for p in corners], losses, rtol=1e-4)
    assert Complex([(0,)]).center(1).tolist() == [1.0]
