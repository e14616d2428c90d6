"""Fit estimators of any kind on weighted rows, of which whole-number weights are repetitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion._rows import Rows, repetitions, rows_at
from skfusion.estimators.support._fill_random_state import stream
from skfusion.estimators.support._member_outputs import outputs_of


def split_pipeline(estimator: Any) -> tuple[Any, Any]:
    """Return the steps before the last one as a pipeline (None where there are none), and the last one."""
    if not isinstance(estimator, Pipeline):
        return None, estimator
    return (estimator[:-1] if len(estimator.steps) > 1 else None), estimator.steps[-1][1]


def fit_weighted(estimator: Any, rows: Rows, who: str, remedy: str, groups: np.ndarray | None = None) -> Any:
    """Fit an estimator of any library in place, and return it.

    An estimator of this library, also at the end of a pipeline, is given the weights: it splits rows before it repeats
    them, and a split of repetitions would have copies of a row on both sides. Others are given repeated rows.
    ``groups`` are for those of this library; ``who`` and ``remedy`` are the estimator and the remedy, in messages.
    """
    index, rest = repetitions(rows.weight)
    if rest is None and repeats(estimator) and not (index is None and groups is None):
        head, last = split_pipeline(estimator)
        if last is estimator:
            return estimator.fit(rows.X, rows.y, sample_weight=rows.weight, **taken(estimator, groups))
        if head is not None:
            X = transformed(head, rows, np.arange(len(rows)) if index is None else index)
            rows = Rows(X, rows.y, rows.weight)
        steps = [] if head is None else head.steps
        estimator.steps = [*steps, (estimator.steps[-1][0], fit_weighted(last, rows, who, remedy, groups))]
        return estimator
    rows = rows.repeated()
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


def transformed(head: Any, rows: Rows, index: np.ndarray) -> Any:
    """Return the inputs of rows, once each, as the steps of a pipeline give them that are fitted on repetitions.

    ``index`` has the positions of the rows, with repetitions; every row is among them.
    """
    again = rows.take(index)
    X = head.fit_transform(again.X, again.y)
    return rows_at(X, np.unique(index, return_index=True)[1])


def fit_and_predict(
    member: Any, name: str, train: Rows, test: Rows | None, n_outputs: int, seed: int
) -> tuple[Any, np.ndarray | None]:
    """Return a member fitted on ``train``, and its prediction of ``test``; it leaves the global generators alone."""
    flat = train.task == "regression" and n_outputs == 1
    who, remedy = f"Member {name!r}", "Leave it out or give no weights."
    with stream(member, seed):
        rows = replace(train, y=train.y[:, 0]) if flat else train
        fitted = fit_weighted(clone(member), rows, who, remedy, train.groups)
        return fitted, None if test is None else outputs_of(fitted, test.X, train.task, n_outputs, name)
