"""Fit estimators of any kind on weighted rows, of which whole-number weights are repetitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion._rows import Task, repetitions
from skfusion.estimators.support._crossfit import Table, outputs_of
from skfusion.estimators.support._fill_random_state import stream
from skfusion.estimators.support._pipeline import split_pipeline


def fit_weighted(estimator: Any, table: Table, who: str, remedy: str, groups: np.ndarray | None = None) -> Any:
    """Fit an estimator, and return it.

    An estimator of this library, also at the end of a pipeline, is given the weights: it splits rows before it repeats
    them, and a split of repetitions would have copies of a row on both sides. Others are given repeated rows.

    Parameters
    ----------
    estimator : estimator
        Of any library; it is changed.
    table : Table
        Rows to fit on, with targets as the estimator takes them.
    who, remedy : str
        The estimator in messages, and what to do about it.
    groups : ndarray of shape (n_samples,), optional
        For an estimator of this library that takes some.

    Returns
    -------
    estimator
        The same, fitted.
    """
    index, rest = repetitions(table.weight)
    if rest is None and repeats(estimator) and not (index is None and groups is None):
        head, last = split_pipeline(estimator)
        if last is estimator:
            return estimator.fit(table.X, table.y, sample_weight=table.weight, **taken(estimator, groups))
        if head is not None:
            table = replace(table, X=transformed(head, table, np.arange(len(table)) if index is None else index))
        steps = [] if head is None else head.steps
        estimator.steps = [*steps, (estimator.steps[-1][0], fit_weighted(last, table, who, remedy, groups))]
        return estimator
    rows = table.expanded()
    weights: dict[str, Any] = {}
    if rows.weight is not None:
        if not has_fit_parameter(estimator, "sample_weight"):
            raise ValueError(
                f"{who} takes no sample_weight, and the weights are no whole numbers, which could be taken as "
                f"repetitions. {remedy}"
            )
        weights = {"sample_weight": rows.weight}
    if rest is not None and repeats(estimator):
        weights |= taken(estimator, None if groups is None else groups[index])
    return estimator.fit(rows.X, rows.y, **weights)


def taken(estimator: Any, groups: np.ndarray | None) -> dict[str, Any]:
    """Return groups as an argument of ``fit``, where there are some and the estimator takes them."""
    return {} if groups is None or not has_fit_parameter(estimator, "groups") else {"groups": groups}


def repeats(estimator: Any) -> bool:
    """Return whether an estimator, or the end of a pipeline, takes whole-number weights as repetitions by itself."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    ours = any(cls.__module__.partition(".")[0] == "skfusion" for cls in type(estimator).__mro__)
    return ours and has_fit_parameter(estimator, "sample_weight")


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
    member: Any,
    name: str,
    train: Table,
    groups: np.ndarray | None,
    test: Table | None,
    task: Task,
    n_outputs: int,
    seed: int,
) -> tuple[Any, np.ndarray | None]:
    """Return a member fitted on ``train``, and its prediction of ``test``; it leaves the global generators alone."""
    y = train.y[:, 0] if task == "regression" and train.y.shape[1] == 1 else train.y
    who, remedy = f"Member {name!r}", "Leave it out or give no weights."
    with stream(member, seed):
        fitted = fit_weighted(clone(member), replace(train, y=y), who, remedy, groups)
        return fitted, None if test is None else outputs_of(fitted, test.X, task, n_outputs, name)
