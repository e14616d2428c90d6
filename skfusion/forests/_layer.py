"""Forests side by side, whose predictions are features: cross-fitted ones for the rows that they are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from skfusion._rows import Rows, Task
from skfusion.data import Fold


def kinds(task: Task, n_of_each: int, n_trees: int, max_features: Any, **params: Any) -> list[Any]:
    """Return random forests without seeds, then as many of completely random trees, which cut one feature anywhere."""
    forest, extra = (
        (RandomForestClassifier, ExtraTreesClassifier)
        if task == "classification"
        else (RandomForestRegressor, ExtraTreesRegressor)
    )
    drawn = [forest(n_trees, max_features=max_features, n_jobs=1, **params) for _ in range(n_of_each)]
    return drawn + [extra(n_trees, max_features=1, n_jobs=1, **params) for _ in range(n_of_each)]


def fit_crossfitted(
    forests: Sequence[Any],
    X: np.ndarray,
    rows: Rows,
    folds: Sequence[Fold],
    n_outputs: int,
    rng: np.random.RandomState,
    n_jobs: int | None,
) -> tuple[list[Any], np.ndarray]:
    """Fit forests on all rows, and predict each row by forests that were fitted without its fold.

    Return the forests and the cross-fitted probabilities or values, shape (n_forests, n_rows, n_outputs). ``X`` are the
    features of ``rows``. Every fit has its own seed, so that the number of jobs has no influence; jobs are threads, as
    trees are grown without Python's lock.
    """
    seeds = rng.randint(np.iinfo(np.int32).max, size=(len(forests), len(folds) + 1))
    everything = [(np.arange(len(X)), None), *folds]
    done = iter(
        Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_fit)(forest, int(seed), X, rows, train, test, n_outputs)
            for forest, its_seeds in zip(forests, seeds, strict=True)
            for seed, (train, test) in zip(its_seeds, everything, strict=True)
        )
    )
    fitted, vectors = [], np.zeros((len(forests), len(X), n_outputs))
    for i in range(len(forests)):
        fitted.append(next(done))
        for _, test in folds:
            vectors[i, test] = next(done)
    return fitted, vectors


def predict_each(forests: Sequence[Any], X: np.ndarray, n_outputs: int, n_jobs: int | None = None) -> np.ndarray:
    """Return the probabilities or values that each forest predicts, shape (n_forests, n_rows, n_outputs)."""
    run = Parallel(n_jobs=n_jobs, prefer="threads")
    return np.stack(run(delayed(vectors_of)(forest, X, n_outputs) for forest in forests))


def vectors_of(forest: Any, X: np.ndarray, n_outputs: int) -> np.ndarray:
    """Return a forest's probabilities, zero for a class that it was not fitted on, or its values."""
    if not is_classifier(forest):
        return forest.predict(X).reshape(len(X), n_outputs)
    out = np.zeros((len(X), n_outputs))
    out[:, forest.classes_] = forest.predict_proba(X)
    return out


def _fit(
    forest: Any, seed: int, X: np.ndarray, rows: Rows, train: np.ndarray, test: np.ndarray | None, n_outputs: int
) -> Any:
    """Return a forest that was fitted on ``train``, or what it predicts for ``test`` where there is one."""
    forest = clone(forest).set_params(random_state=seed)
    y, weight = rows.y[:, 0] if rows.y.ndim == 2 and rows.y.shape[1] == 1 else rows.y, rows.weight
    if test is None:
        return forest.fit(X, y, weight)
    forest.fit(X[train], y[train], None if weight is None else weight[train])
    return vectors_of(forest, X[test], n_outputs)
