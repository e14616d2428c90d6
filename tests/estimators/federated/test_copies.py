"""Copies of rows at several clients: no client can know of them, and held-out scores are too good; that is said."""

import warnings

import numpy as np
import pytest

from skfusion import FederatedClassifier
from skfusion.nets import mlp_classifier
from skfusion.pool import LeakageWarning

RNG = np.random.default_rng(0)
N = 80
X = RNG.normal(size=(N, 5)).astype(np.float32)
Y = RNG.integers(8, size=N)  # nothing to learn
LEARNER = mlp_classifier(module__hidden=(64,), batch_size=16, lr=0.02)
ABOVE = 1 / 8 + 3 * np.sqrt(7 / 64 / (0.3 * N))  # what chance does not reach on so many different rows


def fitted(X, y, groups, **params):
    params = {"validation_fraction": 0.3, "n_rounds": 80, "local_epochs": 1, "random_state": 0, **params}
    return FederatedClassifier(LEARNER, **params).fit(X, y, groups=groups)


def silently(*args, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return fitted(*args, **params)


def test_copies_at_other_clients_are_warned_of_as_they_raise_scores():
    twice, labels = np.r_[X, X], np.r_[Y, Y]
    with pytest.warns(LeakageWarning, match=r"rows that clients hold out .* that other clients train on") as caught:
        apart = fitted(twice, labels, np.repeat(["a", "b"], N))
    assert caught[0].filename == __file__
    assert apart.history_[-1]["score"] > ABOVE  # what is warned of
    together = silently(twice, labels, np.tile(np.arange(N) % 2, 2))
    assert together.history_[-1]["score"] < ABOVE
    at_random = silently(twice, labels, None, n_clients=2)
    assert at_random.history_[-1]["score"] < ABOVE


def test_nothing_is_said_where_no_row_is_held_out_or_few_are_copies():
    twice, labels = np.r_[X, X], np.r_[Y, Y]
    silently(twice, labels, np.repeat(["a", "b"], N), validation_fraction=None, n_rounds=1, local_epochs=1)
    silently(np.r_[X, X[:1]], np.r_[Y, Y[:1]], np.r_[np.arange(N) % 2, 1], n_rounds=1, local_epochs=1)


def test_rows_without_weight_do_not_shift_the_others():
    weight = np.r_[np.zeros(N // 2), np.ones(N + N // 2)]
    federated = FederatedClassifier(LEARNER, validation_fraction=0.3, n_rounds=1, local_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        federated.fit(np.r_[X, X], np.r_[Y, Y], weight, np.r_[np.arange(N) % 2, np.arange(N) % 2])
    with pytest.warns(LeakageWarning):
        federated.fit(np.r_[X, X], np.r_[Y, Y], weight, np.repeat(["a", "b"], N))


def test_equal_categories_are_no_copies():
    cases = np.stack(np.meshgrid(*[np.arange(3.0)] * 2), -1).reshape(-1, 2).astype(np.float32)
    rows = np.tile(cases, (20, 1))
    silently(rows, RNG.integers(2, size=len(rows)), np.arange(len(rows)) // 90, n_rounds=1, local_epochs=1)
