"""The law that nothing is learned from random labels: a score on held-out rows that is too good is a leak."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from skfusion import FederatedClassifier, FederatedRegressor, nets
from skfusion.collect import Collector

N_ROWS = 120
"""Different rows; with copies there are four times as many."""
SITUATIONS = ("plain", "weights", "copies", "replicates", "groups")


def random_rows(situation: str, n_classes: int | None) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return inputs, random labels (random values where ``n_classes`` is None), and what else ``fit`` is given.

    The situations are rows that all differ; rows of weight four; four copies of each row; the same with some noise in
    the targets; groups of two rows that hardly differ. With weights and copies, two rows of equal inputs have
    different targets.
    """
    rng = np.random.RandomState(3)
    X = rng.normal(size=(N_ROWS, 8)).astype(np.float32)
    y = rng.normal(size=N_ROWS).astype(np.float32) if n_classes is None else np.arange(N_ROWS) % n_classes
    if situation == "plain":
        return X, y, {}
    if situation == "groups":
        index = np.repeat(np.arange(N_ROWS), 2)
        noise = np.float32(0.001) * rng.normal(size=(len(index), 8)).astype(np.float32)
        return X[index] + noise, y[index], {"groups": index}
    index = np.arange(N_ROWS) if situation == "weights" else np.tile(np.arange(N_ROWS), 4)
    if situation == "replicates":
        other = rng.normal(size=len(index)) if n_classes is None else rng.randint(n_classes, size=len(index))
        y = np.where(rng.uniform(size=len(index)) < 0.2, other, y[index]).astype(y.dtype)
        return X[index], y, {}
    X, y = np.concatenate([X[index], X[:1]]), np.concatenate([y[index], y[1:2]])
    return X, y, {"sample_weight": np.full(len(y), 4.0)} if situation == "weights" else {}


def memorising_net(**params: Any) -> Any:
    """Return a net that learns random labels by heart within its epochs, so that a leak shows."""
    settings = {"max_epochs": 30, "lr": 0.02, "batch_size": 32, "module__hidden": (64,), "optimizer__weight_decay": 0.0}
    settings |= {"callbacks": None}  # those of skorch, among them valid_acc
    return nets.mlp_classifier(**settings | params)


def assert_chance(score: float, n: float, n_classes: int | None, what: str) -> None:
    """Raise where a score on n held-out rows is more than four deviations from what guessing gives.

    The accuracy of guesses is binomial. R2 of what has nothing to do with the targets is at most about zero.
    """
    if n_classes is None:
        assert score <= 4 / math.sqrt(n), f"{what} is {score:.3g} for random values, where it is no more than zero."
        return
    chance = 1 / n_classes
    slack = 4 * math.sqrt(chance * (1 - chance) / n)
    assert abs(score - chance) <= slack, f"{what} is {score:.3g} for random labels, where chance is {chance:.3g}."


def reported(estimator: Any, n_rows: int) -> Iterator[tuple[str, float, float]]:
    """Iterate over what a fitted estimator reports of held-out rows: a name, a score, how many different rows."""
    if hasattr(estimator, "oob_score_"):
        held_out = getattr(estimator, "oob_decision_function_", getattr(estimator, "oob_prediction_", None))
        share = float(np.isfinite(held_out).reshape(n_rows, -1).all(axis=1).mean())
        if share > 0:  # with many copies hardly a row is out of a bag
            yield "oob_score_", float(estimator.oob_score_), share * N_ROWS
    if hasattr(estimator, "best_score_"):
        yield "best_score_", float(estimator.best_score_), N_ROWS / 5
    for score in getattr(estimator, "level_scores_", ()):
        yield "a score of level_scores_", float(score), N_ROWS / 5
    scores = [m.score for m in getattr(estimator, "pool_", None) or () if not math.isnan(m.score)]
    if scores:
        yield "the mean held-out score of members", float(np.mean(scores)), N_ROWS / 5


def assert_histories_are_chance(histories: list[list[dict[str, float]]], n: float, situation: str) -> None:
    """Raise where networks predict the rows that they validate on better than by chance, after the last epoch.

    Whatever is predicted of four classes, the cross-entropy is log 4 or more in the mean, and varies by about 1 a row.
    """
    last = [history[-1] for history in histories if history]
    if values := [row["valid_acc"] for row in last if "valid_acc" in row]:
        assert_chance(float(np.mean(values)), n, 4, f"With {situation}, the mean valid_acc of members")
    if values := [row["valid_loss"] for row in last if "valid_loss" in row]:
        mean, least = float(np.mean(values)), math.log(4) - 4 / math.sqrt(n)
        assert mean >= least, f"With {situation}, the mean valid_loss of members is {mean:.3g}, where chance is log 4."


def check_random_labels_give_chance(estimator: Any) -> None:
    """Held-out scores of random targets are no better than chance, also with weights, copies and groups of rows."""
    if getattr(estimator, "scoring", None) is not None:
        return
    n_classes = 4 if is_classifier(estimator) else None
    for situation in SITUATIONS:
        X, y, extra = random_rows(situation, n_classes)
        if not all(has_fit_parameter(estimator, name) for name in extra):
            continue
        if "groups" in extra and isinstance(estimator, (FederatedClassifier, FederatedRegressor)):
            continue  # groups are clients there, so that nothing says which rows of one of them are alike
        fitted = clone(estimator)
        if "random_state" in fitted.get_params():
            fitted.set_params(random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that members are no better than chance, which they are not
            fitted.fit(X, y, **extra)
        for what, score, n in reported(fitted, len(y)):
            assert_chance(score, n, n_classes, f"With {situation}, {what}")
        if n_classes is not None:
            assert_histories_are_chance(_histories(fitted), N_ROWS / 5, situation)


def check_random_labels_give_chance_in_training(component: Collector) -> None:
    """Networks find random labels of rows that they validate on no better than chance, also with copies and groups."""
    net = memorising_net()
    default = inspect.signature(type(net)).parameters["train_split"].default  # skorch's, on a fifth of the rows
    for situation in ("plain", "copies", "groups"):
        X, y, extra = random_rows(situation, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that members are no better than chance, which they are not
            pool = clone(component).collect(net.set_params(train_split=default), X, y, **extra)
        assert_histories_are_chance([m.meta.get("history", []) for m in pool], N_ROWS / 5, situation)


def _histories(estimator: Any) -> list[list[dict[str, float]]]:
    pool = getattr(estimator, "pool_", None)
    return [getattr(estimator, "history_", [])] if pool is None else [m.meta.get("history", []) for m in pool]
