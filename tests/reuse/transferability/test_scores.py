"""What all scores of transferability have in common: invariances, weights, precision, and what they refuse."""

import numpy as np
import pytest

from skfusion.reuse import LEEP, NCE, HScore, LogME, RegularizedHScore, TransRate

ALL = [LogME(), LEEP(), NCE(), HScore(), RegularizedHScore(), TransRate(), TransRate(eps=0.3)]
OF_FEATURES = [score for score in ALL if score.reads == "features"]
SHAPES = [(60, 5), (12, 12), (13, 12), (9, 40)]


def named(score):
    return repr(score)


def problem(n=30, d=4, n_classes=3, seed=0):
    """Rows whose first columns tell something of the class; they are probabilities too."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    F = rng.normal(size=(n, d))
    F[:, : min(d, n_classes)] += np.eye(n_classes)[y][:, :d]
    return np.exp(F) / np.exp(F).sum(axis=1, keepdims=True), y


def features(n=30, d=4, seed=0):
    P, y = problem(n, d, seed=seed)
    return np.log(P) + np.random.default_rng(seed + 1).normal(size=P.shape), y


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


# ---- invariances ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ALL, ids=named)
def test_the_order_of_rows_and_columns_and_the_names_of_classes_have_no_influence(score):
    P, y = problem()
    value = score.score(P, y)
    order, columns = np.random.default_rng(5).permutation(30), [2, 0, 3, 1]
    assert score.score(P[order], y[order]) == pytest.approx(value, abs=1e-9)
    assert score.score(P[:, columns], y) == pytest.approx(value, abs=1e-9)
    assert score.score(P, np.array(["c", "a", "b"])[y]) == pytest.approx(value, abs=1e-9)
    assert score.score(P, y * 7 - 3) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("score", OF_FEATURES, ids=named)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rotations_of_the_features_have_no_influence(score, shape):
    F, y = features(*shape)
    value = score.score(F, y)
    assert score.score(F @ rotation(shape[1]), y) == pytest.approx(value, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("score", [HScore(), RegularizedHScore(), TransRate()], ids=named)
def test_shifts_and_a_common_scale_have_no_influence(score):
    F, y = features()
    assert score.score(250 * F - 30, y) == pytest.approx(score.score(F, y), rel=1e-6)


def test_invertible_maps_have_no_influence_on_the_h_score():
    F, y = features()
    mixed = F @ np.random.default_rng(3).normal(size=(4, 4)) + [1, -2, 3, 100]
    assert HScore().score(mixed, y) == pytest.approx(HScore().score(F, y), rel=1e-8)
    assert RegularizedHScore().score(mixed, y) != pytest.approx(RegularizedHScore().score(F, y), rel=1e-3)


@pytest.mark.parametrize("score", OF_FEATURES, ids=named)
def test_columns_of_zeros_have_no_influence_but_on_the_shrinkage(score):
    F, y = features()
    wider = np.hstack([F, np.zeros((30, 2))])
    same = score.score(wider, y) == pytest.approx(score.score(F, y), rel=1e-9)
    assert same != isinstance(score, RegularizedHScore)  # which shrinks towards the same variance in all columns


@pytest.mark.parametrize("score", [HScore(), LogME()], ids=named)
def test_columns_that_follow_from_others_count_once_in_the_h_score(score):
    F, y = features()
    twice = np.hstack([F, F[:, :1] + F[:, 1:2]])
    assert np.isfinite(score.score(twice, y))
    if isinstance(score, HScore):
        assert score.score(twice, y) == pytest.approx(score.score(F, y), rel=1e-8)


# ---- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ALL, ids=named)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_are_repetitions(score, shape):
    P, y = problem(*shape)
    counts = np.random.default_rng(2).integers(0, 4, shape[0])
    counts[:6] = [1, 2, 3, 1, 2, 3]
    repeated = score.score(np.repeat(P, counts, axis=0), np.repeat(y, counts))
    assert score.score(P, y, sample_weight=counts) == pytest.approx(repeated, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("score", ALL, ids=named)
def test_rows_of_weight_zero_may_hold_anything(score):
    P, y = problem()
    worse = np.vstack([P, np.full((1, 4), np.nan)])
    weight = np.append(np.ones(30), 0)
    assert score.score(worse, np.append(y, 9), sample_weight=weight) == pytest.approx(score.score(P, y))


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ALL, ids=named)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_single_precision_gives_nearly_the_same(score, shape):
    P, y = problem(*shape)
    assert score.score(P.astype(np.float32), y) == pytest.approx(score.score(P, y), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("score", ALL, ids=named)
def test_two_rows_are_enough(score):
    assert np.isfinite(score.score(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]), [0, 1]))


@pytest.mark.parametrize("score", ALL, ids=named)
@pytest.mark.parametrize("value", [0.25, np.float32(0.1)])
def test_outputs_that_do_not_vary_tell_nothing(score, value):
    constant = np.full((30, 4), value)
    constant = constant / constant.sum(axis=1, keepdims=True) if score.reads == "predictions" else constant
    y = np.arange(30) % 3
    entropy = np.log(3)
    least = {LEEP: -entropy, NCE: -entropy}.get(type(score), 0.0)
    if isinstance(score, LogME):  # a constant is a feature, as there is no intercept
        assert score.score(constant, y) < score.score(np.eye(3)[y], y) - 1
    else:
        assert score.score(constant, y) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("score", ALL, ids=named)
def test_what_is_handed_in_is_left_as_it_was(score):
    P, y = problem()
    before, labels = P.copy(), y.copy()
    score.score(P, y, sample_weight=np.ones(30))
    np.testing.assert_array_equal(P, before)
    np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize("score", ALL, ids=named)
def test_labels_that_are_told_score_above_random_ones(score):
    P, y = problem(200)
    rng = np.random.default_rng(0)
    by_chance = [score.score(P, rng.permutation(y)) for _ in range(10)]
    assert score.score(P, y) > max(by_chance)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ALL, ids=named)
def test_errors_name_what_is_wrong(score):
    P, y = problem()
    name = type(score).__name__
    with pytest.raises(ValueError, match=f"{name} needs labelled rows of at least 2 classes; all are of class 'a'"):
        score.score(P, ["a"] * 30)
    with pytest.raises(ValueError, match=f"{name} needs at least 2 labelled rows; got 1"):
        score.score(P[:1], y[:1])
    with pytest.raises(ValueError, match=f"{name} needs at least 2 labelled rows; got 0"):
        score.score(P, y, sample_weight=np.zeros(30))
    with pytest.raises(ValueError, match="got 30 rows and y of \\(29,\\)"):
        score.score(P, y[1:])
    with pytest.raises(ValueError, match="sample_weight must hold 30 finite numbers"):
        score.score(P, y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="NaN or infinite, in 1 of 30 rows, first in row 4"):
        score.score(np.where(np.arange(30)[:, None] == 4, np.nan, P), y)
    with pytest.raises(ValueError, match="at least one column"):
        score.score(P[:, :0], y)
    with pytest.raises(ValueError, match="one class a row"):
        score.score(P, np.eye(3)[y])


@pytest.mark.parametrize("score", [s for s in ALL if not isinstance(s, LogME)], ids=named)
def test_scores_of_classes_refuse_values(score):
    P, y = problem()
    with pytest.raises(ValueError, match="is defined for classification, not for regression; take LogME"):
        score.score(P, y.astype(float), "regression")
