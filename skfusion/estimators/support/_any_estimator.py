"""Estimators of any library: their seeds, their fit on weighted rows, and what they predict for all classes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion import nets
from skfusion._rows import Rows, repetitions, rows_at
from skfusion.data import outputs_of


def stream(estimator: Any, seed: int) -> AbstractContextManager[None]:
    """Seed the global generators while an estimator of another library runs that may draw from them, and restore them.

    One that holds an estimator of this library gets no seed: threads in which it may train would wait for this one.
    """
    parts = [] if estimator is None else [estimator, *estimator.get_params().values()]
    if any(_is_own(part) for part in parts):
        return nullcontext()
    devices = [torch.device(part.device or "cpu") for part in parts if nets.is_net(part)]
    return nets.seed_scope(seed, next((device for device in devices if device.type == "cuda"), "cpu"))


def _is_own(part: Any) -> bool:
    kinds = type(part).__mro__ if isinstance(part, BaseEstimator) and not nets.is_net(part) else ()
    return any(kind.__module__.partition(".")[0] == "skfusion" for kind in kinds)


def split_pipeline(estimator: Any) -> tuple[Any, Any]:
    """Return the steps before the last one as a pipeline (None where there are none), and the last one."""
    if not isinstance(estimator, Pipeline):
        return None, estimator
    return (estimator[:-1] if len(estimator.steps) > 1 else None), estimator.steps[-1][1]


def fit_weighted(estimator: Any, rows: Rows, who: str, remedy: str, groups: np.ndarray | None = None) -> Any:
    """Fit an estimator of any library in place, and return it; ``who`` and ``remedy`` are for messages.

    One of this library, also at the end of a pipeline, is given weights and groups: it splits rows before it repeats
    them, so that no split has copies of a row on both sides. Others are given repeated rows. Weights that are no
    whole numbers go to the last step of a pipeline; the steps before it take each row once.
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
        check_weighable(estimator, who, remedy)
        weights = {"sample_weight": rows.weight}
    if rest is not None and repeats(estimator):
        weights |= taken(_end(estimator), None if groups is None else groups[index])
    return estimator.fit(rows.X, rows.y, **{_place(estimator) + name: value for name, value in weights.items()})


def check_weighable(estimator: Any, who: str, remedy: str) -> None:
    """Raise where an estimator takes no weights of rows, which are no repetitions."""
    if not has_fit_parameter(_end(estimator), "sample_weight"):
        raise ValueError(
            f"{who} takes no sample_weight, and the weights are no whole numbers, which could be taken as "
            f"repetitions. {remedy}"
        )


def _place(estimator: Any) -> str:
    """Return what stands before the parameters of the last step of a pipeline; nothing for other estimators."""
    if not isinstance(estimator, Pipeline):
        return ""
    name, last = estimator.steps[-1]
    return f"{name}__{_place(last)}"


def _end(estimator: Any) -> Any:
    """Return the last step of a pipeline, also within pipelines; other estimators as they are."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def taken(estimator: Any, groups: np.ndarray | None) -> dict[str, Any]:
    """Return groups as an argument of ``fit``, where there are some and the estimator takes them."""
    return {} if groups is None or not has_fit_parameter(estimator, "groups") else {"groups": groups}


def repeats(estimator: Any) -> bool:
    """Return whether an estimator, or the end of a pipeline, takes whole-number weights as repetitions by itself."""
    estimator = _end(estimator)
    ours = any(cls.__module__.partition(".")[0] == "skfusion" for cls in type(estimator).__mro__)
    return ours and has_fit_parameter(estimator, "sample_weight")


def transformed(head: Any, rows: Rows, index: np.ndarray) -> Any:
    """Return the inputs of rows, once each, by steps that are fitted on repetitions, at the positions ``index``."""
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
        if train.class_weight is not None and not repeats(member) and has_fit_parameter(_end(member), "sample_weight"):
            rows = replace(rows, weight=train.loss_weight, class_weight=None)  # those of this library have their own
        fitted = fit_weighted(clone(member), rows, who, remedy, train.groups)
        return fitted, None if test is None else outputs_of(fitted, test.X, train.task, n_outputs, name)
