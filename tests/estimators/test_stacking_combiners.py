"""StackingFusion with combiners other than Stack, members that fail, and a time limit."""

import re
import time

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from small_nets import small_nets

from skfusion import EnsembleClassifier, StackingFusion
from skfusion.collect import Seeds
from skfusion.combine import Average, Calibrated, EnsembleSelection, Stack, WeightedAverage

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
Z, t = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
MEMBERS = [("nb", GaussianNB()), ("near", KNeighborsClassifier(3)), ("tree", DecisionTreeClassifier(random_state=0))]

net, regressor = small_nets(max_epochs=5, module__hidden=(8,), lr=0.02)


class Fails(ClassifierMixin, BaseEstimator):
    """A classifier that raises where a fit has fewer rows than ``least``, or predicts NaN."""

    def __init__(self, least=np.inf, nan=False):
        self.least = least
        self.nan = nan

    def fit(self, X, y):
        if len(X) < self.least:
            raise ArithmeticError("it does not converge")
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), np.nan if self.nan else 1 / len(self.classes_))


class Slow(GaussianNB):
    """A classifier whose fits take a while."""

    def fit(self, X, y, sample_weight=None):
        time.sleep(0.05)
        return super().fit(X, y, sample_weight)


# ---- combiners ---------------------------------------------------------------------------------------------------


def test_ensemble_selection_on_out_of_fold_predictions():
    cv = KFold(4, shuffle=True, random_state=0)
    fitted = StackingFusion(estimators=MEMBERS, combine=EnsembleSelection(), cv=cv, random_state=0).fit(X, NAMES[y])
    P = np.stack([cross_val_predict(member, X, y, cv=cv, method="predict_proba") for _, member in MEMBERS])
    by_hand = EnsembleSelection().fit(P, y, "classification")
    assert list(fitted.member_weights_.values()) == by_hand.weights_.tolist()
    whole = np.stack([clone(member).fit(X, y).predict_proba(X) for _, member in MEMBERS])
    np.testing.assert_allclose(fitted.predict_proba(X), by_hand(whole))
    used = [name for name, weight in fitted.member_weights_.items() if weight]
    assert list(fitted.named_estimators_) == used
    assert len(fitted.estimators_) == len(used)


@pytest.mark.parametrize(
    "combine", [EnsembleSelection(), WeightedAverage(), Calibrated(WeightedAverage()), Average(), Calibrated(Stack())]
)
def test_a_net_and_boosted_trees_in_one_pool(combine):
    members = [("net", net()), ("boosting", HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5))]
    fitted = StackingFusion(estimators=members, combine=combine, cv=2, random_state=0).fit(X, NAMES[y])
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert fitted.score(X, NAMES[y]) > 0.8
    assert fitted.left_out_ == {}
    again = clone(fitted).fit(X, NAMES[y])
    np.testing.assert_array_equal(again.predict_proba(X), proba)


def test_values_by_ensemble_selection():
    members = [
        ("net", regressor()),
        ("boosting", HistGradientBoostingRegressor(max_iter=10)),
        ("ridge", make_pipeline(StandardScaler(), Ridge())),
    ]
    fitted = StackingFusion(estimators=members, combine=EnsembleSelection(), cv=3, random_state=0).fit(Z, t)
    assert fitted.score(Z, t) > 0.4
    assert sum(fitted.member_weights_.values()) == pytest.approx(1)


def test_final_estimator_is_short_for_stack():
    short = StackingFusion(estimators=MEMBERS, final_estimator=GaussianNB(), cv=3, random_state=0).fit(X, y)
    whole = StackingFusion(estimators=MEMBERS, combine=Stack(GaussianNB()), cv=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(short.predict_proba(X), whole.predict_proba(X))
    assert whole.member_weights_ is None
    beside = StackingFusion(estimators=MEMBERS, combine=Stack(GaussianNB()), cv=3, passthrough=True).fit(X, y)
    assert beside.combine_.final_estimator_.n_features_in_ == 3 * 3 + 4


def test_a_class_that_a_fold_lacks_has_its_column():
    folds = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    kinds = [("nb", GaussianNB()), ("net", net()), ("near", KNeighborsClassifier(3))]
    fitted = StackingFusion(estimators=kinds, combine=WeightedAverage(), cv=folds, random_state=0).fit(X, y)
    assert fitted.predict_proba(X).shape == (150, 3)
    assert fitted.score(X, y) > 0.6  # the members themselves know all classes


def test_whole_weights_are_repetitions_for_combiners():
    weight = np.random.RandomState(0).randint(1, 4, 150)
    parts = np.arange(150) % 2
    folds = [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(2)]
    stack = StackingFusion(estimators=MEMBERS, combine=WeightedAverage(), cv=folds, random_state=0)
    weighted = stack.fit(X, y, sample_weight=weight).member_weights_
    rows = np.repeat(np.arange(150), weight)
    stack.cv = [(np.flatnonzero(parts[rows] != k), np.flatnonzero(parts[rows] == k)) for k in range(2)]
    assert weighted == pytest.approx(stack.fit(X[rows], y[rows]).member_weights_, abs=1e-6)


def test_weights_reach_the_end_of_a_pipeline():
    weight = np.where(np.arange(442) % 3, 0.25, 1.7)
    members = [("ridge", make_pipeline(StandardScaler(), Ridge())), ("tree", DecisionTreeRegressor(max_depth=2))]
    fitted = StackingFusion(estimators=members, combine=Average(), cv=2, random_state=0).fit(Z, t, weight)
    expected = make_pipeline(StandardScaler(), Ridge()).fit(Z, t, ridge__sample_weight=weight / weight.mean())
    np.testing.assert_allclose(fitted.named_estimators_["ridge"].predict(Z), expected.predict(Z))
    near = make_pipeline(StandardScaler(), KNeighborsRegressor())
    with pytest.raises(ValueError, match="Member 'near' takes no sample_weight"):
        StackingFusion(estimators=[*members, ("near", near)], cv=2).fit(Z, t, weight)


def test_fuse_a_pool_by_ensemble_selection():
    pool = EnsembleClassifier(net(), collect=Seeds(3), random_state=0).fit(X[::2], NAMES[y[::2]]).pool_
    fitted = StackingFusion(combine=EnsembleSelection()).fuse(pool, X[1::2], NAMES[y[1::2]])
    assert list(fitted.member_weights_) == pool.names
    assert fitted.pool_.names == pool.names
    assert fitted.predict_proba(X).shape == (150, 3)


def test_random_labels_give_chance():
    rng = np.random.RandomState(0)
    inputs, labels = rng.normal(size=(300, 4)), rng.randint(2, size=300)
    members = [("tree", DecisionTreeClassifier()), ("near", KNeighborsClassifier(1)), ("nb", GaussianNB())]
    stack = StackingFusion(estimators=members, combine=EnsembleSelection(), random_state=0)
    fitted = stack.fit(inputs[:200], labels[:200])
    assert fitted.member_weights_["nb"] > 0.8  # in-sample predictions of the others would be perfect
    assert log_loss(labels[200:], fitted.predict_proba(inputs[200:])) > np.log(2) - 0.05


# ---- members that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (Fails(), "ArithmeticError in fold 0: it does not converge"),
        (Fails(least=101), "ArithmeticError in fold 0"),
        (Fails(least=0, nan=True), "ValueError in fold 0: Member 'bad' predicts NaN"),
    ],
)
def test_members_that_fail_are_left_out(member, why):
    stack = StackingFusion(estimators=[("bad", member), *MEMBERS], combine=WeightedAverage(), cv=3, random_state=0)
    with pytest.warns(UserWarning, match=rf"left out.*'bad': {why}"):
        stack.fit(X, y)
    assert list(stack.left_out_) == ["bad"]
    assert stack.left_out_["bad"].startswith(why)
    assert list(stack.member_weights_) == ["nb", "near", "tree"]
    assert stack.predict(X).shape == (150,)


def test_a_member_that_fails_in_one_fold_only():
    folds = [(np.arange(0, 150, 2), np.arange(1, 150, 2)), (np.arange(0, 150, 3), np.arange(1, 150, 3))]
    stack = StackingFusion(estimators=[*MEMBERS, ("bad", Fails(least=60))], cv=folds)
    with pytest.warns(UserWarning, match="'bad': ArithmeticError in fold 1"):
        stack.fit(X, y)
    assert "bad" not in stack.named_estimators_


def test_where_all_members_fail_the_error_names_each_with_its_cause():
    members = [("bad", Fails()), ("worse", Fails(least=0, nan=True)), ("as bad", Fails())]
    message = (
        "All 3 members failed. 'bad', 'as bad': ArithmeticError in fold 0: it does not converge; 'worse': ValueError "
        "in fold 0: Member 'worse' predicts NaN or infinity."
    )
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        StackingFusion(estimators=members, cv=2).fit(X, y)
    assert isinstance(caught.value.__cause__, ArithmeticError)


def test_the_only_member_is_named_when_it_fails_after_the_time_is_over():
    members = [("bad", Fails()), ("late", Fails())]
    with pytest.raises(ValueError, match="All 2 members failed. 'bad', 'late': ArithmeticError in fold 0"):
        StackingFusion(estimators=members, cv=2, time_limit=1e-6).fit(X, y)
    with pytest.raises(ValueError, match="The only member failed. 'bad': ArithmeticError in fold 0"):
        StackingFusion(estimators=members[:1], cv=2).fit(X, y)


# ---- time --------------------------------------------------------------------------------------------------------


def test_what_is_finished_in_time_is_used():
    members = [(f"slow-{i}", Slow(var_smoothing=10.0**-i)) for i in range(40)]
    stack = StackingFusion(estimators=members, combine=Average(), cv=3, time_limit=0.5)
    start = time.perf_counter()
    with pytest.warns(UserWarning, match=r"time_limit=0.5 s was over when \d+ of 40 members were finished"):
        stack.fit(X, y)
    assert time.perf_counter() - start < 4  # all 160 fits take 8 seconds
    finished = list(stack.named_estimators_)
    assert finished == [f"slow-{i}" for i in range(len(finished))]
    assert [*finished, *stack.left_out_] == [name for name, _ in members]
    assert set(stack.left_out_.values()) == {"time_limit"}


def test_members_do_not_depend_on_which_others_are_finished():
    members = [("net", net()), ("other", net()), *[(f"slow-{i}", Slow()) for i in range(3)]]
    whole = StackingFusion(estimators=members, combine=Average(), cv=2, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="left out"):
        part = StackingFusion(estimators=members, combine=Average(), cv=2, random_state=0, time_limit=1e-9).fit(X, y)
    np.testing.assert_array_equal(
        whole.named_estimators_["net"].predict_proba(X), part.named_estimators_["net"].predict_proba(X)
    )


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_limit_shorter_than_one_member_fits_one(n_jobs):
    stack = StackingFusion(estimators=MEMBERS, cv=3, time_limit=1e-6, n_jobs=n_jobs)
    message = (
        r"1 of 3 members were finished; these are left out: \['near', 'tree'\]. It is shorter than the fits of 'nb'"
    )
    with pytest.warns(UserWarning, match=message):
        stack.fit(X, y)
    assert list(stack.named_estimators_) == ["nb"]
    np.testing.assert_array_equal(stack.named_estimators_["nb"].predict(X), GaussianNB().fit(X, y).predict(X))


def test_a_limit_after_a_member_that_fails_fits_the_next():
    stack = StackingFusion(estimators=[("bad", Fails()), *MEMBERS], cv=3, time_limit=1e-6)
    with pytest.warns(UserWarning, match="'bad': ArithmeticError"), pytest.warns(UserWarning, match="time_limit=1e-06"):
        stack.fit(X, y)
    assert list(stack.named_estimators_) == ["nb"]
    assert list(stack.left_out_) == ["bad", "near", "tree"]


def test_a_long_limit_changes_nothing():
    plain = StackingFusion(estimators=MEMBERS, cv=3).fit(X, y)
    limited = StackingFusion(estimators=MEMBERS, cv=3, time_limit=3600).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), limited.predict_proba(X))


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"combine": EnsembleSelection}, TypeError, "combine must be a Combiner"),
        ({"combine": LogisticRegression()}, TypeError, "combine must be a Combiner"),
        ({"combine": Average(), "final_estimator": GaussianNB()}, ValueError, "Give combine or final_estimator, not"),
        ({"combine": Average(), "passthrough": True}, ValueError, "Average has none; use combine=Stack"),
        ({"combine": EnsembleSelection(n_rounds=0)}, ValueError, "n_rounds of EnsembleSelection"),
        ({"time_limit": 0}, ValueError, "time_limit must be more than 0 seconds"),
        ({"time_limit": np.nan}, ValueError, "time_limit must be more than 0 seconds"),
        ({"time_limit": "60"}, TypeError, "time_limit must be a number of seconds"),
        ({"time_limit": True}, TypeError, "time_limit must be a number of seconds"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_trained(params, error, message):
    stack = StackingFusion(estimators=[("bad", Fails())], cv=3, **params)
    with pytest.raises(error, match=message):
        stack.fit(X, y)


def test_members_without_probabilities_are_refused_where_these_are_combined():
    members = [("nb", GaussianNB()), ("margin", make_pipeline(StandardScaler(), LinearSVC()))]
    with pytest.raises(ValueError, match=re.escape("Member 'margin' has no predict_proba, and EnsembleSelection")):
        StackingFusion(estimators=members, combine=EnsembleSelection(), cv=2).fit(X, y)
    assert StackingFusion(estimators=members, combine=Stack(), cv=2).fit(X, y).score(X, y) > 0.8


def test_weights_of_classes_of_a_member_are_by_label():
    X, y = load_breast_cancer(return_X_y=True)
    labels = np.array(["benign", "malignant"])[y]
    heavy = LogisticRegression(class_weight={"benign": 1e6, "malignant": 1e-6})
    stack = StackingFusion(estimators=[("plain", make_pipeline(StandardScaler(), heavy))], cv=3, combine=Average())
    assert (stack.fit(X, labels).predict(X) == "benign").mean() > 0.9
    wrong = LogisticRegression(class_weight={"cured": 2.0})
    with pytest.raises(ValueError, match="class_weight names 'cured', which is no class"):
        StackingFusion(estimators=[("a", wrong)], cv=3).fit(X, labels)


def test_weights_of_classes_of_a_stack_reach_members_of_other_libraries():
    X, y = load_breast_cancer(return_X_y=True)
    for weighted in (0, 1):
        stack = StackingFusion(
            estimators=[("linear", make_pipeline(StandardScaler(), LogisticRegression()))],
            combine=Average(),
            class_weight={weighted: 1e6, 1 - weighted: 1e-6},
            cv=3,
        )
        assert (stack.fit(X, y).predict(X) == weighted).mean() > 0.9


def test_sparse_inputs_that_a_member_does_not_take_are_refused_before_training():
    stack = StackingFusion(estimators=[("net", net()), ("linear", LogisticRegression())])
    with pytest.raises(TypeError, match="Sparse input is not supported by all members"):
        stack.fit(csr_array(np.eye(20)), np.arange(20) % 2)
