"""Members of a pool on data that is given later: for displays and diagnoses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from skfusion._rows import Rows, Task, unlabelled
from skfusion.data import check_inputs, score_function
from skfusion.estimators._base import BaseFusion
from skfusion.estimators._soup import SoupClassifier, SoupRegressor
from skfusion.nets import Judge, Runner
from skfusion.objective import Objective
from skfusion.pool import ModelPool
from skfusion.state import State

_LOSSES = {"CrossEntropyLoss": "cross-entropy (nats)", "MSELoss": "squared error"}


@dataclass(frozen=True, eq=False)
class PoolOnData:
    """Members of one architecture, ready to be judged on some rows.

    Parameters
    ----------
    objective : Objective
        Architecture and rows; statistics are estimated on ``X_fit``, or on these rows too.
    states : list of State
        The members', on the device of the net.
    runner : Runner
        The architecture.
    judge : Judge
        Judges outputs.
    rows : Rows
        The rows.
    task : {"classification", "multilabel", "regression"}
        What is predicted.
    loss_name, score_name : str
        Labels for axes.
    n_fit : int
        Rows that statistics are estimated on.
    """

    objective: Objective
    states: list[State]
    runner: Runner
    judge: Judge
    rows: Rows
    task: Task
    loss_name: str
    score_name: str
    n_fit: int

    def example(self, n_rows: int = 4) -> Any:
        """Return the inputs of some rows, to trace the architecture on."""
        return next(self.runner.chunks(self.rows.take(np.arange(min(n_rows, len(self.rows)))).X))


def pool_on_data(
    pool: ModelPool,
    X: Any,
    y: Any,
    estimator: Any = None,
    scoring: Any = None,
    purpose: str | None = "to evaluate the networks between members",
    states: Sequence[State] | None = None,
    X_fit: Any = None,
) -> PoolOnData:
    """Return the members of a pool, or other states of their architecture, on some rows.

    Parameters
    ----------
    pool : ModelPool
        Members of one architecture.
    X, y : array-like
        Rows that no member was trained on; a warning says where one was.
    estimator : estimator of this library or skorch net, optional
        How to run the members; the net that they carry when omitted.
    scoring : str or callable, optional
        The score; accuracy or R2 when omitted.
    purpose : str or None, optional
        What the rows are for, for the warning; None leaves the warning to the caller.
    states : sequence of State, optional
        In the place of the members'.
    X_fit : array-like, optional
        Rows without labels that statistics, as those of BatchNorm, are estimated on; ``X`` when omitted.
    """
    pool.check_compatible()
    if not isinstance(estimator, BaseFusion):
        net = pool[0].net if estimator is None else estimator
        if net is None:
            raise ValueError(
                "The pool has no net, as it comes from a file: give estimator=, the net that its members were trained "
                "with."
            )
        estimator = SoupClassifier(net) if is_classifier(net) else SoupRegressor(net)
    estimator = clone(estimator)
    rows = estimator._rows(X, y, None, None, pool=pool)
    if purpose is not None:
        pool.warn_of_leakage(rows, purpose)
    fit_rows = rows if X_fit is None else _fit_rows(estimator, X_fit)
    net = estimator._net(rows, pool)
    runner = Runner(net, estimator._task, rows)
    judge = Judge(runner, fit_rows, rows, estimator._outputs.scored(score_function(scoring, estimator._task)))
    criterion = (net.criterion if isinstance(net.criterion, type) else type(net.criterion)).__name__
    default = "R2" if estimator._task == "regression" else "accuracy"
    return PoolOnData(
        judge,
        [runner.place(s) for s in (pool.states if states is None else states)],
        runner,
        judge,
        rows,
        estimator._task,
        _LOSSES.get(criterion, criterion),
        default if scoring is None else scoring if isinstance(scoring, str) else "score",
        len(fit_rows),
    )


def _fit_rows(estimator: BaseFusion, X_fit: Any) -> Rows:
    try:
        return unlabelled(check_inputs(estimator, X_fit, reset=False)[0])
    except ValueError as error:
        raise ValueError(f"X_fit does not go with X: {error}") from error
