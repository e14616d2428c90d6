"""The data of a search: checked once, and cut into the parts of its folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from skfusion._rows import Rows, Task, expansion
from skfusion.estimators._base import BaseFusion
from skfusion.estimators._targets import groups_of, positive
from skfusion.estimators.support._cache import digest
from skfusion.estimators.support._crossfit import Table
from skfusion.estimators.support._data import check_weight, encode_classes, encode_values
from skfusion.estimators.support._folds import folds
from skfusion.tuning._candidate import Part

Splits = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Data:
    """Rows of positive weight.

    Parameters
    ----------
    table : Table
        Inputs as they were given, encoded targets, and weights.
    groups : ndarray of int, optional
        Group of each row.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    classes : ndarray, optional
        Labels that the codes stand for.
    flat : bool
        Whether targets of a regression came without a second axis.
    """

    table: Table
    groups: np.ndarray | None
    task: Task
    classes: np.ndarray | None
    flat: bool

    @classmethod
    def checked(cls, search: Any, estimator: Any, X: Any, y: Any, sample_weight: Any, groups: Any) -> Data:
        """Return validated data; ``search`` remembers the features and the classes."""
        if isinstance(estimator, BaseFusion):  # it knows what is wrong with data before a trial is spent on them
            probe = clone(estimator)
            rows = probe._rows(X, y, sample_weight, groups)
            if (pool := probe._given_pool()) is not None:
                pool.warn_of_leakage(rows, "to compare fusions")
        classifies = is_classifier(estimator)
        table = Table.checked(search, X, y, numeric=not classifies)
        weight, n, classes, flat = check_weight(sample_weight, len(table)), len(table), None, table.y.ndim == 1
        if classifies:
            codes, classes, task = encode_classes(table.y, weight, None)
            search.classes_ = classes
        else:
            codes, task = encode_values(table.y), "regression"
        table = positive(Table(table.X, codes, weight))
        used = slice(None) if table.position is None else table.position
        return cls(table, groups_of(groups, n, used), task, classes, flat)

    def splits(self, cv: Any) -> Splits:
        """Return the positions to fit on and to score on, for each fold."""
        table = self.table
        return [*folds(Rows(table.columns, table.y, None, self.groups, table.position), cv, self.task)]

    def part(self, index: np.ndarray | None = None) -> Part:
        """Return the rows at some positions, or all, with the targets as they were given."""
        table, groups = self.table, self.groups
        if index is not None:
            table, groups = table.take(index), None if groups is None else groups[index]
        again, rest = expansion(table.keys, table.weight)
        y = table.y
        if self.task == "classification":
            y = self.classes[y]
        elif self.task == "regression":
            y = (y[:, 0] if self.flat else y).astype(np.float64)
        return Part(table.X, y, table.weight, groups, again, rest)

    def mark(self, splits: Splits) -> str:
        """Return a hash of the rows and of their folds."""
        return digest(self.table.keys, self.table.weight, self.groups, self.classes, splits)
