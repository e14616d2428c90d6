"""Forward selection with replacement."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from combine.guesses import guesses
from reference.selection import accuracy_score, forward_selection, log_loss_score
from scipy.stats import ttest_1samp, ttest_rel
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score as share_of_right_rows,
)
from sklearn.metrics import (
    balanced_accuracy_score,
    log_loss,
    make_scorer,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

from skfusion.combine import EnsembleSelection, _budget, _running
from skfusion.combine._ensemble_selection import standard_errors

TASKS = ["classification", "multilabel", "regression"]


def label_loss(y):
    return lambda p: np.log(np.where(y == 1, p, 1 - p)).mean()


def assert_same_path(fitted, P, score, **given):
    order, scores = forward_selection(P, score, **given)
    assert fitted.order_[0].tolist() == order
    assert np.allclose(fitted.scores_[0], scores, rtol=0, atol=1e-12)
    assert np.allclose(fitted.weights_, np.bincount(order, minlength=len(P)) / len(order), rtol=0, atol=1e-15)
    assert score(fitted(P)) == pytest.approx(scores[-1], abs=1e-6 if P.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_members", [1, 2, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_log_loss_matches_the_literal_selection(seed, n_members, weighted):
    P, y = guesses("classification", n_members, seed=seed)
    weight = np.random.RandomState(seed).randint(1, 4, size=len(y)) if weighted else None
    for scoring in (None, "neg_log_loss"):
        fitted = EnsembleSelection(scoring=scoring).fit(P, y, "classification", weight)
        assert_same_path(fitted, P, log_loss_score(y, weight))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["smooth", "votes", "tenths", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_area_under_the_curve_matches_the_literal_selection(seed, kind, weighted, monkeypatch):
    monkeypatch.setattr(_running, "BINS", (4, 32))
    P, y = guesses("classification", 7, n=70, n_outputs=2, seed=seed)
    if kind == "votes":  # most pairs of rows tie
        P = np.eye(2)[P.argmax(axis=2)]
    elif kind == "tenths":
        P = P.round(1)
    elif kind == "float32":
        P = P.astype(np.float32)
    weight = np.random.RandomState(seed).randint(1, 4, size=len(y)) if weighted else None

    def area(p):
        return roc_auc_score(y, p[:, 1], sample_weight=weight)

    fitted = EnsembleSelection(10, scoring="roc_auc").fit(P, y, "classification", weight)
    order, scores = forward_selection(P, area, n_rounds=10)
    assert fitted.order_[0].tolist() == order
    assert np.allclose(fitted.scores_[0], scores, rtol=0, atol=1e-9)


def test_the_area_under_the_curve_asks_no_scorer_for_candidates(monkeypatch):
    P, y = guesses("classification", 6, n=60, n_outputs=2, seed=0)
    monkeypatch.setattr(_running, "scorer_of", lambda *_: pytest.fail("a scorer was made"))
    EnsembleSelection(5, scoring="roc_auc").fit(P, y, "classification")


def test_the_area_of_candidates_far_from_the_best_is_not_sorted(monkeypatch):
    monkeypatch.setattr(_running, "BINS", (64,))
    P, y = guesses("classification", 12, n=400, n_outputs=2, seed=1)
    P[6:] = P[6:, ::-1]  # the rows of half of the members are mixed up, so that these are useless
    sorted_ones, of_sorted = [], _running.AreaUnderCurve._sorted
    monkeypatch.setattr(
        _running.AreaUnderCurve, "_sorted", lambda self, mean: sorted_ones.append(1) or of_sorted(self, mean)
    )
    EnsembleSelection(1, scoring="roc_auc").fit(P, y, "classification")
    assert 1 <= len(sorted_ones) <= 6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["smooth", "votes", "tenths", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_matches_the_literal_selection(seed, kind, weighted):
    P, y = guesses("classification", 9, n=80, n_outputs=4, seed=seed)
    if kind == "votes":  # most candidates tie, and so do classes
        P = np.eye(4)[P.argmax(axis=2)]
    elif kind == "tenths":
        P = np.round(P * 8) / 8
    elif kind == "float32":
        P = P.astype(np.float32)
    weight = np.random.RandomState(seed).randint(1, 4, size=len(y)) if weighted else None
    fitted = EnsembleSelection(scoring="accuracy").fit(P, y, "classification", weight)
    assert_same_path(fitted, P, accuracy_score(y, weight))


def test_accuracy_matches_with_many_rows_and_few_open_ones():
    P, y = guesses("classification", 5, n=3000, n_outputs=5)
    fitted = EnsembleSelection(scoring="accuracy").fit(P, y, "classification")
    assert_same_path(fitted, P, lambda p: (p.argmax(axis=1) == y).mean())


def test_rows_of_accuracy_are_counted_in_pieces(monkeypatch):
    monkeypatch.setattr("skfusion.combine._running.CHUNK", 3)  # less than a row of nine members
    P, y = guesses("classification", 9, n=80, n_outputs=4)
    fitted = EnsembleSelection(scoring="accuracy").fit(P, y, "classification")
    assert_same_path(fitted, P, accuracy_score(y))


@pytest.mark.parametrize("seed", range(3))
def test_values_match_the_literal_selection(seed):
    P, y = guesses("regression", 8, seed=seed)
    assert_same_path(EnsembleSelection().fit(P, y, "regression"), P, lambda p: r2_score(y, p), perfect=1.0)
    by_name = EnsembleSelection(scoring="r2").fit(P, y, "regression")
    assert_same_path(by_name, P, lambda p: r2_score(y, p), perfect=1.0)
    squares = EnsembleSelection(scoring="neg_mean_squared_error").fit(P, y, "regression")
    assert_same_path(squares, P, lambda p: -mean_squared_error(y, p))


@pytest.mark.parametrize("seed", range(3))
def test_labels_match_the_literal_selection(seed):
    P, y = guesses("multilabel", 8, seed=seed)
    assert_same_path(EnsembleSelection().fit(P, y, "multilabel"), P, label_loss(y))
    all_right = EnsembleSelection(scoring="accuracy").fit(P, y, "multilabel")
    assert_same_path(all_right, P, lambda p: share_of_right_rows(y, p > 0.5))


@pytest.mark.parametrize(
    ("task", "scoring", "score"),
    [
        ("classification", "balanced_accuracy", lambda y, p: balanced_accuracy_score(y, p.argmax(1))),
        ("classification", "roc_auc_ovr", lambda y, p: roc_auc_score(y, p, multi_class="ovr")),
        ("multilabel", "roc_auc", roc_auc_score),
        ("regression", "neg_mean_absolute_error", lambda y, p: -mean_absolute_error(y, p)),
    ],
    ids=["balanced", "auc", "label-auc", "absolute"],
)
def test_any_scorer_of_scikit_learn_will_do(task, scoring, score):
    P, y = guesses(task, 5)
    fitted = EnsembleSelection(n_rounds=8, scoring=scoring).fit(P, y, task)
    assert_same_path(fitted, P, lambda p: score(y, p), n_rounds=8)


def test_two_classes_and_a_scorer_of_ones_own():
    P, y = guesses("classification", 5, n_outputs=2)
    auc = EnsembleSelection(n_rounds=8, scoring="roc_auc").fit(P, y, "classification")
    assert_same_path(auc, P, lambda p: roc_auc_score(y, p[:, 1]), n_rounds=8)

    def own(estimator, X, y, sample_weight=None):
        assert X.shape == (len(y), 0)
        return -np.abs(estimator.predict_proba(X)[:, 1] - y).max()

    fitted = EnsembleSelection(n_rounds=8, scoring=own).fit(P, y, "classification")
    assert_same_path(fitted, P, lambda p: -np.abs(p[:, 1] - y).max(), n_rounds=8)


@pytest.mark.parametrize("quick", ["neg_log_loss", "accuracy"])
def test_the_quick_way_is_the_slow_way(quick):
    P, y = guesses("classification", 6)
    slow = {"accuracy": lambda y, p: share_of_right_rows(y, p.argmax(1)), "neg_log_loss": lambda y, p: -log_loss(y, p)}
    scorer = make_scorer(slow[quick], response_method="predict_proba")
    a, b = (EnsembleSelection(scoring=s).fit(P, y, "classification") for s in (quick, scorer))
    assert np.array_equal(a.order_[0], b.order_[0])
    assert np.allclose(a.scores_[0], b.scores_[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
@pytest.mark.parametrize("max_members", [1, 2, 3])
def test_no_more_than_max_members_are_kept(scoring, max_members):
    P, y = guesses("classification", 8)
    score = accuracy_score(y) if scoring else log_loss_score(y)
    fitted = EnsembleSelection(scoring=scoring, max_members=max_members).fit(P, y, "classification")
    assert_same_path(fitted, P, score, max_members=max_members)
    assert np.count_nonzero(fitted.weights_) <= max_members
    bagged = EnsembleSelection(max_members=max_members, n_bags=10).fit(P, y, "classification").weights_
    assert np.count_nonzero(bagged) == max_members
    assert bagged.sum() == pytest.approx(1)


def test_bags_average_selections_of_random_members():
    P, y = guesses("classification", 10)
    fitted = EnsembleSelection(n_bags=12, bag_fraction=0.4, random_state=3).fit(P, y, "classification")
    rng = np.random.RandomState(3)
    weights = np.zeros(10)
    for order, scores in zip(fitted.order_, fitted.scores_, strict=True):
        bag = sorted(rng.choice(10, 4, replace=False))
        expected, known = forward_selection(P, log_loss_score(y), candidates=bag)
        assert order.tolist() == expected
        assert np.allclose(scores, known, rtol=0, atol=1e-12)
        weights += np.bincount(expected, minlength=10) / len(expected) / 12
    assert len(fitted.order_) == 12
    assert np.allclose(fitted.weights_, weights, rtol=0, atol=1e-12)


def test_the_first_of_twins_is_chosen_and_used_members_come_first():
    P, y = guesses("classification", 3)
    doubled = P[[0, 0, 1, 1, 2, 2]]
    single, double = (EnsembleSelection().fit(p, y, "classification") for p in (P, doubled))
    assert np.array_equal(double.order_[0], 2 * single.order_[0])
    assert np.array_equal(double.weights_[::2], single.weights_)


def test_a_constant_member_does_not_help():
    P, y = guesses("classification", 4, n=300)
    P[0] = 1 / 3
    fitted = EnsembleSelection(scoring="accuracy").fit(P, y, "classification")
    assert fitted.weights_[0] == 0
    alone = EnsembleSelection().fit(P[:1], y, "classification")
    assert alone.weights_.tolist() == [1.0]
    Q, values = guesses("regression")
    Q[2], values[:, 1] = 3.0, 7.0  # a constant value too
    assert np.isfinite(EnsembleSelection().fit(Q, values, "regression").scores_[0]).all()


def test_a_constant_member_may_be_what_helps():
    P, y = guesses("regression", 3, n=200)
    P = np.concatenate([y.mean(axis=0) + 3 * (P - y), np.tile(y.mean(axis=0), (1, 200, 1))])  # shrinks what is too wild
    fitted = EnsembleSelection(n_rounds=10).fit(P, y, "regression")
    assert_same_path(fitted, P, lambda p: r2_score(y, p), n_rounds=10, perfect=1.0)
    assert fitted.weights_[3] > 0
    labels = guesses("classification")[1]
    steady = np.tile(np.bincount(labels) / len(labels), (1, len(labels), 1))
    wild = np.clip(np.eye(3)[np.roll(labels, 1)], 0.01, 0.98)[None]
    assert EnsembleSelection().fit(np.concatenate([wild, steady]), labels, "classification").weights_[1] > 0.5


@pytest.mark.parametrize("unit", [1e-8, 0.02, 1.0, 1e5])
def test_units_of_values_do_not_matter_to_squared_errors(unit):
    P, y = guesses("regression", 8, n=100, n_outputs=1)
    plain = EnsembleSelection(scoring="r2").fit(P, y, "regression")
    scaled = EnsembleSelection(scoring="neg_mean_squared_error").fit(unit * P, unit * y, "regression")
    order, scores = forward_selection(unit * P, lambda p: -mean_squared_error(unit * y, p))
    assert scaled.order_[0].tolist() == order
    assert np.allclose(scaled.scores_[0], scores, rtol=1e-12, atol=0)
    gap = r2_score(y, plain(P)) - r2_score(y, scaled(unit * P) / unit)
    assert abs(gap) < 1e-5


def test_log_loss_of_labels_by_name_counts_those_that_are_not_there():
    y = np.random.RandomState(0).randint(2, size=(200, 3))
    P = np.stack([np.where(y == 1, 0.8, 0.2), np.full((200, 3), 0.99)])  # one is right, the other says yes to all
    named = EnsembleSelection(scoring="neg_log_loss").fit(P, y, "multilabel")
    assert named.weights_.tolist() == EnsembleSelection().fit(P, y, "multilabel").weights_.tolist() == [1, 0]
    assert named.scores_[0][-1] == pytest.approx(label_loss(y)(named(P)))
    EnsembleSelection(scoring="neg_log_loss", confidence=0.9).fit(P, y, "multilabel")


COSTS = np.array([5.0, 1.0, 2.0, 8.0, 3.0, 1.0, 4.0, 9.0])


@pytest.mark.parametrize("bags", [{}, {"n_bags": 6, "bag_fraction": 0.7}], ids=["one", "bags"])
@pytest.mark.parametrize("max_cost", [1.0, 2.5, 6.0, 9.0, 12.0, 100.0])
@pytest.mark.parametrize("max_members", [None, 2])
def test_members_in_use_cost_no_more_than_they_may(bags, max_cost, max_members):
    for seed in range(4):
        P, y = guesses("classification", 8, seed=seed)
        limits = {"max_cost": max_cost, "costs": COSTS, "max_members": max_members}
        fitted = EnsembleSelection(**limits, **bags).fit(P, y, "classification")
        used = fitted.weights_ > 0
        assert 0 < COSTS[used].sum() <= max_cost
        assert max_members is None or used.sum() <= max_members
        assert fitted.weights_.sum() == pytest.approx(1)
        if not bags:
            assert {*fitted.order_[0]} == {*np.flatnonzero(used)}
    if max_cost == 100:
        free = EnsembleSelection(max_members=max_members, **bags).fit(P, y, "classification")
        assert np.array_equal(fitted.weights_, free.weights_)


def test_equal_costs_are_a_number_of_members():
    P, y = guesses("classification", 8)
    for n in (1, 2, 3):
        by_cost = EnsembleSelection(max_cost=0.3 * n, costs=[0.3] * 8).fit(P, y, "classification")
        by_number = EnsembleSelection(max_members=n).fit(P, y, "classification")
        assert np.array_equal(by_cost.weights_, by_number.weights_)


def test_what_is_too_dear_is_not_needed_and_the_best_that_is_cheap_enough_is_taken():
    P, y = guesses("classification", 4, n=300)  # the last one is the best
    fitted = EnsembleSelection(max_cost=3, costs=[1, 1, 3, 4]).fit(P, y, "classification")
    assert fitted.weights_.tolist() == [0, 0, 1, 0]
    fitted = EnsembleSelection(max_cost=4, costs=(1, 0, 3, 5)).fit(P, y, "classification")
    assert fitted.weights_[3] == 0


def test_costs_are_not_added_up_where_there_is_no_limit(monkeypatch):
    added = []
    monkeypatch.setattr(_budget, "math", SimpleNamespace(inf=math.inf, fsum=lambda costs: added.append(costs) or 0.0))
    P, y = guesses("classification", 8)
    for params in ({}, {"max_members": 2}, {"n_bags": 3, "max_members": 2}):
        EnsembleSelection(**params).fit(P, y, "classification")
    assert not added
    EnsembleSelection(max_cost=9, costs=COSTS).fit(P, y, "classification")
    assert added


def test_costs_that_cannot_be():
    P, y = guesses("classification")
    for params, message in (
        ({"max_cost": 2, "costs": [5, 4, 3, 6]}, r"max_cost=2: the cheapest is that at position 2, which costs 3"),
        ({"max_cost": 2, "costs": [1, 2, 3]}, "3 costs for 4 members"),
        ({"max_cost": 2}, "needs max_cost and costs together"),
        ({"costs": [1, 1, 1, 1]}, "needs max_cost and costs together"),
        ({"max_cost": 2, "costs": [1, -1, 1, 1]}, "none of them negative"),
        ({"max_cost": 2, "costs": [1, np.nan, 1, 1]}, "finite"),
        ({"max_cost": -1, "costs": [1, 1, 1, 1]}, "max_cost must be a number"),
    ):
        with pytest.raises(ValueError, match=message):
            EnsembleSelection(**params).fit(P, y, "classification")


def test_confidence_stops_where_rounds_do_not_help_surely():
    P, y = guesses("classification", 8, n=400, skills=(1, 1.2))
    free = EnsembleSelection().fit(P, y, "classification")
    strict = EnsembleSelection(confidence=0.95).fit(P, y, "classification")
    n = len(strict.order_[0])
    assert 1 < n < len(free.order_[0])
    assert np.array_equal(strict.order_[0], free.order_[0][:n])

    def losses(order):
        return np.log(P[order].mean(axis=0)[np.arange(400), y])

    def t(order):
        gain = losses(order) - losses(order[:-1])
        return gain.mean() / (gain.std(ddof=1) / np.sqrt(400))

    assert all(t(free.order_[0][: i + 1]) > 1.6449 for i in range(1, n))
    assert t(free.order_[0][: n + 1]) <= 1.6449


@pytest.mark.parametrize("gains", [[0.1, 0.3], [0.1, 0.2, 0.6], [-0.4, 0.1, 0.1], [1.0, 20.0, -3.0]])
def test_a_gain_is_measured_in_its_standard_errors(gains):
    gains = np.array(gains)
    assert standard_errors(gains, np.ones(len(gains))) == pytest.approx(ttest_1samp(gains, 0).statistic)
    weight = np.arange(1.0, 1 + len(gains))
    repeated = np.repeat(gains, weight.astype(int))
    assert standard_errors(gains, weight) == pytest.approx(ttest_1samp(repeated, 0).statistic)


def test_gains_without_spread_are_sure():
    assert standard_errors(np.full(4, 0.25), np.ones(4)) == math.inf
    assert standard_errors(np.full(4, -0.25), np.ones(4)) == standard_errors(np.zeros(4), np.ones(4)) == -math.inf
    assert standard_errors(np.array([0.5, 1.0]), np.full(2, 0.5)) == math.inf  # two halves are one row


def test_confidence_may_be_a_half():
    P, y = guesses("classification", 8)
    kept, free = (EnsembleSelection(confidence=c).fit(P, y, "classification").order_[0] for c in (0.5, None))
    assert np.array_equal(kept, free[: len(kept)])


@pytest.mark.parametrize("seed", range(10))
def test_confidence_keeps_a_single_member_where_all_are_guesses(seed):
    rng = np.random.RandomState(seed)
    P, y = np.eye(2)[rng.randint(2, size=(3, 200))], rng.randint(2, size=200)
    free = EnsembleSelection(scoring="accuracy").fit(P, y, "classification")
    kept = EnsembleSelection(scoring="accuracy", confidence=0.999).fit(P, y, "classification")
    assert len(kept.order_[0]) == 1 <= len(free.order_[0])


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2", None])
def test_confidence_works_for_values(scoring):
    P, y = guesses("regression", 6, n=100)
    free = EnsembleSelection(scoring=scoring).fit(P, y, "regression").order_[0]
    strict = EnsembleSelection(scoring=scoring, confidence=0.9).fit(P, y, "regression").order_[0]
    n, scale = len(strict), 1 if scoring == "neg_mean_squared_error" else y.var(axis=0)
    assert 1 < n < len(free)
    assert np.array_equal(strict, free[:n])

    def gains(order):
        return -((P[order].mean(axis=0) - y) ** 2 / scale).mean(axis=1)

    def p_value(order):
        return ttest_rel(gains(order), gains(order[:-1]), alternative="greater").pvalue

    assert all(p_value(free[: i + 1]) < 0.1 for i in range(1, n))
    assert p_value(free[: n + 1]) > 0.1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("params", [{}, {"confidence": 0.9}, {"n_bags": 3}])
def test_whole_weights_are_repetitions_and_zeros_are_absent(task, params):
    P, y = guesses(task, 6)
    weight = np.arange(len(y)) % 3
    index = np.repeat(np.arange(len(y)), weight)
    a = EnsembleSelection(**params).fit(P, y, task, weight)
    b = EnsembleSelection(**params).fit(P[:, index], y[index], task)
    assert np.allclose(a.weights_, b.weights_, rtol=0, atol=1e-12)


def test_a_class_that_is_missing_in_the_held_out_rows_is_no_trouble():
    P, y = guesses("classification")
    kept = y != 1
    for scoring in (None, "neg_log_loss", "accuracy"):
        fitted = EnsembleSelection(scoring=scoring).fit(P[:, kept], y[kept], "classification")
        assert fitted(P).shape == P.shape[1:]


def test_members_without_weight_are_not_read():
    P, y = guesses("classification", 5)
    fitted = EnsembleSelection(max_members=2).fit(P, y, "classification")
    expected = fitted(P)
    P[fitted.weights_ == 0] = np.nan
    assert np.array_equal(fitted(P), expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_rounds": 0}, "n_rounds of EnsembleSelection"),
        ({"n_bags": -1}, "n_bags"),
        ({"max_members": 0}, "max_members"),
        ({"bag_fraction": 0.0}, "bag_fraction"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": 0.9, "scoring": "roc_auc_ovr"}, "not known to be a mean over rows"),
        ({"scoring": "no_such_score"}, "no_such_score"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_wrong_settings_are_refused_before_there_are_predictions(params, message):
    with pytest.raises(ValueError, match=message):
        EnsembleSelection(**params).check("classification")
    with pytest.raises(ValueError, match=message):
        EnsembleSelection(**params).fit(*guesses("classification"), "classification")


def test_scorers_that_need_what_is_not_there():
    P, y = guesses("classification")
    kept = y != 1
    with pytest.warns(UndefinedMetricWarning, match="'roc_auc_ovr' tells nothing .* lack 1 of .* log-loss"):
        other = EnsembleSelection(scoring="roc_auc_ovr").fit(P[:, kept], y[kept], "classification")
    by_loss = EnsembleSelection(scoring="neg_log_loss").fit(P[:, kept], y[kept], "classification")
    assert other.weights_.tolist() == by_loss.weights_.tolist()
    with pytest.raises(ValueError, match="'accuracy' cannot judge"):
        EnsembleSelection(scoring="accuracy").fit(*guesses("regression"), "regression")
    with pytest.raises(ValueError, match="'roc_auc' cannot judge"):
        EnsembleSelection(scoring="roc_auc").fit(*guesses("regression"), "regression")

    def reads_inputs(estimator, X, y):
        return float(X[:, 0].sum())

    with pytest.raises(ValueError, match="no inputs"):
        EnsembleSelection(scoring=reads_inputs).fit(P, y, "classification")
    with pytest.raises(ValueError, match="takes no sample_weight"):
        EnsembleSelection(scoring=reads_inputs).fit(P, y, "classification", np.ones(len(y)))
    with pytest.raises(ValueError, match="gives NaN"):
        EnsembleSelection(scoring=lambda estimator, X, y: np.nan).fit(P, y, "classification")
    with pytest.raises(TypeError, match="name of a scorer"):
        EnsembleSelection(scoring=3).fit(P, y, "classification")


def test_errors():
    P, y = guesses("classification")
    with pytest.raises(ValueError, match="EnsembleSelection must be fitted"):
        EnsembleSelection()(P)
    P[:, 2, 0] = np.inf
    with pytest.raises(ValueError, match=r"members \[0, 1, .*\] predict NaN or infinity"):
        EnsembleSelection().fit(P, y, "classification")


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("params", [{}, {"n_bags": 3}, {"max_members": 1}], ids=str)
def test_a_member_without_finite_predictions_has_no_weight_and_changes_none(task, params):
    P, y = guesses(task)
    expected = EnsembleSelection(**params).fit(P, y, task)
    with_one = np.insert(P, 1, np.nan, axis=0)
    with pytest.warns(UserWarning, match=r"members \[1\] predict NaN or infinity"):
        fitted = EnsembleSelection(**params).fit(with_one, y, task)
    assert fitted.weights_[1] == 0
    assert np.delete(fitted.weights_, 1).tolist() == expected.weights_.tolist()
    assert fitted.narrow(len(with_one)).tolist() == [k + (k > 0) for k in expected.narrow(len(P))]


def test_a_member_whose_score_is_not_a_number_ranks_last():
    P, y = guesses("classification")

    def scoring(estimator, X, labels):
        proba = estimator.predict_proba(X)
        return np.nan if np.array_equal(proba, P[0]) else float(proba[np.arange(len(y)), y].mean())

    with pytest.warns(UserWarning, match=r"gives NaN for the members \[0\], so they rank last"):
        fitted = EnsembleSelection(scoring=scoring, n_rounds=1).fit(P, y, "classification")
    right = P[:, np.arange(len(y)), y].mean(axis=1)
    assert fitted.weights_.argmax() == 1 + right[1:].argmax()


@pytest.mark.parametrize("y", [np.array(["a", "b"] * 10), np.array([0.0, 1.0] * 10), np.array([0, 0, 0, 2] * 5)])
def test_targets_that_are_no_codes_of_two_classes_are_refused_with_the_score(y):
    p = np.random.default_rng(0).random((3, 20))
    with pytest.raises(ValueError, match="scoring='roc_auc' cannot judge"):
        EnsembleSelection(scoring="roc_auc").fit(np.stack([1 - p, p], axis=2), y, "classification")
