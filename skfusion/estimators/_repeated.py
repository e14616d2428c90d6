"""Fit estimators of any kind on weighted rows, of which whole-number weights are repetitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion.estimators._crossfit import Table, outputs_of
from skfusion.estimators._pipeline import split_pipeline
from skfusion.estimators._seeded import stream
from skfusion.rows import Task, repetitions


def fit_weighted(estimator: Any, table: Table, who: str, remedy: str) -> Any:
    """Fit an estimator, and return it.

    An estimator of this library, also at the end of a pipeline, is given the weights: it splits rows before it repeats
    them, and a split of repetitions would have copies of a row on both sides. It is given the groups too, where it
    takes some. Others are given repeated rows.

    Parameters
    ----------
    estimator : estimator
        Of any library; it is changed.
    table : Table
        Rows to fit on, with targets as the estimator takes them.
    who, remedy : str
        The estimator in messages, and what to do about it.

    Returns
    -------
    estimator
        The same, fitted.
    """
    index, rest = repetitions(table.weight)
    extra = {"groups": table.groups} if table.groups is not None and _own_takes(estimator, "groups") else {}
    if repeats(estimator) and rest is None and (index is not None or extra):
        head, last = split_pipeline(estimator)
        if last is estimator:
            return estimator.fit(table.X, table.y, sample_weight=table.weight, **extra)
        if head is not None:
            table = replace(table, X=transformed(head, table, np.arange(len(table)) if index is None else index))
        steps = [] if head is None else head.steps
        estimator.steps = [*steps, (estimator.steps[-1][0], fit_weighted(last, table, who, remedy))]
        return estimator
    rows = table.expanded()
    if rows.weight is not None:
        if not has_fit_parameter(estimator, "sample_weight"):
            raise ValueError(
                f"{who} takes no sample_weight, and the weights are no whole numbers, which could be taken as "
                f"repetitions. {remedy}"
            )
        return estimator.fit(rows.X, rows.y, sample_weight=rows.weight, **extra)
    return estimator.fit(rows.X, rows.y)


def repeats(estimator: Any) -> bool:
    """Return whether an estimator, or the end of a pipeline, takes whole-number weights as repetitions by itself."""
    return _own_takes(estimator, "sample_weight")


def _own_takes(estimator: Any, name: str) -> bool:
    """Return whether an estimator, or the end of a pipeline, is of this library and its ``fit`` takes an argument."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    ours = any(cls.__module__.partition(".")[0] == "skfusion" for cls in type(estimator).__mro__)
    return ours and has_fit_parameter(estimator, name)


def transformed(head: Any, table: Table, index: np.ndarray) -> Any:
    """Return the rows of a table, once each, as the steps of a pipeline give them that are fitted on repetitions.

    Parameters
    ----------
    head : Pipeline
        The steps, which are fitted.
    table : Table
        Rows.
    index : ndarray of int
        Their positions, with repetitions; every row is among them.

    Returns
    -------
    array-like
        The inputs for the next step.
    """
    rows = table.take(index)
    found = Table(head.fit_transform(rows.X, rows.y), rows.y)
    return found.take(np.unique(index, return_index=True)[1]).X


def fit_and_predict(
    member: Any, name: str, train: Table, test: Table | None, task: Task, n_outputs: int, seed: int
) -> tuple[Any, np.ndarray | None]:
    """Return a member fitted on ``train``, and its prediction of ``test``; it leaves the global generators alone."""
    y = train.y[:, 0] if task == "regression" and train.y.shape[1] == 1 else train.y
    with stream(member, seed):
        fitted = fit_weighted(
            clone(member), replace(train, y=y), f"Member {name!r}", "Leave it out or give no weights."
        )
        return fitted, None if test is None else outputs_of(fitted, test.X, task, n_outputs, name)
