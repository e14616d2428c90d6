"""Parts of ensembles: scores and weights of combiners, and parameters of parts that were left out."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion import (
    DeepForestClassifier,
    DistillClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    NeuralDecisionForestClassifier,
    SnapshotEnsembleClassifier,
    SoupClassifier,
    StackingFusion,
)
from skfusion.collect import Collector, Seeds
from skfusion.combine import (
    Average,
    Calibrated,
    DynamicSelection,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)
from skfusion.forests import MultiGrainedScan
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.select import TopK

X, y = load_iris(return_X_y=True)
Z, t = load_diabetes(return_X_y=True)
SMALL = {"max_epochs": 3, "module__hidden": (8,)}


class Untrained(Collector):
    """Fails the test if members are asked for."""

    def runs(self, net, rows, rng):
        raise AssertionError("Members are collected.")


class UntrainedMember(ClassifierMixin, BaseEstimator):
    """Fails the test if it is trained."""

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("A member is trained.")


@pytest.fixture(scope="module")
def pool():
    fitted = EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(5), random_state=0).fit(X, y)
    return fitted.pool_.replace([m.replace(rows=None) for m in fitted.pool_])


# ---- the score of the estimator is that of its combiner ------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda c: c, Calibrated], ids=["alone", "calibrated"])
def test_selection_judges_by_the_score_of_the_ensemble(pool, wrap):
    def fitted(combine, scoring=None):
        combiner = EnsembleClassifier(combine=wrap(combine), scoring=scoring).fuse(pool, X, y).combine_
        return getattr(combiner, "combine_", combiner)

    asked = fitted(EnsembleSelection(), "accuracy")
    by_accuracy, by_loss = fitted(EnsembleSelection(scoring="accuracy")), fitted(EnsembleSelection())
    assert asked.scoring == "accuracy"
    assert asked.scores_[0].tolist() == by_accuracy.scores_[0].tolist()
    assert asked.weights_.tolist() == by_accuracy.weights_.tolist()
    assert by_loss.scoring is None
    assert by_loss.scores_[0].max() < 0  # of a log-loss
    own = fitted(EnsembleSelection(scoring="neg_log_loss"), "accuracy")
    assert own.scores_[0].tolist() == by_loss.scores_[0].tolist()


def test_the_parameters_stay_as_they_were_given(pool):
    combine = EnsembleSelection()
    ensemble = EnsembleClassifier(combine=combine, scoring="accuracy").fuse(pool, X, y)
    assert ensemble.combine is combine
    assert combine.scoring is None


def test_values_are_selected_by_the_score_of_the_ensemble():
    net = mlp_regressor(**SMALL)
    fitted = EnsembleRegressor(net, collect=Seeds(3), combine=EnsembleSelection(), scoring="neg_mean_absolute_error")
    fitted.set_params(random_state=0).fit(Z, t)
    assert fitted.combine_.scores_[0].max() < -1  # in units of the values


def test_scores_of_meta_learners_are_their_own(pool):
    meta = LogisticRegressionCV(Cs=2, cv=2, max_iter=1000, scoring=None, l1_ratios=(0,), use_legacy_attributes=False)
    for combine in (Stack(meta), Calibrated(Stack(meta))):
        fitted = EnsembleClassifier(combine=combine, scoring="accuracy").fuse(pool, X, y).combine_
        assert getattr(fitted, "combine_", fitted).final_estimator_.scoring is None


def test_a_score_that_a_combiner_cannot_use_is_refused_before_anything_is_trained():
    combine = EnsembleSelection(confidence=0.9, scoring="balanced_accuracy")
    with pytest.raises(ValueError, match="confidence tests the rows of a score, and scoring='balanced_accuracy'"):
        EnsembleClassifier(collect=Untrained(), combine=combine).fit(X, y)


@pytest.mark.parametrize("wrap", [lambda c: c, Calibrated], ids=["alone", "calibrated"])
def test_a_test_of_rows_keeps_a_score_that_has_some(pool, wrap):
    for scoring, expected in (("f1_macro", None), ("accuracy", "accuracy")):
        combine = wrap(EnsembleSelection(confidence=0.9))
        fitted = EnsembleClassifier(combine=combine, scoring=scoring).fuse(pool, X, y).combine_
        assert getattr(fitted, "combine_", fitted).scoring == expected


def test_a_function_that_reads_the_inputs_selects_members_and_does_not_weigh_them(pool):
    def long_ones(estimator, X, y):
        long = X[:, 0] > 5
        return np.mean(estimator.predict(X)[long] == y[long])

    ensemble = EnsembleClassifier(select=TopK(3), combine=EnsembleSelection(), scoring=long_ones).fuse(pool, X, y)
    assert ensemble.combine_.scoring is None
    assert ensemble.score(X, y) > 0.3


# ---- weights of members --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "combine",
    [
        WeightedAverage(),
        EnsembleSelection(max_members=2),
        Calibrated(WeightedAverage()),
        Calibrated(EnsembleSelection(max_members=2), of="ensemble"),
    ],
    ids=["weighted", "selection", "calibrated", "whole"],
)
def test_learned_weights_by_name(pool, combine):
    ensemble = EnsembleClassifier(combine=combine).fuse(pool, X, y)
    weights = ensemble.member_weights_
    assert [*weights] == pool.names
    assert sum(weights.values()) == pytest.approx(1)
    assert [name for name, weight in weights.items() if weight] == [m.name for m in ensemble.members_]
    inside = getattr(ensemble.combine_, "combine_", ensemble.combine_)
    assert [weight for weight in weights.values() if weight] == inside.weights_.tolist()
    assert len(ensemble.members_) < len(pool)


@pytest.mark.parametrize("kind", [Average, Vote, GeometricAverage], ids=["average", "vote", "geometric"])
def test_given_weights_by_name(pool, kind):
    given = EnsembleClassifier(combine=kind([1, 0, 3, 0, 0])).fuse(pool, X, y)
    assert given.member_weights_ == dict(zip(pool.names, [0.25, 0, 0.75, 0, 0], strict=True))
    assert EnsembleClassifier(combine=kind()).fuse(pool, X, y).member_weights_ is None


def test_weights_are_those_of_the_members_that_were_selected(pool):
    ensemble = EnsembleClassifier(select=TopK(2), combine=Average([3, 1])).fuse(pool, X, y)
    assert ensemble.member_weights_ == {
        m.name: weight for m, weight in zip(ensemble.members_, [0.75, 0.25], strict=True)
    }


@pytest.mark.parametrize("combine", [Median(), Stack(), DynamicSelection()], ids=["median", "stack", "dynamic"])
def test_combiners_without_weights_have_none(pool, combine):
    assert EnsembleClassifier(combine=combine).fuse(pool, X, y).member_weights_ is None


# ---- parameters of parts that are not there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "name", "message"),
    [
        (EnsembleClassifier(), "estimator__lr", r"estimator is None, .* such as estimator=mlp_classifier\(\)"),
        (EnsembleClassifier(), "combine__n_neighbors", r"combine is None, .* such as combine=Average\(\)"),
        (EnsembleRegressor(), "collect__n", r"collect is None, .* such as collect=Seeds\(5\)"),
        (SoupClassifier(), "merge__steps", r"merge is None, .* such as merge=Greedy\(\)"),
        (SnapshotEnsembleClassifier(), "estimator__lr", "SnapshotEnsembleClassifier cannot set estimator__lr"),
        (DeepForestClassifier(), "scan__stride", r"scan is None, .* such as scan=MultiGrainedScan\(\)"),
        (NeuralDecisionForestClassifier(), "estimator__lr", "estimator is None"),
        (StackingFusion(), "final_estimator__C", r"such as final_estimator=LogisticRegression\(\)"),
        (DistillClassifier(), "teacher__n_jobs", "teacher is None"),
        (EnsembleClassifier(combine=DynamicSelection), "combine__n_neighbors", r"such as combine=DynamicSelection\(\)"),
        (EnsembleClassifier(combine=Stack()), "combine__final_estimator__C", "Stack cannot set final_estimator__C"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else value,
)
def test_parts_that_were_left_out_have_no_parameters(estimator, name, message):
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**{name: 1})


def test_a_search_over_a_part_that_was_left_out_says_so():
    ensemble = EnsembleClassifier(collect=Untrained(), combine=Stack())
    search = GridSearchCV(ensemble, {"combine__final_estimator__C": [0.1, 1.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="Give the part first, such as final_estimator=LogisticRegression"):
        search.fit(X, y)


def test_a_part_and_its_parameters_may_be_set_together():
    ensemble = EnsembleClassifier().set_params(combine__n_neighbors=3, combine=DynamicSelection())
    assert ensemble.combine.n_neighbors == 3
    assert DeepForestClassifier().set_params(scan__stride=2, scan=MultiGrainedScan()).scan.stride == 2
    with pytest.raises(ValueError, match="Invalid parameter 'no_such'"):
        ensemble.set_params(no_such__thing=1)


# ---- networks and classes as parts ---------------------------------------------------------------------------------


def test_a_bare_net_is_no_meta_learner():
    net = mlp_classifier(**SMALL)
    for combine in (Stack(net), Calibrated(Stack(net))):
        with pytest.raises(ValueError, match=r"is a bare skorch net.*EnsembleClassifier\(net, collect=Seeds\(1\)\)"):
            EnsembleClassifier(collect=Untrained(), combine=combine).fit(X, y)
    with pytest.raises(ValueError, match=r"EnsembleRegressor\(net, collect=Seeds\(1\)\)"):
        EnsembleRegressor(collect=Untrained(), combine=Stack(mlp_regressor())).fit(Z, t)
    with pytest.raises(ValueError, match="is a bare skorch net"):
        StackingFusion(net, final_estimator=net).fit(X, y)


def test_a_bare_net_is_no_meta_learner_at_the_end_of_a_pipeline_either():
    net = mlp_classifier(**SMALL)
    for meta in (
        make_pipeline(StandardScaler(), net),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), net)),
    ):
        with pytest.raises(ValueError, match=rf"meta-learner {type(net).__name__} is a bare skorch net"):
            EnsembleClassifier(collect=Untrained(), combine=Stack(meta)).fit(X, y)
        with pytest.raises(ValueError, match=rf"meta-learner {type(net).__name__} is a bare skorch net"):
            StackingFusion(estimators=[("untrained", UntrainedMember())], final_estimator=meta).fit(X, y)


@pytest.mark.parametrize("wrap", [lambda c: c, Calibrated], ids=["alone", "calibrated"])
def test_a_meta_learner_that_takes_no_weights_is_refused_before_anything_is_trained(wrap):
    weight, meta = np.linspace(0.1, 2, 150), KNeighborsClassifier()
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight, but the rows are weighted"):
        EnsembleClassifier(collect=Untrained(), combine=wrap(Stack(meta))).fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight, but the rows are weighted"):
        StackingFusion(estimators=[("untrained", UntrainedMember())], final_estimator=meta).fit(X, y, weight)


def test_whole_weights_are_no_weights_to_a_meta_learner():
    weight, meta = np.arange(150) % 3, KNeighborsClassifier()
    with pytest.raises(AssertionError, match="Members are collected"):
        EnsembleClassifier(collect=Untrained(), combine=Stack(meta)).fit(X, y, sample_weight=weight)
    stack = StackingFusion(estimators=[("naive", GaussianNB())], final_estimator=meta, cv=2)
    assert stack.fit(X, y, sample_weight=weight).score(X, y) > 0.9


def test_a_net_in_an_ensemble_is_a_meta_learner(pool):
    meta = EnsembleClassifier(mlp_classifier(max_epochs=30), collect=Seeds(1))
    first, again = (EnsembleClassifier(combine=Stack(meta), random_state=0).fuse(pool, X, y) for _ in range(2))
    assert first.combine_.final_estimator_.n_features_in_ == 5 * 3  # it is sized to the predictions
    assert first.score(X, y) > 0.8
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))


def test_a_class_in_place_of_a_combiner():
    for combine in (Calibrated(Average), Average):
        with pytest.raises(TypeError, match=r"Write Average\(\)"):
            EnsembleClassifier(collect=Untrained(), combine=combine).fit(X, y)
