"""Members that look at what the former ones got wrong."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.datasets import load_diabetes, load_digits, make_moons
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from torch import nn

from skfusion import BoostingFusion, EnsembleClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import Boosting, Seeds
from skfusion.collect._boosting import r2, samme
from skfusion.estimators.recipes._boosting import weighted_median
from skfusion.nets import DivergedError, mlp_classifier, mlp_regressor

X, y = load_digits(return_X_y=True)
X, y = (X[:300] / 16).astype(np.float32), y[:300]
Z, t = load_diabetes(return_X_y=True)
Z = Z.astype(np.float32)


def weak(**params):
    return mlp_classifier(**{"max_epochs": 4, "module__hidden": (8,), "lr": 0.02, **params})


def values(**params):
    return mlp_regressor(**{"max_epochs": 10, "module__hidden": (8,), "lr": 0.02, **params})


class Told(ClassifierMixin, BaseEstimator):
    """Predicts what it is told; one that is fitted later is told something else."""

    answers: list = []  # noqa: RUF012

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.arange(10)
        self.answer_ = self.answers.pop(0)
        return self

    def predict(self, X):
        return self.answer_[X[:, 0].astype(int)]


class ToldValues(RegressorMixin, Told):
    pass


def test_members_and_votes_are_those_of_scikit_learn_given_the_same_predictions():
    fitted = BoostingFusion(weak(), n_members=5, random_state=0).fit(X, y)
    P = fitted.predict_members(X).argmax(axis=2)
    Told.answers = [*P]
    index = np.arange(300)[:, None]
    reference = AdaBoostClassifier(Told(), n_estimators=5).fit(index, y)
    assert len(fitted.pool_) == 5
    np.testing.assert_allclose([*fitted.member_weights_.values()], reference.estimator_weights_, rtol=1e-9)
    np.testing.assert_allclose([*fitted.member_errors_.values()], reference.estimator_errors_, rtol=1e-9)
    np.testing.assert_array_equal(fitted.predict(X), reference.predict(index))
    shares = np.stack([(c == P).T @ reference.estimator_weights_ for c in range(10)], axis=1)
    np.testing.assert_allclose(fitted.predict_proba(X), shares / reference.estimator_weights_.sum(), rtol=1e-5)


@pytest.mark.parametrize("learning_rate", [1.0, 0.5])
def test_values_are_those_of_scikit_learn_given_the_same_predictions(learning_rate):
    net = values(max_epochs=40)
    fitted = BoostingFusion(net, n_members=5, learning_rate=learning_rate, random_state=0).fit(Z, t)
    P = fitted.predict_members(Z)[:, :, 0].astype(np.float64)
    ToldValues.answers = [*P]
    index = np.arange(442)[:, None]
    reference = AdaBoostRegressor(ToldValues(), n_estimators=5, learning_rate=learning_rate, random_state=0)
    reference.fit(index, t.astype(np.float32).astype(np.float64))
    assert len(fitted.pool_) == 5
    np.testing.assert_allclose([*fitted.member_weights_.values()], reference.estimator_weights_, rtol=1e-6)
    np.testing.assert_allclose([*fitted.member_errors_.values()], reference.estimator_errors_, rtol=1e-6)
    np.testing.assert_allclose(fitted.predict(Z), reference.predict(index), rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_a_member_is_at_chance_on_the_weights_of_the_next(n_classes):
    rng = np.random.RandomState(n_classes)
    target, weight = rng.randint(n_classes, size=200), rng.uniform(size=200)
    weight /= weight.sum()
    P = 0.6 * np.eye(n_classes)[target] + rng.uniform(size=(200, n_classes))
    error, vote, after = samme(P, target, weight, 1.0, n_classes)
    wrong = P.argmax(axis=1) != target
    assert error == pytest.approx(weight[wrong].sum(), abs=1e-15)
    assert after[wrong].sum() == pytest.approx(1 - 1 / n_classes, abs=1e-12)
    assert after.sum() == pytest.approx(1, abs=1e-12)
    expected = weight * np.exp(vote * wrong)
    np.testing.assert_allclose(after, expected / expected.sum(), rtol=1e-12)


def test_the_training_error_of_two_classes_has_its_bound():
    A, b = make_moons(200, noise=0.3, random_state=0)
    given = weak(max_epochs=20, module__hidden=(3,))
    fitted = BoostingFusion(given, n_members=5, random_state=0).fit(A, b)
    errors = np.array([*fitted.member_errors_.values()])
    bounds = np.cumprod(2 * np.sqrt(errors * (1 - errors)))
    assert len(bounds) > 2
    assert all(a > b for a, b in pairwise(bounds))
    for n, bound in enumerate(bounds, 1):
        first = BoostingFusion(given).fuse(fitted.pool_[:n], A, b)
        assert 1 - first.score(A, b) <= bound + 1e-12


def test_errors_of_values_by_hand():
    P, target = np.array([[1.0], [2.0], [3.0], [9.0]]), np.array([[1.0], [2.5], [3.0], [8.0]])
    error, vote, after = r2(P, target, np.full(4, 0.25), 1.0)
    assert error == pytest.approx((0 + 0.5 + 0 + 1) / 4)
    beta = 0.375 / 0.625
    assert vote == pytest.approx(np.log(1 / beta))
    expected = beta ** (1 - np.array([0, 0.5, 0, 1]))
    np.testing.assert_allclose(after, expected / expected.sum())
    two = r2(np.hstack([P, 10 * P]), np.hstack([target, 10 * target]), np.full(4, 0.25), 1.0)
    assert two[:2] == pytest.approx((error, vote))  # the scale of a target does not matter


def test_the_weighted_median_by_a_loop():
    rng = np.random.RandomState(0)
    P, weights = rng.normal(size=(5, 40, 2)), rng.uniform(size=5)
    found = weighted_median(P, weights)
    for i in range(40):
        for j in range(2):
            pairs = sorted(zip(P[:, i, j], weights, strict=True))
            running = 0.0
            while running < 0.5 * weights.sum():
                value, w = pairs.pop(0)
                running += w
            assert found[i, j] == value
    odd = rng.normal(size=(7, 40, 1))
    np.testing.assert_array_equal(weighted_median(odd, np.ones(7)), np.median(odd, axis=0))


def test_a_member_is_a_run_on_the_weights_of_its_round():
    pool = Boosting(3).collect(weak(), X, y, random_state=7)
    seeds = np.random.RandomState(7).randint(np.iinfo(np.int32).max, size=3)
    weight, runner = np.full(300, 1 / 300), nets.Runner(pool[0].net, "classification")
    for i, (member, seed) in enumerate(zip(pool, seeds, strict=True)):
        rows = Rows(X, y, weight * 300 if i else None)
        fitted = nets.fit(member.net, rows, int(seed))
        for key, value in nets.state_of(fitted).items():
            torch.testing.assert_close(member.state[key], value, rtol=1e-4, atol=1e-5)
        error, vote, weight = samme(runner.predict(member.state, X), y, weight, 1.0, 10)
        assert member.meta["error"] == pytest.approx(error)
        assert member.meta["weight"] == pytest.approx(vote)
    assert pool.names == ["boost-0", "boost-1", "boost-2"]


def test_rows_are_drawn_by_their_weights():
    pool = Boosting(3, resample=True).collect(weak(), X, y, random_state=7)
    rows, runner = Rows(X, y), nets.Runner(pool[0].net, "classification")
    first, second, _ = (rows.seen(m.rows) for m in pool)
    assert 0.5 < first.mean() < 0.75
    wrong = runner.predict(pool[0].state, X).argmax(axis=1) != y
    assert second[wrong].mean() > second[~wrong].mean() + 0.2


def test_weights_of_rows_are_where_it_starts():
    weight = np.linspace(0.5, 1.5, 300)
    pool = Boosting(1).collect(weak(), X, y, random_state=0, sample_weight=weight)
    P = nets.Runner(pool[0].net, "classification").predict(pool[0].state, X)
    assert pool[0].meta["error"] == pytest.approx(weight[P.argmax(axis=1) != y].sum() / weight.sum())


def test_boosting_helps_a_weak_net():
    one = EnsembleClassifier(weak(max_epochs=2), collect=Seeds(1), random_state=0).fit(X, y)
    many = BoostingFusion(weak(max_epochs=2), n_members=15, random_state=0).fit(X, y)
    assert many.score(X, y) > one.score(X, y) + 0.1


def test_it_ends_with_a_member_that_is_always_right():
    pool = Boosting(10).collect(weak(max_epochs=200, lr=0.05), X[:40], y[:40], random_state=0)
    assert pool.names == ["boost-0"]
    assert pool[0].meta["error"] == 0.0
    assert pool[0].meta["weight"] == 1.0
    assert samme(np.eye(3), np.arange(3), np.full(3, 1 / 3), 1.0, 3)[:2] == (0.0, 1.0)
    assert r2(np.ones((3, 1)), np.ones((3, 1)), np.full(3, 1 / 3), 1.0)[:2] == (0.0, 1.0)


def test_it_ends_before_a_member_that_is_no_better_than_chance():
    stuck, target = nn.Linear(64, 3), np.repeat([0, 1, 2], [140, 140, 20])
    nn.init.zeros_(stuck.weight)
    stuck.bias.data = torch.tensor([0.0, 0.0, 1.0])  # it says 2 of every row, and cannot learn
    given = nets.with_module(weak(lr=0.0), stuck)
    with pytest.warns(UserWarning, match="Boosting ends with member 'boost-0'.*0.667 or more is no better.*kept alone"):
        pool = Boosting(4).collect(given, X, target, random_state=1)
    assert pool.names == ["boost-0"]
    assert pool[0].meta["error"] == pytest.approx(280 / 300)
    assert pool[0].meta["weight"] == 1.0


def test_chance_is_among_the_classes_that_rows_have():
    A, b = make_moons(200, noise=0.3, random_state=0)
    net = weak(max_epochs=30, module__hidden=(3,))
    narrow = Boosting(4).collect(net, A.astype(np.float32), b, random_state=0)
    wide = Boosting(4).collect(clone(net).set_params(classes=list(range(10))), A, b, random_state=0)
    assert len(narrow) == len(wide) == 4
    for member in (*narrow, *wide):  # whatever a head has room for, there are two classes
        error = member.meta["error"]
        assert member.meta["weight"] == pytest.approx(np.log((1 - error) / error), rel=1e-9)
    absent = np.where(np.arange(200) % 9, 1.0, 0.0)  # the only rows of a third class count nothing
    three = np.where(absent > 0, b, 2)
    with_absent = Boosting(2).collect(net, A, three, random_state=0, sample_weight=absent)
    error = with_absent[0].meta["error"]
    assert with_absent[0].meta["weight"] == pytest.approx(np.log((1 - error) / error), rel=1e-9)


def test_a_head_of_ten_classes_does_not_make_a_coin_better_than_chance():
    stuck = nn.Linear(64, 10)
    nn.init.zeros_(stuck.weight)
    stuck.bias.data = 10 * torch.eye(10)[1]  # it says 1 of every row, and cannot learn
    target = np.repeat([0, 1], [180, 120])
    with pytest.warns(UserWarning, match="its weighted error is 0.6, and 0.5 or more is no better than chance"):
        Boosting(4).collect(nets.with_module(weak(lr=0.0, classes=list(range(10))), stuck), X, target, random_state=1)


def test_weights_of_classes_that_are_all_alike_change_nothing():
    plain = weak(optimizer=torch.optim.SGD, lr=0.1)
    heavy = clone(plain).set_params(criterion__weight=torch.full((10,), 10.0))
    for one, other in zip(*(Boosting(4).collect(n, X, y, random_state=0) for n in (plain, heavy)), strict=True):
        for key, value in one.state.items():
            torch.testing.assert_close(other.state[key], value, rtol=1e-4, atol=1e-5)


def test_a_later_member_that_is_useless_is_left_out():
    found = []
    for seed in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = Boosting(30).collect(values(), Z, t, random_state=seed)
        assert len(pool) < 30
        assert all(m.meta["error"] < 0.5 for m in pool) or len(pool) == 1
        name = f"boost-{len(pool)}" if len(pool) > 1 or pool[0].meta["error"] < 0.5 else "boost-0"
        found.append(f"Boosting ends with member '{name}'" in str(caught[0].message))
    assert all(found)


def test_labels_that_do_not_exclude_each_other_are_refused():
    labels = (X[:, 10:12] > 0.5).astype(int)
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        BoostingFusion(weak(multilabel=True)).fit(X, labels)
    assert not BoostingFusion(weak()).__sklearn_tags__().classifier_tags.multi_label


def test_rows_that_cannot_be_weighted_can_be_drawn():
    own = weak(iterator_train__collate_fn=torch.utils.data.default_collate)
    with pytest.raises(ValueError, match="sample_weight with fractions needs skorch's default"):
        Boosting(2).collect(own, X, y, random_state=0)
    assert len(Boosting(2, resample=True).collect(own, X, y, random_state=0)) == 2


def test_members_that_were_not_boosted_cannot_vote():
    pool = Seeds(2).collect(weak(), X, y, random_state=0)
    with pytest.raises(ValueError, match="Member 'seed-0' has no weight in its meta, so it was not boosted"):
        BoostingFusion(weak()).fuse(pool, X, y)


def test_members_before_one_that_diverges_are_kept():
    class Diverges(nn.Module):
        made = 0

        def __init__(self):
            super().__init__()
            Diverges.made += 1
            self.layer = nn.Linear(64, 10)

        def forward(self, X):
            return self.layer(X) * (float("nan") if self.training and self.layer.weight[0, 0] > Diverges.limit else 1)

    Diverges.limit = float("inf")
    given = nets.mlp_classifier(max_epochs=2, lr=0.02).set_params(module=Diverges)
    first, second = (m.state["layer.weight"][0, 0].item() for m in Boosting(2).collect(given, X, y, random_state=1))
    assert first < second
    Diverges.limit = (first + second) / 2
    with pytest.raises(DivergedError, match="'boost-1' diverged") as caught:
        Boosting(2).collect(given, X, y, random_state=1)
    assert caught.value.pool.names == ["boost-0"]


@pytest.mark.parametrize("params", [{"n_members": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}])
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Boosting(**params).collect(weak(), X, y, random_state=0)
