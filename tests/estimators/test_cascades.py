"""Ensembles and stacks that ask their members only for the rows that need them."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor, StackingFusion
from skfusion.collect import Hyper, Seeds
from skfusion.combine import Average, Calibrated, Cascade, EnsembleSelection
from skfusion.nets import Predictors, mlp_classifier, mlp_regressor


def digits(n=600):
    X, y = load_digits(return_X_y=True)
    return X[:n] / 16, y[:n]


def net(**params):
    return mlp_classifier(module__hidden=(8,), max_epochs=8, lr=0.03, batch_size=64, **params)


@pytest.fixture(scope="module")
def ensemble():
    return EnsembleClassifier(net(), collect=Seeds(5), combine=Cascade(budget=0.6), random_state=0).fit(*digits())


@pytest.fixture
def rows_asked(monkeypatch):
    """Return a list that gets the number of rows of each prediction of a member."""
    asked = []
    predict = Predictors.predict

    def counted(self, X, logs=False, which=None):
        assert which is not None, "All members were asked for all rows."
        asked.append(len(X))
        return predict(self, X, logs, which)

    monkeypatch.setattr(Predictors, "predict", counted)
    return asked


def test_an_ensemble_asks_members_only_for_the_rows_that_reach_them(ensemble, request):
    X = digits(1200)[0][600:]
    P = ensemble.predict_members(X)
    expected, n_asked = ensemble.combine_(P), ensemble.combine_.asked(P)
    asked = request.getfixturevalue("rows_asked")
    proba = ensemble.predict_proba(X)
    assert np.allclose(proba, expected, rtol=0, atol=1e-5)
    assert asked == [(n_asked > j).sum() for j in range(len(asked))]
    assert asked[0] == 600 > asked[1]
    again = pickle.loads(pickle.dumps(ensemble))
    assert np.array_equal(again.predict_proba(X), proba)
    assert np.array_equal(ensemble.predict(X), proba.argmax(axis=1))
    assert np.allclose(ensemble.predict_log_proba(X), np.log(proba.astype(np.float64)), rtol=1e-5)


def test_a_row_alone_has_the_result_that_it_has_among_others(ensemble):
    X = digits(700)[0][600:]
    alone = np.concatenate([ensemble.predict_proba(X[i : i + 1]) for i in range(100)])
    n_asked = ensemble.combine_.asked(ensemble.predict_members(X))
    one_by_one = [ensemble.combine_.asked(ensemble.predict_members(X[i : i + 1]))[0] for i in range(100)]
    assert np.array_equal(n_asked, one_by_one)
    assert np.allclose(alone, ensemble.predict_proba(X), rtol=0, atol=1e-5)


def test_the_cost_of_new_rows_is_about_the_budget_and_the_loss_little(ensemble):
    X, y = digits(1700)
    X, y = X[600:], y[600:]
    held = ensemble.held_out_
    full = EnsembleClassifier(net(), combine=Calibrated()).fuse(ensemble.pool_, *digits(), held_out=held)
    n_asked = ensemble.combine_.asked(ensemble.predict_members(X))
    assert n_asked.mean() / 5 == pytest.approx(0.6, abs=0.1)
    assert ensemble.score(X, y) > full.score(X, y) - 0.03
    assert ensemble.member_weights_ is None
    assert ensemble.combine_.cost_ <= 0.6


def test_members_of_different_architecture_are_asked_in_their_own_nets(request):
    X, y = digits(300)
    widths = Hyper([{"module__hidden": (8,)}, {"module__hidden": (6, 6)}, {"module__hidden": (4,)}])
    fitted = EnsembleClassifier(net(), collect=widths, combine=Cascade(threshold=0.5), random_state=0).fit(X, y)
    expected = fitted.combine_(fitted.predict_members(X))
    request.getfixturevalue("rows_asked")
    assert np.allclose(fitted.predict_proba(X), expected, rtol=0, atol=1e-5)


def test_a_regressor_stops_where_its_members_agree(request):
    X, y = load_diabetes(return_X_y=True)
    regressor = EnsembleRegressor(
        mlp_regressor(module__hidden=(8,), max_epochs=10), collect=Seeds(5), combine=Cascade(budget=0.7), random_state=0
    ).fit(X[:300], y[:300])
    assert regressor.combine_.cost_ <= 0.7
    P = regressor.predict_members(X[300:])
    expected, n_asked = regressor.combine_(P), regressor.combine_.asked(P)
    assert n_asked.min() == 2
    assert regressor.predict_std(X[300:]).shape == (142,)
    asked = request.getfixturevalue("rows_asked")
    assert np.allclose(regressor.predict(X[300:]), expected[:, 0], rtol=1e-5)
    assert asked == [(n_asked > j).sum() for j in range(len(asked))]


def test_a_cascade_of_labels(request):
    X, y = digits(400)
    Y = np.stack([y % 2, y > 4, y % 3 == 0], axis=1).astype(int)
    of_labels = net(criterion=nn.BCEWithLogitsLoss)
    fitted = EnsembleClassifier(of_labels, collect=Seeds(3), combine=Cascade(budget=0.7), random_state=0).fit(X, Y)
    P = fitted.predict_members(X)
    n_asked = fitted.combine_.asked(P)
    expected = fitted.combine_(P)
    asked = request.getfixturevalue("rows_asked")
    assert np.allclose(fitted.predict_proba(X), expected, rtol=0, atol=1e-5)
    assert asked == [(n_asked > j).sum() for j in range(len(asked))]


def test_costs_can_be_measured_in_fit():
    X, y = digits(300)
    sizes = Hyper([{"module__hidden": (400, 400)}, {"module__hidden": (4,)}])
    fitted = EnsembleClassifier(net(), collect=sizes, combine=Cascade(costs="measured"), random_state=0).fit(X, y)
    assert fitted.combine_.costs_.sum() == pytest.approx(1)
    assert fitted.combine_.costs_[0] > fitted.combine_.costs_[1] > 0


class Counted(DecisionTreeClassifier):
    """A tree that remembers how many rows it was asked for."""

    def predict_proba(self, X):
        """Predict, and remember the number of rows."""
        self.n_rows_ = len(X)
        return super().predict_proba(X)


@pytest.mark.parametrize("frame", [False, True])
def test_a_stack_of_any_members_asks_them_only_for_the_rows_that_reach_them(frame):
    X, y = load_breast_cancer(return_X_y=True, as_frame=frame)
    train, test = np.arange(300), np.arange(300, 569)
    at = (lambda rows: X.iloc[rows]) if frame else (lambda rows: X[rows])
    y = np.asarray(y)
    members = [
        ("shallow", Counted(max_depth=2, min_samples_leaf=20, random_state=0)),
        ("deeper", Counted(max_depth=4, min_samples_leaf=10, random_state=0)),
        ("forest", RandomForestClassifier(10, min_samples_leaf=5, random_state=0)),
    ]
    stack = StackingFusion(estimators=members, combine=Cascade(budget=0.5), cv=3, random_state=0).fit(
        at(train), y[train]
    )
    P = np.stack([m.predict_proba(at(test)) for m in stack.estimators_])
    combine = stack.combine_
    assert np.allclose(stack.predict_proba(at(test)), combine(P), rtol=0, atol=1e-12)
    reached = {int(k): int((combine.asked(P) > j).sum()) for j, k in enumerate(combine.order_)}
    assert reached[int(combine.order_[0])] == 269
    assert combine.cost_ <= 0.5
    for k in (0, 1):
        if reached.get(k):
            assert stack.estimators_[k].n_rows_ == reached[k]
    assert stack.score(at(test), y[test]) > 0.85
    assert np.array_equal(pickle.loads(pickle.dumps(stack)).predict(at(test)), stack.predict(at(test)))


def test_a_stack_of_members_of_single_and_double_precision():
    X, y = load_diabetes(return_X_y=True)
    members = [
        ("net", mlp_regressor(module__hidden=(4,), max_epochs=5)),
        ("ridge", Ridge()),
        ("tree", DecisionTreeRegressor(max_depth=3)),
    ]
    stack = StackingFusion(estimators=members, combine=Cascade(budget=0.9), cv=3, random_state=0).fit(X[:200], y[:200])
    P = np.stack([np.asarray(m.predict(X[200:]), np.float64).reshape(-1, 1) for m in stack.estimators_])
    assert np.allclose(stack.predict(X[200:]), stack.combine_(P)[:, 0], rtol=1e-5)
    assert len({len(X[200:]), *np.unique(stack.combine_.asked(P))} - {242}) == 2


def test_a_pool_of_networks_is_stacked_as_a_cascade(ensemble):
    X, y = digits(1000)
    stack = StackingFusion(net(), combine=Cascade(budget=0.4, costs="measured")).fuse(ensemble.pool_, X[600:], y[600:])
    P = np.stack([m.predict_proba(X) for m in stack.estimators_])
    assert np.allclose(stack.predict_proba(X), stack.combine_(P), rtol=0, atol=1e-5)
    assert stack.combine_.cost_ <= 0.4
    assert stack.combine_.costs_.sum() == pytest.approx(1)


def test_of_random_labels_nothing_is_learned_with_weights_copies_and_groups():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(150, 6)), np.arange(150) % 3
    index = np.repeat(np.arange(150), 2)
    memorising = mlp_classifier(module__hidden=(32,), max_epochs=30, lr=0.02, batch_size=32)
    ensemble = EnsembleClassifier(memorising, collect=Seeds(4), combine=Cascade(), random_state=0)
    slack = 4 * np.sqrt(2 / 9 / 30)
    for rows, more in [
        (np.arange(150), {}),
        (np.arange(150), {"sample_weight": np.full(150, 3.0)}),
        (index, {}),
        (index, {"groups": index}),
    ]:
        noise = 0.001 * rng.normal(size=(len(rows), 6)) if "groups" in more else 0
        table = ensemble.fit(X[rows] + noise, y[rows], **more).combine_.pareto_
        assert abs(table["accuracy"] - 1 / 3).max() < slack
        assert table["log_loss"].min() > np.log(3) - 0.15


def test_combiners_inside_judge_by_the_score_of_the_ensemble():
    X, y = digits(300)
    cascade = Cascade(EnsembleSelection())
    fitted = EnsembleClassifier(net(), collect=Seeds(3), combine=cascade, scoring="accuracy", random_state=0).fit(X, y)
    assert fitted.combine_.combine.scoring == "accuracy"
    assert cascade.combine.scoring is None
    assert len(fitted.members_) == np.count_nonzero(fitted.combine_.weights_)


def test_a_cascade_is_part_of_a_pipeline_of_parameters():
    ensemble = EnsembleClassifier(net(), combine=Cascade(Average()))
    ensemble.set_params(combine__budget=0.5, combine__combine__weights=[1, 2])
    assert repr(ensemble.combine) == "Cascade(combine=Average(weights=[1, 2]), budget=0.5)"
