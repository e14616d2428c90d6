"""Ensembles: what is refused before training, who predicts, and the seeds of what learns to combine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier
from skfusion.collect import Boosting, Collector, Seeds
from skfusion.combine import (
    Average,
    Calibrated,
    DynamicSelection,
    EnsembleSelection,
    GeometricAverage,
    Stack,
    Vote,
    WeightedAverage,
)
from skfusion.estimators.support._predictors import check_same_members
from skfusion.nets import Runner, mlp_classifier, mlp_regressor
from skfusion.select import Pick, TopK

X, y = load_iris(return_X_y=True)
Z, t = load_diabetes(return_X_y=True)
SMALL = {"max_epochs": 3, "module__hidden": (8,)}


class Untrained(Collector):
    """Fails the test if members are asked for."""

    def runs(self, net, rows, rng):
        raise AssertionError("Members are collected.")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"combine": Stack(RidgeClassifier())}, "RidgeClassifier has no predict_proba"),
        ({"combine": Calibrated(Stack(Ridge()))}, "Ridge has no predict_proba"),
        ({"combine": EnsembleSelection(n_rounds=0)}, "n_rounds of EnsembleSelection"),
        ({"combine": EnsembleSelection(scoring="no_such_score")}, "no_such_score"),
        ({"combine": EnsembleSelection(scoring="roc_auc_ovr", confidence=0.9)}, "not known to be a mean over rows"),
        ({"combine": EnsembleSelection(max_cost=1)}, "needs max_cost and costs together"),
        ({"combine": DynamicSelection(0)}, "n_neighbors of DynamicSelection"),
        ({"combine": Average([1, -1])}, "non-negative"),
        ({"combine": Calibrated(of="all")}, "of must be 'members' or 'ensemble'"),
        ({"select": TopK(0)}, "at least one member"),
        ({"select": Pick([])}, "at least one name or position"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_classifiers_refuse_parts_before_anything_is_trained(parts, message):
    with pytest.raises(ValueError, match=message):
        EnsembleClassifier(collect=Untrained(), **parts).fit(X, y)


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (Vote(), "Vote needs classes"),
        (GeometricAverage(), "GeometricAverage needs probabilities"),
        (Calibrated(), "Calibrated needs probabilities"),
        (Stack(LogisticRegression()), "LogisticRegression is a classifier"),
    ],
    ids=["vote", "geometric", "calibrated", "stack"],
)
def test_regressors_refuse_parts_before_anything_is_trained(combine, message):
    with pytest.raises(ValueError, match=message):
        EnsembleRegressor(collect=Untrained(), combine=combine).fit(Z, t)


def test_wrong_kinds_are_refused_before_anything_is_trained():
    with pytest.raises(TypeError, match="combine must be a Combiner"):
        EnsembleClassifier(collect=Untrained(), combine=TopK(1)).fit(X, y)
    with pytest.raises(ValueError, match="at least one member"):
        SoupClassifier(collect=Untrained(), select=TopK(0)).fit(X, y)


def test_a_number_of_weights_is_told_of_in_fit():
    with pytest.raises(ValueError, match="Average got 3 weights for 2 members"):
        EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2), combine=Average([1, 2, 3])).fit(X, y)


# ---- out-of-fold predictions are those of the same members -------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Boosting ends with member")
def test_folds_that_keep_unlike_members_are_told_of():
    rng = np.random.RandomState(0)
    A = rng.normal(size=(200, 5)).astype(np.float32)
    b = (A[:, 0] + rng.normal(size=200) > 0).astype(int)
    net = mlp_classifier(max_epochs=5, lr=0.02, module__hidden=(2,))
    stacked = EnsembleClassifier(net, collect=Boosting(20), combine=Stack(), cv=3, random_state=1)
    with pytest.raises(ValueError, match=r"kept \d+ members in fold 0 of cv and \d+ in .*use BoostingFusion"):
        stacked.fit(A, b)
    stacked.set_params(combine=WeightedAverage()).fit(A, b)  # as the message says


class ByRows(Collector):
    """Trains seeds, and names or drops the last by how many rows there are."""

    def __init__(self, renamed=False, above=0):
        self.renamed = renamed
        self.above = above

    def runs(self, net, rows, rng):
        runs = Seeds(3).runs(net, rows, rng)
        if len(rows) <= self.above:
            return runs
        return [*runs[:2], replace(runs[2], name=f"rows-{len(rows)}")] if self.renamed else runs[:2]


@pytest.mark.parametrize(
    ("collect", "message"),
    [
        (ByRows(above=120), "3 members in fold 0 of cv and 2 in the training on all rows"),
        (ByRows(renamed=True), "member 'rows-100' in fold 0 of cv where the training on all rows has 'rows-150'"),
    ],
    ids=["dropped", "renamed"],
)
def test_members_of_the_folds_are_those_of_all_rows(collect, message):
    rows = X + np.linspace(0, 1e-3, 150)[:, None]
    with pytest.raises(ValueError, match=message):
        EnsembleClassifier(mlp_classifier(**SMALL), collect=collect, combine=Stack(), cv=3).fit(rows, y)


def test_the_fold_that_differs_is_named():
    check_same_members(["a", "b"], ["a", "b"], "fold 1 of cv")
    with pytest.raises(ValueError, match="1 members in fold 0 of cv and 2 in fold 4 of cv"):
        check_same_members(["a"], ["a", "b"], "fold 4 of cv")


# ---- members of zero weight ----------------------------------------------------------------------------------------


LEARNED = {
    "weighted": WeightedAverage(),
    "selection": EnsembleSelection(max_members=2),
    "bags": EnsembleSelection(n_bags=3, max_members=2),
    "calibrated": Calibrated(EnsembleSelection(max_members=2)),
    "whole": Calibrated(WeightedAverage(), of="ensemble"),
}


@pytest.fixture(scope="module")
def pool():
    """Four members, two of which have seen little."""
    nets = [mlp_classifier(max_epochs=n, module__hidden=(8,), lr=0.05) for n in (30, 30, 1, 1)]
    fitted = [EnsembleClassifier(net, collect=Seeds(1), random_state=i).fit(X, y) for i, net in enumerate(nets)]
    members = [f.pool_[0].replace(name=f"m{i}", rows=None) for i, f in enumerate(fitted)]
    return fitted[0].pool_.replace(members)


@pytest.mark.parametrize("name", LEARNED)
def test_members_without_weight_do_not_run(pool, name, monkeypatch):
    ensemble = EnsembleClassifier(combine=LEARNED[name]).fuse(pool, X, y)
    kept = [m.name for m in ensemble.members_]
    assert len(kept) < 4
    assert ensemble.pool_.names == ["m0", "m1", "m2", "m3"]
    assert len(ensemble.estimators_) == len(ensemble.predict_members(X)) == len(kept)

    everyone = EnsembleClassifier().fuse(pool, X, y).predict_members(X)
    whole = LEARNED[name].__class__(**LEARNED[name].get_params(deep=False)).fit(everyone, y, "classification")
    weights = getattr(whole, "combine_", whole).weights_
    assert kept == [f"m{i}" for i in np.flatnonzero(weights)]
    np.testing.assert_allclose(ensemble.predict_proba(X), whole(everyone), rtol=0, atol=1e-6)
    inside = getattr(ensemble.combine_, "combine_", ensemble.combine_)
    np.testing.assert_allclose(inside.weights_, weights[weights > 0], rtol=0, atol=1e-12)

    run, states = Runner.outputs, []

    def counted(self, given, chunks):
        given = list(given)
        states.extend(given)
        return run(self, given, chunks)

    monkeypatch.setattr(Runner, "outputs", counted)
    many = np.tile(X, (3, 1))  # above the number of rows for which members are computed together
    ensemble.predict_proba(many)
    assert len(states) == len(kept)


def test_members_without_weight_are_left_out_of_regressors_and_with_select():
    net = mlp_regressor(**SMALL)
    fitted = EnsembleRegressor(net, collect=Seeds(5), select=TopK(4), combine=EnsembleSelection(1), random_state=0)
    fitted.fit(Z, t)
    assert len(fitted.pool_) == 5
    assert len(fitted.members_) == len(fitted.estimators_) == 1
    np.testing.assert_allclose(fitted.predict(Z), fitted.predict_members(Z)[0, :, 0], rtol=1e-6)
    assert fitted.predict_std(Z).tolist() == [0.0] * len(Z)


def test_members_to_whom_a_user_gives_no_weight_stay(pool):
    ensemble = EnsembleClassifier(combine=Average([1, 0, 0, 0])).fuse(pool, X, y)
    assert len(ensemble.members_) == 4


# ---- seeds of what learns to combine -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda meta: Stack(meta), lambda meta: Calibrated(Stack(meta))], ids=["stack", "in"])
def test_the_random_state_reaches_the_meta_learner(pool, wrap):
    meta = RandomForestClassifier(5)

    def fitted(seed, meta):
        return EnsembleClassifier(combine=wrap(meta), random_state=seed).fuse(pool, X, y)

    first, again, other = (fitted(seed, meta).predict_proba(X) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert meta.random_state is None
    own = RandomForestClassifier(5, random_state=7)
    assert np.array_equal(fitted(0, own).predict_proba(X), fitted(1, own).predict_proba(X))


class Casting(ClassifierMixin, BaseEstimator):
    """A network that takes float64, as scikit-learn's classifiers do."""

    def __init__(self, net=None):
        self.net = net

    def fit(self, X, y):
        self.net_ = clone(self.net).fit(X.astype(np.float32), y)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return self.net_.predict_proba(X.astype(np.float32))


def test_a_meta_learner_that_is_a_network_is_seeded_and_leaves_the_generators(pool):
    meta = Casting(mlp_classifier(max_epochs=2, module__n_in=12, module__n_out=3))
    before = torch.get_rng_state()
    first, again = (EnsembleClassifier(combine=Stack(meta), random_state=0).fuse(pool, X, y) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
