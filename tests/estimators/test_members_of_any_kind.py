"""Ensembles of pools that hold estimators of any library, beside networks or alone."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skfusion import (
    CurveClassifier,
    DistillClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    ModelPool,
    ReBasinMerger,
    SoupClassifier,
    StackingFusion,
    SubspaceClassifier,
    out_of_bag,
)
from skfusion.collect import Seeds
from skfusion.combine import (
    Average,
    Calibrated,
    Cascade,
    DynamicSelection,
    DynamicWeighting,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import Deferred, LeakageWarning, Member
from skfusion.select import Pick, TopK

TRAIN, VALID, TEST = slice(0, None, 3), slice(1, None, 3), slice(2, None, 3)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = (X - X.mean()) / X.std()
    return X, np.array(["b", "a", "c"])[y]


@pytest.fixture(scope="module")
def estimators(wine):
    X, y = wine[0][TRAIN], wine[1][TRAIN]
    return {
        "boosting": HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, y),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
        "search": GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}, cv=2).fit(X, y),
        "arrays": DecisionTreeClassifier(max_depth=3, random_state=0).fit(X.to_numpy(), y),
        "two": LogisticRegression().fit(X[y != "a"], y[y != "a"]),
    }


@pytest.fixture(scope="module")
def pools(wine, estimators):
    X, y = wine[0][TRAIN], wine[1][TRAIN]
    alone = ModelPool.from_estimators(estimators.items(), X, y)
    networks = EnsembleClassifier(mlp_classifier(max_epochs=8), collect=Seeds(2), random_state=0).fit(X, y).pool_
    mixed = ModelPool([networks[0], *alone, networks[1]], classes=networks.classes)
    return {"alone": alone, "mixed": mixed}


@pytest.fixture(params=["alone", "mixed"])
def pool(pools, request):
    return pools[request.param]


COMBINERS = [
    Average(),
    Median(),
    Vote(),
    GeometricAverage(),
    WeightedAverage(),
    EnsembleSelection(),
    Calibrated(EnsembleSelection()),
    DynamicSelection(),
    DynamicWeighting(),
    Stack(),
]


def name_of(part):
    return type(part).__name__


# ---- what is predicted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combine", COMBINERS, ids=name_of)
def test_every_combiner_takes_them(pool, wine, combine):
    X, y = wine
    ensemble = EnsembleClassifier(collect=pool, combine=combine, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ensemble.fit(X[VALID], y[VALID])
        proba = ensemble.predict_proba(X[TEST])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert ensemble.classes_.tolist() == ["a", "b", "c"]
    floor = 0.6 if isinstance(combine, GeometricAverage) else 0.9  # for which a class unknown to one has no chance
    assert ensemble.score(X[TEST], y[TEST]) > floor
    again = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(again.predict_proba(X[TEST]), proba)
    assert clone(ensemble).collect is pool
    np.testing.assert_allclose(np.exp(ensemble.predict_log_proba(X[TEST])), proba, atol=1e-12)


def test_members_predict_what_they_predict_by_themselves(pool, estimators, wine):
    X, y = wine
    ensemble = EnsembleClassifier().fuse(pool, X[VALID], y[VALID])
    P = dict(zip([m.name for m in ensemble.members_], ensemble.predict_members(X[TEST]), strict=True))
    for name in ("boosting", "pipeline", "search"):
        np.testing.assert_array_equal(P[name], estimators[name].predict_proba(X[TEST]))
    np.testing.assert_array_equal(P["arrays"], estimators["arrays"].predict_proba(X[TEST].to_numpy()))
    np.testing.assert_array_equal(P["two"][:, [1, 2]], estimators["two"].predict_proba(X[TEST]))
    assert (P["two"][:, 0] == 0).all()
    for member, restored in zip(ensemble.members_, ensemble.estimators_, strict=True):
        if member.is_network:
            np.testing.assert_allclose(
                restored.predict_proba(np.array(X[TEST], np.float32)), P[member.name], rtol=0, atol=1e-5
            )
        else:
            assert restored is member.estimator
    np.testing.assert_allclose(ensemble.predict_proba(X[TEST]), np.mean([*P.values()], axis=0), atol=1e-12)


def test_the_order_of_the_classes_of_a_pool_is_that_of_its_networks(pools, wine):
    X, y = wine
    order = np.array([2, 0, 1])
    pool = pools["mixed"]
    turned = [_turned(m, order) if m.is_network else m for m in pool]
    other = ModelPool(turned, classes=np.asarray(pool.classes)[order])
    expected, found = (EnsembleClassifier().fuse(p, X[VALID], y[VALID]).predict_proba(X[TEST]) for p in (pool, other))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    stack, other = (StackingFusion(combine=EnsembleSelection()).fuse(p, X[VALID], y[VALID]) for p in (pool, other))
    np.testing.assert_allclose(other.predict_proba(X[TEST]), stack.predict_proba(X[TEST]), atol=1e-6)


def _turned(member, order):
    state = dict(member.state)
    last = [key for key in state if state[key].shape[0] == 3]
    return member.replace(state={k: v[order.tolist()] if k in last else v for k, v in state.items()})


@pytest.mark.parametrize("select", [TopK(2), Pick(["search", "two"])], ids=name_of)
def test_selectors_choose_by_predictions(pool, wine, select):
    X, y = wine
    ensemble = EnsembleClassifier(collect=pool, select=select).fit(X[VALID], y[VALID])
    names = [m.name for m in ensemble.members_]
    scores = {m.name: m.score for m in ensemble.members_}
    every = EnsembleClassifier().fuse(pool, X[VALID], y[VALID])
    P = every.predict_members(X[VALID])
    expected = {m.name: np.mean(every.classes_[p.argmax(axis=1)] == y[VALID]) for m, p in zip(pool, P, strict=True)}
    if isinstance(select, Pick):
        assert names == ["search", "two"]
    else:
        assert sorted(expected, key=expected.get)[-1] in names
        assert min(expected[name] for name in names) >= sorted(expected.values())[-2]
    assert scores == pytest.approx({name: expected[name] for name in names})


def test_values_of_networks_and_estimators_are_in_the_units_of_y():
    X, y = load_diabetes(return_X_y=True)
    y = 1e5 * (1e3 + y)  # which networks learn standardised
    networks = EnsembleRegressor(mlp_regressor(max_epochs=5), collect=Seeds(1), random_state=0).fit(X[TRAIN], y[TRAIN])
    ridge = Ridge().fit(X[TRAIN], y[TRAIN])
    forest = RandomForestRegressor(5, random_state=0).fit(X[TRAIN], y[TRAIN])
    pool = ModelPool([*networks.pool_, *ModelPool.from_estimators([("ridge", ridge), ("forest", forest)])])
    ensemble = EnsembleRegressor(collect=pool, combine=WeightedAverage()).fit(X[VALID], y[VALID])
    assert ensemble.score(X[TEST], y[TEST]) > 0.3
    every = EnsembleRegressor().fuse(pool, X[VALID], y[VALID])
    expected = [networks.predict(X[TEST]), ridge.predict(X[TEST]), forest.predict(X[TEST])]
    np.testing.assert_allclose(every.predict_members(X[TEST])[:, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(every.predict(X[TEST]), np.mean(expected, axis=0), rtol=1e-6)
    assert every.predict_std(X[TEST]).shape == (len(expected[0]),)
    stack = StackingFusion(combine=EnsembleSelection()).fuse(pool, X[VALID], y[VALID])
    assert stack.score(X[TEST], y[TEST]) > 0.3
    assert not hasattr(stack, "predict_proba")


def test_several_labels_a_row(wine):
    X, _ = wine
    labels = np.column_stack([X["alcohol"] > 0, X["hue"] > 0, X["ash"] > 1]).astype(int)
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X[TRAIN], labels[TRAIN])
    near = KNeighborsClassifier().fit(X[TRAIN], labels[TRAIN])
    pool = ModelPool.from_estimators([tree, near])
    ensemble = EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, X[VALID], labels[VALID])
    assert ensemble.predict(X[TEST]).shape == labels[TEST].shape
    assert (ensemble.predict(X[TEST]) == labels[TEST]).mean() > 0.85


@pytest.mark.parametrize("fusion", [EnsembleClassifier(select=TopK(2)), StackingFusion()], ids=name_of)
def test_what_is_read_later_is_read_once(estimators, wine, fusion):
    X, y = wine
    calls = []
    members = [
        Member(name, estimator=Deferred(lambda name=name: calls.append(name) or estimators[name]))
        for name in ("boosting", "search", "two")
    ]
    pool = ModelPool(members, classes=["a", "b", "c"])
    assert not calls
    fused = fusion.fuse(pool, X[VALID], y[VALID])
    fused.predict(X[TEST])
    pickle.dumps(fused)
    assert sorted(calls) == ["boosting", "search", "two"]


# ---- inputs as they came -----------------------------------------------------------------------------------------


def test_tables_with_text_are_for_pools_of_estimators_only(wine):
    y = wine[1]
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"grape": np.array(["x", "y", "z"])[rng.randint(3, size=len(y))], "bottle": y})
    encoded = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(X[TRAIN], y[TRAIN])
    pool = ModelPool.from_estimators([("encoded", encoded), ("dummy", DummyClassifier().fit(X[TRAIN], y[TRAIN]))])
    for fusion in (EnsembleClassifier(combine=EnsembleSelection()), StackingFusion()):
        fused = fusion.fuse(pool, X[VALID], y[VALID], sample_weight=np.arange(len(y[VALID])) % 3)
        assert fused.score(X[TEST], y[TEST]) == 1
        assert pickle.loads(pickle.dumps(fused)).score(X[TEST], y[TEST]) == 1
    network = EnsembleClassifier(mlp_classifier(max_epochs=1), collect=Seeds(1)).fit(wine[0], y).pool_[0]
    mixed = ModelPool([network, *pool], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="Networks take numbers, and 2 columns of X are none"):
        EnsembleClassifier().fuse(mixed, X[VALID], y[VALID])


def test_missing_values_are_for_who_takes_them(wine):
    X, y = wine[0].copy(), wine[1]
    X.iloc[::7, 2] = np.nan
    boosting = HistGradientBoostingClassifier(max_iter=5).fit(X[TRAIN], y[TRAIN])
    pool = ModelPool.from_estimators([boosting], X[TRAIN], y[TRAIN])
    ensemble = EnsembleClassifier().fuse(pool, X[VALID], y[VALID])
    np.testing.assert_array_equal(ensemble.predict_proba(X[TEST]), boosting.predict_proba(X[TEST]))
    with pytest.warns(LeakageWarning):
        EnsembleClassifier(combine=EnsembleSelection()).fuse(pool, X[TRAIN], y[TRAIN])


def test_names_of_columns_reach_who_knows_them(pool, wine):
    X, y = wine
    ensemble = EnsembleClassifier().fuse(pool, X[VALID].to_numpy(), y[VALID])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ensemble.predict_proba(X[TEST].to_numpy())
    expected = EnsembleClassifier().fuse(pool, X[VALID], y[VALID]).predict_proba(X[TEST])
    np.testing.assert_allclose(found, expected, atol=1e-6)


# ---- honest numbers ----------------------------------------------------------------------------------------------


def test_rows_that_members_know_are_warned_of(pool, wine):
    X, y = wine
    for kind in (EnsembleClassifier(combine=WeightedAverage()), StackingFusion()):
        with pytest.warns(LeakageWarning, match=f"of the {len(y[TRAIN])} rows used"):
            kind.fuse(pool, X[TRAIN], y[TRAIN])
    with pytest.warns(LeakageWarning, match="to choose or weigh members"):
        EnsembleClassifier(collect=pool, select=TopK(1)).fit(X[TRAIN].to_numpy(), y[TRAIN])


def test_rows_are_predicted_by_members_that_do_not_know_them(pools, wine):
    X, y = wine
    halves = [(X[::2], y[::2]), (X[1::2], y[1::2])]
    trees = [DecisionTreeClassifier(random_state=0).fit(*half) for half in halves]
    made = [
        ModelPool.from_estimators([(name, tree)], *half)[0]
        for name, tree, half in zip("ab", trees, halves, strict=True)
    ]
    found = out_of_bag(ModelPool(made, classes=["a", "b", "c"]), X, y)
    np.testing.assert_array_equal(found.prediction[::2], trees[1].predict_proba(X[::2]))
    np.testing.assert_array_equal(found.prediction[1::2], trees[0].predict_proba(X[1::2]))
    assert found.score == np.mean(np.array(["a", "b", "c"])[found.prediction.argmax(axis=1)] == y)
    assert out_of_bag(pools["mixed"], X, y).n_members[VALID].tolist() == [7] * len(y[VALID])


def test_a_student_learns_from_them(pool, wine):
    X, y = wine
    student = DistillClassifier(mlp_classifier(max_epochs=20), teacher=pool, random_state=0).fit(X[VALID], y[VALID])
    assert student.score(X[TEST], y[TEST]) > 0.9


@pytest.mark.parametrize("combine", [EnsembleSelection(), Stack(), DynamicSelection()], ids=name_of)
def test_random_labels_give_chance(combine):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(900, 5)), rng.randint(2, size=900)
    train, valid, test = slice(0, 300), slice(300, 600), slice(600, 900)
    fitted = [KNeighborsClassifier(k).fit(X[train], y[train]) for k in (1, 9)]
    fitted.append(DecisionTreeClassifier(random_state=0).fit(X[train], y[train]))
    network = EnsembleClassifier(mlp_classifier(max_epochs=5), collect=Seeds(1), random_state=0).fit(X[train], y[train])
    pool = ModelPool([*network.pool_, *ModelPool.from_estimators(fitted, X[train], y[train])], classes=[0, 1])
    ensemble = EnsembleClassifier(collect=pool, combine=combine, random_state=0).fit(X[valid], y[valid])
    assert abs(ensemble.score(X[test], y[test]) - 0.5) < 4 * 0.5 / np.sqrt(300)


@pytest.mark.parametrize("combine", [EnsembleSelection(), WeightedAverage(), DynamicSelection()], ids=name_of)
def test_weights_are_repetitions(pool, wine, combine):
    X, y = wine[0][VALID].to_numpy(), wine[1][VALID]
    weight = np.arange(len(y)) % 3
    weighted = EnsembleClassifier(combine=combine).fuse(pool, X, y, sample_weight=weight)
    repeated = EnsembleClassifier(combine=combine).fuse(pool, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_groups_and_jobs_change_nothing(pool, wine):
    X, y = wine
    first = EnsembleClassifier(collect=pool, combine=Stack(), random_state=0).fit(X[VALID], y[VALID])
    groups = np.arange(len(y[VALID])) // 5
    other = EnsembleClassifier(collect=pool, combine=Stack(), random_state=0, n_jobs=2)
    other.fit(X[VALID], y[VALID], groups=groups)
    np.testing.assert_array_equal(other.predict_proba(X[TEST]), first.predict_proba(X[TEST]))


def test_what_is_given_is_left_as_it_was(wine):
    X, y = wine
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[TRAIN], y[TRAIN])
    before, frame = pickle.dumps(fitted), X.copy()
    pool = ModelPool.from_estimators([fitted], X[TRAIN], y[TRAIN])
    EnsembleClassifier(collect=pool, combine=EnsembleSelection()).fit(X[VALID], y[VALID]).predict(X[TEST])
    assert pickle.dumps(fitted) == before
    pd.testing.assert_frame_equal(X, frame)
    expected = pool[0].estimator.predict_proba(X[TEST])
    fitted.fit(X[VALID], np.roll(y[VALID], 1))
    np.testing.assert_array_equal(pool[0].estimator.predict_proba(X[TEST]), expected)


# ---- members that fail -------------------------------------------------------------------------------------------


class Fails(ClassifierMixin, BaseEstimator):
    """Fails, or predicts NaN, on rows of a certain number or more."""

    def __init__(self, way="raises", at_least=0):
        self.way = way
        self.at_least = at_least

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        if len(X) >= self.at_least and self.way == "raises":
            raise RuntimeError("no memory")
        return np.full((len(X), 3), np.nan if len(X) >= self.at_least else 1 / 3)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


COSTLY = Cascade(budget=2.5, costs=[9, 1, 3])


@pytest.mark.parametrize("combine", [Average([5, 1, 2]), COSTLY, Calibrated(COSTLY)], ids=name_of)
def test_what_is_given_for_each_member_is_that_of_those_which_are_left(wine, combine):
    X, y = wine
    bad = Member("bad", estimator=Fails("raises").fit(X, y))
    others = [Member(name, estimator=GaussianNB(var_smoothing=s).fit(X, y)) for name, s in (("a", 0.1), ("b", 1.0))]
    left = combine.among([1, 2], 3)
    expected = EnsembleClassifier(combine=left).fuse(ModelPool(others), X[VALID], y[VALID])
    for kind in (EnsembleClassifier, StackingFusion):
        with pytest.warns(UserWarning, match="Member 'bad'"):
            fused = kind(combine=combine).fuse(ModelPool([bad, *others]), X[VALID], y[VALID])
        np.testing.assert_allclose(fused.predict_proba(X[TEST]), expected.predict_proba(X[TEST]), atol=1e-6)


@pytest.mark.parametrize("way", ["raises", "NaN"])
@pytest.mark.parametrize("combine", [Average(), EnsembleSelection(), Stack()], ids=name_of)
def test_a_member_that_fails_is_left_out(pool, wine, way, combine):
    X, y = wine
    bad = Member("bad", estimator=Fails(way).fit(X, y))
    more = pool.replace([bad, *pool])
    says = "fails to predict, by RuntimeError: no memory" if way == "raises" else "predicts NaN or infinity"
    expected = EnsembleClassifier(combine=combine, random_state=0).fuse(pool, X[VALID], y[VALID])
    with pytest.warns(UserWarning, match=f"Members failed and are left out. Member 'bad' {says}"):
        ensemble = EnsembleClassifier(combine=combine, random_state=0).fuse(more, X[VALID], y[VALID])
    np.testing.assert_allclose(ensemble.predict_proba(X[TEST]), expected.predict_proba(X[TEST]), atol=1e-6)
    assert [*ensemble.left_out_] == ["bad"]
    assert expected.left_out_ == {}
    with pytest.warns(UserWarning, match="Member 'bad'"):
        stack = StackingFusion(combine=combine).fuse(more, X[VALID], y[VALID])
    assert [*stack.left_out_] == ["bad"]
    with pytest.raises(ValueError, match=f"Member 'bad' {says}"):
        EnsembleClassifier(combine=combine).fuse(ModelPool([bad], classes=pool.classes), X[VALID], y[VALID])


@pytest.mark.parametrize("way", ["raises", "NaN"])
def test_a_member_that_fails_later_is_named(pool, wine, way):
    X, y = wine
    late = Member("late", estimator=Fails(way, at_least=len(y)).fit(X, y))
    ensemble = EnsembleClassifier().fuse(pool.replace([*pool, late]), X[VALID], y[VALID])
    assert len(ensemble.predict(X[TEST])) == len(y[TEST])
    with pytest.raises(ValueError, match="Member 'late'"):
        ensemble.predict(X)


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_scores_are_for_stacks(pool, wine):
    X, y = wine
    scores = Member("scores", estimator=RidgeClassifier().fit(X[TRAIN], y[TRAIN]))
    more = pool.replace([*pool, scores])
    for fusion in (EnsembleClassifier(combine=Average()), StackingFusion(combine=EnsembleSelection())):
        with pytest.raises(ValueError, match="Member 'scores' has no predict_proba, and .* use combine=Stack"):
            fusion.fuse(more, X[VALID], y[VALID])
    for fusion in (EnsembleClassifier(combine=Stack(), random_state=0), StackingFusion()):
        fused = fusion.fuse(more, X[VALID], y[VALID])
        assert fused.score(X[TEST], y[TEST]) > 0.9


def test_scores_are_no_probabilities_to_be_unsure_by(pools, wine):
    X, y = wine
    scores = Member("scores", estimator=RidgeClassifier().fit(X[TRAIN], y[TRAIN]))
    stack = EnsembleClassifier(combine=Stack(), random_state=0)
    stack.fuse(pools["alone"].replace([*pools["alone"], scores]), X[VALID], y[VALID])
    with pytest.raises(ValueError, match="Member 'scores' has no predict_proba, and entropies are of probabilities"):
        stack.predict_uncertainty(X[TEST])
    assert stack.predict_set(X[TEST], X[TEST], y[TEST]).shape == (len(y[TEST]), 3)


@pytest.mark.parametrize("fusion", [EnsembleClassifier(), StackingFusion()], ids=name_of)
def test_classes_that_a_pool_does_not_know_are_named(pool, wine, fusion):
    X, y = wine
    other = LogisticRegression().fit(X[TRAIN], np.where(y[TRAIN] == "a", "d", y[TRAIN]))
    more = pool.replace([*pool, Member("other", estimator=other)])
    with pytest.raises(ValueError, match=r"Member 'other' predicts the classes \['d'\], which are not among"):
        fusion.fuse(more, X[VALID], y[VALID])
    with pytest.raises(ValueError, match="Member 'other' has no classes_"):
        fusion.fuse(pool.replace([*pool, Member("other", estimator=NoClasses())]), X[VALID], y[VALID])


class NoClasses:
    def predict_proba(self, X):
        return np.ones((len(X), 3)) / 3


@pytest.mark.parametrize("fusion", [EnsembleClassifier(), StackingFusion()], ids=name_of)
def test_a_pool_that_names_no_classes_has_those_of_its_members(estimators, wine, fusion):
    X, y = wine
    pool = ModelPool([Member(name, estimator=fitted) for name, fitted in estimators.items()])
    some = y[VALID] != "b"
    fused = fusion.fuse(pool, X[VALID][some], y[VALID][some])
    assert fused.classes_.tolist() == ["a", "b", "c"]
    if isinstance(fusion, EnsembleClassifier):
        assert fused.score(X[TEST], y[TEST]) > 0.9


@pytest.mark.parametrize(
    "fusion",
    [SoupClassifier(), CurveClassifier(), SubspaceClassifier(), DropoutEnsembleClassifier()],
    ids=name_of,
)
def test_what_needs_weights_names_a_member_that_has_none(pools, wine, fusion):
    X, y = wine
    expected = "Member 'boosting' is a fitted HistGradientBoostingClassifier, which has no weights"
    with pytest.raises(TypeError, match=expected):
        fusion.fuse(pools["mixed"], X[VALID], y[VALID])
    if "collect" in fusion.get_params():
        with pytest.raises(TypeError, match=expected):
            clone(fusion).set_params(collect=pools["mixed"]).fit(X[VALID], y[VALID])


def test_a_rebasin_merger_names_a_member_that_has_no_weights(wine, estimators):
    X, y = wine
    with pytest.raises(TypeError, match="'boosting' is a fitted HistGradientBoostingClassifier, which has no weights"):
        ReBasinMerger(members=[*estimators.items()]).fit(X, y)


def test_nothing_is_trained_before_a_pool_is_refused(pools, wine):
    with pytest.raises(ValueError, match="refit=True trains the members again"):
        EnsembleClassifier(collect=pools["alone"], refit=True).fit(wine[0][VALID], wine[1][VALID])
