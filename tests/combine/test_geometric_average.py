"""Averaged logits."""

import numpy as np
import pytest
from combine.guesses import guesses
from scipy.special import log_softmax, softmax

from skfusion.combine import GeometricAverage


@pytest.mark.parametrize("weights", [None, [3, 1, 0, 0.5]])
def test_it_is_the_softmax_of_the_mean_logits(weights):
    rng = np.random.RandomState(0)
    z = rng.normal(size=(4, 30, 5)) * 3 + rng.normal(size=(4, 30, 1))  # logits have any constant
    found = GeometricAverage(weights).fit(softmax(z, 2), np.zeros(30, int), "classification")(softmax(z, 2))
    assert np.allclose(found, softmax(np.average(z, axis=0, weights=weights), 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_members_without_weight_are_not_read(task):
    P, y = guesses(task)
    expected = GeometricAverage([2, 1]).fit(P[:2], y, task)(P[:2])
    P[2:] = np.nan
    assert np.array_equal(GeometricAverage([2, 1, 0, 0]).fit(P, y, task)(P), expected)


def test_log_odds_of_labels_are_averaged():
    rng = np.random.RandomState(0)
    z = rng.normal(size=(3, 20, 4))
    P = 1 / (1 + np.exp(-z))
    found = GeometricAverage().fit(P, np.zeros((20, 4), int), "multilabel")(P)
    assert np.allclose(found, 1 / (1 + np.exp(-z.mean(0))), rtol=0, atol=1e-12)


def test_logarithms_of_classes_are_normalised_and_those_of_labels_are_not():
    z = np.random.RandomState(0).normal(size=(3, 20, 4))
    average = GeometricAverage().fit(softmax(z, 2), np.zeros(20, int), "classification")
    assert np.allclose(average.of_logs(z, "classification"), log_softmax(z.mean(0), 1), rtol=0, atol=1e-12)
    assert np.allclose(average.of_logs(z, "multilabel"), z.mean(0), rtol=0, atol=1e-12)


def test_log_loss_is_not_worse_than_the_members_mean():
    P, y = guesses("classification")
    rows = np.arange(len(y))
    found = GeometricAverage().fit(P, y, "classification")(P)
    assert -np.log(found[rows, y]).mean() < -np.log(P[:, rows, y]).mean()


def test_members_that_rule_out_every_class_still_give_probabilities():
    P = np.eye(3)[:, None, :]  # each is sure of another class
    found = GeometricAverage().fit(P, np.array([0]), "classification")(P)
    assert np.allclose(found, 1 / 3, rtol=0, atol=1e-12)


def test_dtype_is_kept():
    P, y = guesses("classification")
    assert GeometricAverage().fit(P, y, "classification")(P.astype(np.float32)).dtype == np.float32


def test_errors():
    P, y = guesses("regression")
    with pytest.raises(ValueError, match=r"for regression use combine=Average\(\)"):
        GeometricAverage().fit(P, y, "regression")
    with pytest.raises(ValueError, match="GeometricAverage must be fitted"):
        GeometricAverage()(P)
    with pytest.raises(ValueError, match="2 weights for 4 members"):
        GeometricAverage([1, 2]).fit(*guesses("classification"), "classification")(guesses("classification")[0])
