"""How outputs of networks are read: targets of any size, and classes in any order."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer, r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetRegressor
from torch import nn

from skfusion import (
    BaggingFusion,
    BoostingFusion,
    CurveRegressor,
    DistillClassifier,
    DistillRegressor,
    DropoutEnsembleRegressor,
    EnsembleClassifier,
    EnsembleRegressor,
    ModelPool,
    PiModelClassifier,
    ReBasinMerger,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    SubspaceRegressor,
    WeightAveragingRegressor,
    out_of_bag,
)
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import EnsembleSelection, Stack
from skfusion.connect import Bezier, Simplicial
from skfusion.diagnose import diversity
from skfusion.estimators._targets import Outputs
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor, standardising

RNG = np.random.RandomState(0)
X, Z = RNG.normal(size=(200, 4)), RNG.normal(size=(100, 4))
SLOPES = np.array([1.0, 2.0, -1.0, 0.5])
NET = mlp_regressor(max_epochs=10, module__hidden=(16,), batch_size=16, lr=0.01)
SIZES = {"timestamps": (1.7e9, 20.0), "far": (-1e12, 1.0), "huge": (0.0, 1e100), "tiny": (0.0, 1e-40)}


def targets(inputs, size):
    shift, scale = SIZES[size]
    return shift + scale * (inputs @ SLOPES)


# ---- targets -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_estimators_get_the_targets_as_they_are(size):
    y = targets(X, size)
    fitted = StackingFusion(estimators=[("ridge", Ridge(1e-6))]).fit(X, y)
    assert fitted.predict(X).dtype == np.float64
    assert fitted.score(X, y) > 0.999
    both = StackingFusion(estimators=[("ridge", Ridge()), ("net", NET)], cv=2, random_state=0).fit(X, y)
    assert both.predict(X).dtype == np.float64
    assert both.score(X, y) > 0.9


FUSIONS = {
    "ensemble": EnsembleRegressor(NET, collect=Seeds(2), random_state=0),
    "selected": EnsembleRegressor(NET, collect=Seeds(2), combine=EnsembleSelection(), random_state=0),
    "stacked": EnsembleRegressor(NET, collect=Seeds(2), combine=Stack(), cv=2, random_state=0),
    "soup": SoupRegressor(NET, collect=Seeds(2), merge=Greedy(), random_state=0),
    "averaged": WeightAveragingRegressor(NET, random_state=0),
    "curve": CurveRegressor(NET, connect=Bezier(n_epochs=2), random_state=0),
    "subspace": SubspaceRegressor(NET, connect=Simplicial(1, 2, n_epochs=2), random_state=0),
    "boosted": BoostingFusion(NET, n_members=2, random_state=0),
    "bagged": BaggingFusion(NET, n_members=8, oob_score=True, random_state=0),
    "aligned": ReBasinMerger(NET, random_state=0),
    "dropped out": DropoutEnsembleRegressor(clone(NET).set_params(module__dropout=0.02), random_state=0),
    "distilled": DistillRegressor(NET, teacher=Ridge(), random_state=0),
}


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
@pytest.mark.filterwarnings("ignore:.*rows are in the samples of all:UserWarning")
@pytest.mark.parametrize("name", FUSIONS)
def test_networks_learn_timestamps(name):
    y, truth = targets(X, "timestamps"), targets(Z, "timestamps")
    fitted = clone(FUSIONS[name]).fit(X, y)
    assert fitted.predict(Z).dtype == np.float64
    assert r2_score(truth, fitted.predict(Z)) > 0.9
    ordinary = clone(FUSIONS[name]).fit(X, (y - 1.7e9) / 20)
    assert abs(fitted.score(Z, truth) - ordinary.score(Z, (truth - 1.7e9) / 20)) < 0.05
    if hasattr(fitted, "oob_score_"):
        assert fitted.oob_score_ > 0.9
        known = ~np.isnan(fitted.oob_prediction_)
        assert r2_score(y[known], fitted.oob_prediction_[known]) > 0.9
    if hasattr(fitted, "predict_members"):
        assert all(r2_score(truth, p[:, 0]) > 0.5 for p in fitted.predict_members(Z))
    if hasattr(fitted, "predict_std"):
        assert (fitted.predict_std(Z) < 200).all()  # in the units of y, which has a spread of 50
        low, high = fitted.predict_interval(Z[:50], Z[50:], truth[50:], coverage=0.8)
        assert np.mean((low <= truth[:50]) & (truth[:50] <= high)) > 0.5
    networks = fitted.estimators_[:1] if hasattr(fitted, "estimators_") else [fitted.estimator_]
    for network in networks:
        assert r2_score(truth, network.predict(Z.astype(np.float32))) > 0.5


@pytest.mark.parametrize("size", ["far", "huge", "tiny"])
def test_networks_learn_targets_of_any_size(size):
    y = targets(X, size)
    fitted = EnsembleRegressor(NET, collect=Seeds(2), combine=EnsembleSelection(), random_state=0).fit(X, y)
    assert fitted.score(Z, targets(Z, size)) > 0.9


def test_several_outputs_are_scaled_each_by_itself():
    y = np.column_stack([targets(X, "timestamps"), X @ SLOPES])
    fitted = EnsembleRegressor(NET, collect=Seeds(2), random_state=0).fit(X, y)
    assert r2_score(y, fitted.predict(X), multioutput="raw_values").min() > 0.9


def test_the_scale_travels_with_the_pool(tmp_path):
    y = targets(X, "timestamps")
    fitted = EnsembleRegressor(NET, collect=Seeds(2), random_state=0).fit(X, y)
    fitted.pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    late = targets(Z, "timestamps") + 1e4  # from which another scale would follow
    again = EnsembleRegressor(NET).fuse(pool, Z, late)
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    for fusion in (SoupRegressor(NET, merge=Uniform()), StackingFusion(NET), EnsembleRegressor(NET, collect=pool)):
        given = fusion.fit(Z, late) if getattr(fusion, "collect", None) is pool else fusion.fuse(pool, Z, late)
        assert abs(given.predict(X) - y).max() < 1e5
    other = EnsembleRegressor(NET, collect=Seeds(1), random_state=1).fit(X, y * 2).pool_
    mixed = ModelPool([*pool, other[0].replace(name="other")])
    with pytest.raises(ValueError, match=r"'seed-0' and 'other' .* standardised in different ways: .*StackingFusion"):
        EnsembleRegressor(NET).fuse(mixed, Z, late)
    assert StackingFusion(NET).fuse(mixed, Z, late).score(Z, late) > 0.9


def test_and_with_the_networks_of_an_ensemble():
    y = targets(X, "timestamps")
    fitted = EnsembleRegressor(NET, collect=Seeds(2), random_state=0).fit(X, y)
    pool = ModelPool.from_estimators(fitted.estimators_)
    np.testing.assert_array_equal(EnsembleRegressor(NET).fuse(pool, X, y).predict(X), fitted.predict(X))


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
def test_scores_are_those_of_the_targets():
    y, seen = targets(X, "timestamps"), []

    def scoring(estimator, inputs, truth):
        seen.append(truth)
        return -np.abs(estimator.predict(inputs).ravel() - truth.ravel()).mean()

    fitted = SoupRegressor(NET, collect=Seeds(2), scoring=scoring, random_state=0).fit(X, y)
    assert all(np.isin(truth.ravel(), y).all() for truth in seen)
    assert all(-200 < member.score < 0 for member in fitted.pool_)
    held = y[fitted.held_out_]
    for member in fitted.pool_:
        assert member.score == pytest.approx(-np.abs(member.predictions[:, 0] - held).mean())


def test_copies_and_rows_of_the_training_are_known_again():
    y = targets(X, "timestamps")
    fitted = EnsembleRegressor(NET, collect=Bootstrap(6), random_state=0).fit(X, y)
    assert out_of_bag(fitted, X, y).score > 0.9
    with pytest.warns(UserWarning, match="200 of the 200 rows"):
        SoupRegressor(NET).fuse(fitted.pool_, X, y)
    with pytest.warns(UserWarning, match="of the 200 rows"):
        diversity(fitted, X, y)
    with pytest.warns(UserWarning, match="rows used to calibrate"):
        fitted.predict_interval(Z, X, y)


def test_weights_are_repetitions_of_timestamps_too():
    y, weight = targets(X, "timestamps"), RNG.randint(1, 4, size=len(X))
    weighted = EnsembleRegressor(NET, collect=Seeds(1), random_state=0).fit(X, y, sample_weight=weight)
    repeated = EnsembleRegressor(NET, collect=Seeds(1), random_state=0).fit(X.repeat(weight, 0), y.repeat(weight))
    np.testing.assert_array_equal(weighted.predict(Z), repeated.predict(Z))


def test_a_pool_that_was_trained_on_such_targets_as_they_are():
    y = targets(X, "timestamps")
    with pytest.warns(UserWarning, match="a collector that is called by itself takes them as they are"):
        pool = Seeds(1).collect(NET, X.astype(np.float32), y, random_state=0)
    with pytest.warns(UserWarning, match="members of the pool were trained on them as they are"):
        EnsembleRegressor(NET).fuse(pool, Z, targets(Z, "timestamps"))


@pytest.mark.parametrize("instance", [False, True])
def test_a_pool_of_the_nets_of_an_ensemble_has_their_scale(tmp_path, instance):
    y = targets(X, "timestamps")
    net = clone(NET)
    if instance:
        net = NeuralNetRegressor(nn.Linear(4, 1), optimizer=torch.optim.Adam, lr=0.1, max_epochs=5, verbose=0)
    fitted = EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(X, y)
    own = fitted.estimators_[0].predict(X.astype(np.float32))
    ModelPool.from_estimators(fitted.estimators_).save(tmp_path)
    again = EnsembleRegressor(net, collect=ModelPool.load(tmp_path)).fit(Z, targets(Z, "timestamps"))
    np.testing.assert_allclose(again.predict(X), fitted.predict(X), rtol=1e-12)
    np.testing.assert_array_equal(fitted.estimators_[0].predict(X.astype(np.float32)), own)  # and keep it themselves


@pytest.mark.parametrize(
    ("y", "asked"),
    [
        (np.arange(100.0), False),
        (1990.0 + np.arange(30), False),
        (101325 + 300 * RNG.normal(size=100), False),
        (np.full(10, 1.7e9), False),
        (np.zeros(10), False),
        (1e9 * RNG.normal(size=100), False),
        (1.7e9 + 1e4 * RNG.normal(size=100), True),
        (-5000 + RNG.normal(size=100), True),
        (1e20 * RNG.normal(size=100), True),
        (1e-20 * RNG.normal(size=100), True),
    ],
)
def test_which_targets_are_standardised(y, asked):
    found = standardising(y[:, None])
    assert (found is not None) == asked
    if found is not None:
        shift, scale = found
        inner = (y - shift) / scale
        assert abs(inner.mean()) <= 0.6
        assert 0.6 < inner.std() < 1.5
        np.testing.assert_array_equal(inner * scale + shift, y)  # no digit is lost


def test_targets_of_ordinary_size_are_left_alone():
    y = 100 + 20 * (X @ SLOPES)
    fitted = EnsembleRegressor(NET, collect=Seeds(1), random_state=0).fit(X, y)
    assert fitted.predict(X).dtype == np.float32
    assert "target_scale" not in fitted.pool_[0].meta


# ---- classes -------------------------------------------------------------------------------------------------------
def test_columns_go_to_sorted_classes_and_back():
    columns = np.array(["c", "a", "b"])
    outputs = Outputs.of_classes(columns)
    P = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_array_equal(outputs.predictions(P), [[0.3, 0.2, 0.5]])
    np.testing.assert_array_equal(outputs.columns(np.sort(columns)), columns)
    codes = np.array([0, 1, 2])
    np.testing.assert_array_equal(columns[outputs.encoded(codes)], np.sort(columns))
    np.testing.assert_array_equal(outputs.rows(Rows(P, outputs.encoded(codes))).y, codes)
    assert Outputs.of_classes(np.array(["a", "b"])).order is None


B, CODES = load_breast_cancer(return_X_y=True)
LABELS = np.array(["a", "b"])[CODES]
TRAIN, TEST = slice(0, None, 2), slice(1, None, 2)


def classifier(classes=("b", "a"), **params):
    return mlp_classifier(max_epochs=10, module__hidden=(16,), batch_size=32, lr=0.02, classes=[*classes], **params)


CLASSIFIERS = {
    "ensemble": EnsembleClassifier(classifier(), collect=Seeds(2), combine=EnsembleSelection(), random_state=0),
    "out of fold": EnsembleClassifier(classifier(), collect=Seeds(2), combine=Stack(), cv=2, random_state=0),
    "soup": SoupClassifier(classifier(), collect=Seeds(2), merge=Greedy(), scoring="roc_auc", random_state=0),
    "stacking": StackingFusion(classifier(), n_members=2, cv=2, random_state=0),
    "stacked within others": StackingFusion(
        estimators=[
            ("piped", make_pipeline(StandardScaler(), classifier())),
            ("fused", EnsembleClassifier(classifier(), collect=Seeds(1))),
            ("distilled", DistillClassifier(classifier(), teacher=RandomForestClassifier(n_estimators=10))),
        ],
        cv=2,
        random_state=0,
    ),
    "boosted": BoostingFusion(classifier(), n_members=2, random_state=0),
    "bagged": BaggingFusion(classifier(), n_members=10, oob_score=True, random_state=0),
    "distilled": DistillClassifier(classifier(), teacher=RandomForestClassifier(random_state=0), random_state=0),
    "half labelled": PiModelClassifier(classifier(), random_state=0),
}


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
@pytest.mark.filterwarnings("ignore:.*rows are in the samples of all:UserWarning")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classes_are_sorted_whatever_order_the_net_names_them_in(name):
    fitted = clone(CLASSIFIERS[name]).fit(B[TRAIN], LABELS[TRAIN])
    assert fitted.classes_.tolist() == ["a", "b"]
    assert fitted.score(B[TEST], LABELS[TEST]) > 0.9
    assert roc_auc_score(LABELS[TEST], fitted.predict_proba(B[TEST])[:, 1]) > 0.9
    assert get_scorer("roc_auc")(fitted, B[TEST], LABELS[TEST]) > 0.9
    np.testing.assert_array_equal(fitted.classes_[fitted.predict_proba(B).argmax(axis=1)], fitted.predict(B))
    np.testing.assert_array_equal(fitted.predict_log_proba(B).argmax(axis=1), fitted.predict_proba(B).argmax(axis=1))
    for p in fitted.predict_members(B[TEST]) if hasattr(fitted, "predict_members") else ():
        assert np.mean(fitted.classes_[p.argmax(axis=1)] == LABELS[TEST]) > 0.7
    if hasattr(fitted, "oob_score_"):
        assert fitted.oob_score_ > 0.9
    if (pool := getattr(fitted, "pool_", None)) is not None:
        assert pool.classes.tolist() == ["b", "a"]  # the columns of its networks


@pytest.mark.parametrize("classes", [["c", "a", "b"], ["b", "c", "a"]])
def test_a_pool_keeps_the_order_of_its_columns(tmp_path, classes):
    x = RNG.normal(size=(300, 4))
    y = np.array(["a", "b", "c"])[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0)]
    fitted = EnsembleClassifier(classifier(classes), collect=Seeds(2), random_state=0).fit(x[:200], y[:200])
    assert fitted.score(x[200:], y[200:]) > 0.7
    fitted.pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    assert pool.classes.tolist() == classes
    net = mlp_classifier(module__hidden=(16,))  # which names no classes
    for fusion in (EnsembleClassifier(net), StackingFusion(net), SoupClassifier(net, merge=Uniform())):
        again = fusion.fuse(pool, x[200:], y[200:])
        assert again.classes_.tolist() == ["a", "b", "c"]
        assert again.pool_.classes.tolist() == classes
        if isinstance(fusion, EnsembleClassifier):
            np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
        assert again.score(x[200:], y[200:]) > 0.6
    with pytest.warns(UserWarning, match="200 of the 200 rows"):
        diversity(fitted, x[:200], y[:200])


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
def test_positive_class_of_a_score_is_the_last_of_the_sorted_ones():
    rare = np.where(np.arange(len(LABELS)) % 10 == 0, "b", "a")  # random: no network finds them
    seen = []

    def scoring(estimator, inputs, truth):
        seen.append(truth.mean())
        return 0.5

    SoupClassifier(classifier(), collect=Seeds(2), scoring=scoring, random_state=0).fit(B, rare)
    assert max(seen) < 0.5  # code 1 is "b", as in scikit-learn
