"""The folds of a comparison, which keep equal rows and groups together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import check_cv
from sklearn.utils.multiclass import type_of_target

from skfusion._rows import Rows, Task
from skfusion.data import Fold as Split
from skfusion.data import columns_of, folds, groups_of


def splits_of(cv: Any, X: Any, y: np.ndarray, groups: Any, classify: bool, seed: int) -> tuple[list[Split], str]:
    """Return positions to train and to test on, for each fold, and what made them; a number is stratified by ``y``."""
    if not isinstance(cv, int | np.integer):
        splitter = check_cv(cv)
        return list(splitter.split(np.zeros(len(y)), y, groups)), repr(splitter)
    task: Task = "classification" if classify and type_of_target(y) in ("binary", "multiclass") else "regression"
    labels, codes = np.unique(y, axis=0 if y.ndim > 1 else None, return_inverse=True)
    codes = codes.ravel()
    targets = codes if task == "classification" else codes[:, None]
    X, columns = _compared(X, len(y))
    rows = Rows(X, targets, None, groups_of(groups, len(y)), columns=columns)
    splits = [*folds(rows, int(cv), task, seed, labels)]
    if len(splits) < cv:
        warnings.warn(
            f"There are {len(splits)} folds and not the {cv} of cv, as the largest class, or the number of groups or "
            "of different rows, is no larger.",
            UserWarning,
            stacklevel=3,
        )
    kind = ("Stratified" if task == "classification" else "") + ("Group" if groups is not None else "") + "KFold"
    return splits, f"{kind}(n_splits={len(splits)}, random_state={seed}, shuffle=True), rows of equal inputs together"


def _compared(X: Any, n: int) -> tuple[Any, np.ndarray | None]:
    """Return inputs, and numbers that are equal where those are which are no numbers; see :func:`data.columns_of`."""
    if isinstance(X, Mapping) and not issparse(X):
        return {name: np.asarray(values) for name, values in X.items()}, None
    X = X.tocsr() if issparse(X) else X if hasattr(X, "iloc") else np.asarray(X)
    try:
        return X, columns_of(X)
    except (TypeError, ValueError):  # cells that only a pipeline can read: no two rows count as equal
        return X, np.arange(n, dtype=np.uint64)[:, None]
