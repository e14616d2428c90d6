"""Members with a temperature each."""

import numpy as np
import pytest
from combine.guesses import guesses
from scipy.special import softmax

from skfusion.combine import Average, Calibrated, Stack, Vote
from skfusion.combine._calibrated import LIMIT


def log_loss(z, y, t):
    return -np.log(softmax(z / t, axis=1)[np.arange(len(y)), y])


def test_temperatures_have_the_least_loss_of_a_fine_grid():
    P, y = guesses("classification", n=200)
    weight = np.arange(200) % 4
    fitted = Calibrated().fit(P, y, "classification", weight)
    grid = np.exp(np.linspace(-np.log(LIMIT), np.log(LIMIT), 2001))
    for p, found in zip(P, fitted.temperatures_, strict=True):
        losses = [weight @ log_loss(np.log(p), y, t) for t in grid]
        assert weight @ log_loss(np.log(p), y, found) <= min(losses) + 1e-9
        assert np.log(found) == pytest.approx(np.log(grid[np.argmin(losses)]), abs=0.01)


def test_planted_temperatures_are_found():
    rng = np.random.RandomState(0)
    z = rng.normal(size=(20_000, 4)) * 1.5
    y = (softmax(z, 1).cumsum(1) > rng.uniform(size=(20_000, 1))).argmax(1)  # drawn as the logits say
    P = np.stack([softmax(z * t, 1) for t in (0.5, 1, 3)])
    fitted = Calibrated().fit(P, y, "classification")
    assert np.allclose(fitted.temperatures_, [0.5, 1, 3], rtol=0.03)
    assert np.allclose(fitted(P), softmax(z / fitted.temperatures_[1], 1), rtol=0, atol=1e-6)


def test_labels_share_their_members_temperature():
    P, y = guesses("multilabel", n=300)
    fitted = Calibrated().fit(P, y, "multilabel")
    z = np.log(P) - np.log1p(-P)

    def loss(k, t):
        q = 1 / (1 + np.exp(-z[k] / t))
        return -np.where(y == 1, np.log(q), np.log1p(-q)).mean()

    for k, t in enumerate(fitted.temperatures_):
        assert loss(k, t) <= min(loss(k, t * 0.99), loss(k, t * 1.01))
    expected = (1 / (1 + np.exp(-z / fitted.temperatures_[:, None, None]))).mean(0)
    assert np.allclose(fitted(P), expected, rtol=0, atol=1e-12)


def test_a_member_keeps_its_classes():
    P, y = guesses("classification", 1)
    assert np.array_equal(Calibrated().fit(P, y, "classification")(P).argmax(1), P[0].argmax(1))


def test_ends_of_the_range():
    y = np.arange(60) % 3
    sure = 0.7 * np.eye(3)[y] + 0.1
    P = np.stack([sure, np.roll(sure, 1, axis=1), np.full((60, 3), 1 / 3)])  # right, wrong, and constant
    found = Calibrated().fit(P, y, "classification").temperatures_
    assert 1 / LIMIT <= found[0] < 0.06  # the loss is zero to all digits from there on
    assert found[1] == pytest.approx(LIMIT, rel=1e-3)
    assert 1 / LIMIT <= found[2] <= LIMIT


def test_the_combiner_inside_sees_calibrated_predictions():
    P, y = guesses("classification")
    fitted = Calibrated(Stack()).fit(P, y, "classification")
    scaled = softmax(np.log(P) / fitted.temperatures_[:, None, None], axis=2)
    assert np.allclose(fitted(P), Stack().fit(scaled, y, "classification")(scaled), rtol=0, atol=1e-12)
    assert Calibrated(Stack()).out_of_fold
    assert not Calibrated(Average()).out_of_fold
    assert not Calibrated().out_of_fold


def test_the_combiner_that_is_given_stays_unfitted():
    inside = Vote()
    Calibrated(inside).fit(*guesses("classification"), "classification")
    assert not hasattr(inside, "task_")


def test_errors():
    with pytest.raises(ValueError, match="needs probabilities"):
        Calibrated().fit(*guesses("regression"), "regression")
    with pytest.raises(ValueError, match="Calibrated must be fitted"):
        Calibrated()(guesses("classification")[0])
    P, y = guesses("classification")
    with pytest.raises(ValueError, match="fitted on 4 members and is given 3"):
        Calibrated().fit(P, y, "classification")(P[1:])
