"""The folds of a comparison, which keep rows of equal inputs together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import check_cv
from sklearn.utils.multiclass import type_of_target

from skfusion._rows import Rows, Task
from skfusion.estimators._targets import groups_of
from skfusion.estimators.support._crossfit import Table
from skfusion.estimators.support._folds import folds

Splits = list[tuple[np.ndarray, np.ndarray]]


def splits_of(cv: Any, X: Any, y: np.ndarray, groups: Any, classify: bool, seed: int) -> tuple[Splits, str]:
    """Return the positions to train and to test on, for each fold, and a description.

    Parameters
    ----------
    cv : int, splitter or iterable
        A number of folds that are drawn, or what is obeyed as it is.
    X : array-like
        Inputs of any kind.
    y : ndarray
        Targets to stratify by.
    groups : array-like or None
        Groups of the rows.
    classify : bool
        Whether targets are classes.
    seed : int
        Of the folds.

    Returns
    -------
    splits : list of (ndarray, ndarray)
        Positions.
    description : str
        What made them.
    """
    if not isinstance(cv, int | np.integer):
        splitter = check_cv(cv)
        return list(splitter.split(np.zeros(len(y)), y, groups)), repr(splitter)
    task: Task = "classification" if classify and type_of_target(y) in ("binary", "multiclass") else "regression"
    codes = np.unique(y, axis=0 if y.ndim > 1 else None, return_inverse=True)[1].ravel()
    rows = Rows(
        _columns(X, len(y)), codes if task == "classification" else codes[:, None], None, groups_of(groups, len(y))
    )
    splits = list(folds(rows, int(cv), task, seed))
    if len(splits) < cv:
        warnings.warn(
            f"There are {len(splits)} folds and not the {cv} of cv, as the smallest class, or the number of groups or "
            "of different rows, is no larger.",
            UserWarning,
            stacklevel=3,
        )
    kind = ("Stratified" if task == "classification" else "") + ("Group" if groups is not None else "") + "KFold"
    return splits, f"{kind}(n_splits={len(splits)}, random_state={seed}, shuffle=True), rows of equal inputs together"


def _columns(X: Any, n: int) -> Any:
    """Return the inputs of each row as numbers; where they are none, and have no hash, its place."""
    if isinstance(X, Mapping) and not issparse(X):
        X = {name: np.asarray(values) for name, values in X.items()}
    elif issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "iloc"):
        X = np.asarray(X)
    try:
        return Table(X, np.zeros(n)).columns
    except (TypeError, ValueError):  # cells that only a pipeline knows what to make of
        return np.arange(n, dtype=np.uint64)[:, None]
