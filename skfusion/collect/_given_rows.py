"""Data that no estimator has prepared, for collectors that are called by themselves."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._rows import Inputs, Rows, Task


def rows_for(
    net: Any, X: Inputs, y: Any, sample_weight: Any = None, groups: Any = None, task: Task | None = None
) -> Rows:
    """Return data that no estimator has prepared as rows, with the task that the net has."""
    rows = Rows(X, np.asarray(y), sample_weight, groups, task=task)
    task = nets.task_of(net, rows)
    y = rows.y[:, None] if task == "regression" and rows.y.ndim == 1 else rows.y
    if task == "regression" and nets.standardising(y.astype(np.float64), sample_weight) is not None:
        warnings.warn(
            "Networks in float32 cannot tell such targets well apart, as their mean is so far from zero for their "
            "spread, or they are so large or small. Estimators such as EnsembleRegressor standardise them; a collector "
            "that is called by itself takes them as they are: give it (y - y.mean(axis=0)) / y.std(axis=0).",
            stacklevel=3,
        )
    return Rows(X, y, sample_weight, groups, task=task)


def n_outputs_of(net: Any, rows: Rows) -> int:
    """Return how many outputs the rows ask for; classes may be missing in them that the net names."""
    if rows.task != "classification":
        return int(rows.y.shape[1])
    named = getattr(net, "classes", None)
    width = net.get_params(deep=False).get("module__n_out") if nets.is_net(net) else None
    return max(int(rows.y.max()) + 1, 0 if named is None else len(named), 0 if width is None else int(width))
