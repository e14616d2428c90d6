"""A small pool of models with specifications, and a new task, on which the laws of model reuse are checked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skfusion._random import seed_scope
from skfusion.nets import mlp_classifier
from skfusion.reuse import Found, ReusePool, Reuser, Search, Specification

N_CLASSES = 3


@cache
def pool() -> ReusePool:
    """Return three models of the same classes, one of them a network, of inputs that are shifted from each other."""
    models = ReusePool()
    for place, name in enumerate(("near", "nearer", "far")):
        X, y = blobs(place, shift=3.0 * place)
        net = mlp_classifier(max_epochs=10, lr=0.02, module__n_in=4, module__n_out=N_CLASSES, module__hidden=(8,))
        model: Any = net if name == "nearer" else LogisticRegression()
        with seed_scope(place):
            models = models.add(clone(model).fit(X, y), X, spec=Specification(10), name=name)
    return models


def blobs(seed: int, shift: float = 0.0, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of three classes around a place, which has a part of its own in the inputs."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % N_CLASSES
    X = rng.normal(size=(n, 4)) + 2 * np.eye(N_CLASSES, 4)[y]
    X[:, 3] += shift
    return X.astype(np.float32), y


def task() -> tuple[np.ndarray, np.ndarray]:
    """Return a new task: rows of the sources of two of the models."""
    (X, y), (X_other, y_other) = blobs(7), blobs(8, shift=3.0)
    return np.concatenate([X, X_other]), np.concatenate([y, y_other])


def found(search: Search, models: ReusePool | None = None, y: Any = None) -> Found:
    """Return what a search finds for the new task."""
    X, labels = task()
    return clone(search)(pool() if models is None else models, X, labels if y is None else y)


def reused(reuser: Reuser, what: Found) -> np.ndarray:
    """Return the predictions of a reuser for the new task, from which it has learned."""
    X, y = task()
    fitted = clone(reuser).fit(what, X, y if reuser.needs_labels else None, np.arange(N_CLASSES), 0)
    return fitted(X)


def numbers() -> list[Any]:
    """Return the numbers that a search or a reuser is given."""
    models = pool()
    states = [member.state for member in models.members if member.is_network]
    return [*task(), [(spec.points_, spec.weights_) for spec in models.specifications], states]
