"""Members of a pool on rows that are known only after training: for displays and diagnoses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from torch import Tensor, nn

from skfusion._rows import Rows, Task, unlabelled
from skfusion.align import Aligner
from skfusion.data import check_inputs, score_function
from skfusion.estimators import BaseFusion, SoupClassifier, SoupRegressor
from skfusion.estimators.support import align_members
from skfusion.nets import Judge, Runner
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State

_LOSSES = {
    "CrossEntropyLoss": "cross-entropy (nats)",
    "SmoothedCrossEntropyLoss": "cross-entropy of smoothed labels (nats)",
    "MSELoss": "squared error",
}


@dataclass(frozen=True, eq=False)
class PoolOnData:
    """Members of one architecture, ready to be judged on some rows."""

    objective: Judge  # statistics are estimated on X_fit, or on the rows that are judged
    states: list[State]  # the members', on the device of the net
    runner: Runner
    score: Callable[[np.ndarray, Rows], float]  # of predictions as networks give them
    rows: Rows
    task: Task
    loss_name: str
    score_name: str
    n_fit: int  # rows that statistics are estimated on

    def example(self, n_rows: int = 4) -> Any:
        """Return the inputs of some rows, to trace the architecture on."""
        return next(self.runner.chunks(self.rows.take(np.arange(min(n_rows, len(self.rows)))).X))

    def predictions(self, out: Tensor) -> np.ndarray:
        """Return probabilities or values for the output of a network for all rows."""
        return self.runner.link(out).cpu().numpy()

    def aligned(self, align: Aligner, pool: ModelPool) -> list[State]:
        """Return the states of the members, whose pool this is, with their units matched."""
        placed = pool.replace([m.replace(state=s) for m, s in zip(pool, self.states, strict=True)])
        return align_members(align, placed, self.rows, self.runner, self.objective)[0].states

    @property
    def has_batch_norm(self) -> bool:
        """Whether averages need other statistics than the averages of the members' statistics."""
        return bool(batch_norms(self.runner.module))


def statistics_of_inner_points(module: nn.Module) -> Recalibrate | None:
    """Return the repair that gives points of a line exact BatchNorm statistics; None for one pass over the rows."""
    return Recalibrate() if len(batch_norms(module)) > 1 else None  # one pass is exact where there is one layer


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
    """Return the members of a pool of one architecture, or other states of it in their place, on some rows.

    ``estimator`` is an estimator of this library or a skorch net; the net that the members carry when omitted.
    ``purpose`` says what the rows are for in the warning that a member was trained on some of them; None leaves that
    warning to the caller. BatchNorm statistics are estimated on ``X_fit``; on ``X`` when omitted.
    """
    pool.check_compatible()
    if not isinstance(estimator, BaseFusion):
        net = net_for(pool, estimator)
        estimator = SoupClassifier(net) if is_classifier(net) else SoupRegressor(net)
    estimator = clone(estimator)
    rows = estimator._rows(X, y, None, None, pool=pool)
    if purpose is not None:
        pool.warn_of_leakage(rows, purpose)
    fit_rows = rows if X_fit is None else _fit_rows(estimator, X_fit)
    net = estimator._net(rows, pool)
    runner = Runner(net, estimator._task, rows)
    score = estimator._outputs.scored(score_function(scoring, estimator._task))
    criterion = (net.criterion if isinstance(net.criterion, type) else type(net.criterion)).__name__
    default = "R2" if estimator._task == "regression" else "accuracy"
    return PoolOnData(
        Judge(runner, fit_rows, rows, score),
        [runner.place(s) for s in (pool.states if states is None else states)],
        runner,
        score,
        rows,
        estimator._task,
        _LOSSES.get(criterion, criterion),
        default if scoring is None else scoring if isinstance(scoring, str) else "score",
        len(fit_rows),
    )


def net_for(pool: ModelPool, net: Any) -> Any:
    """Return the net that runs the members of a pool: the given one, else the first member's."""
    net = pool[0].net if net is None else net
    if net is None:
        raise ValueError(
            "The pool has no net, as it comes from a file: give estimator=, the net that its members were trained with."
        )
    return net


def check_both(X: Any, y: Any) -> None:
    """Raise ``ValueError`` where only one of inputs and targets is given."""
    if (X is None) != (y is None):
        raise ValueError("Give both X and y, or neither.")


def _fit_rows(estimator: BaseFusion, X_fit: Any) -> Rows:
    try:
        return unlabelled(check_inputs(estimator, X_fit, reset=False)[0])
    except ValueError as error:
        raise ValueError(f"X_fit does not go with X: {error}") from error
