"""Objectives for the methods that ask for data, and the scores of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import Tensor

from skfusion.nets._lineup import FEW, Lineup
from skfusion.nets._link import keeps_order, likelihood_of
from skfusion.nets._runner import Runner
from skfusion.nets._size import targets, tensors
from skfusion.objective import Batch, Objective
from skfusion.rows import Rows, Task, one_of
from skfusion.state import State

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


def objective(
    runner: Runner, fit_rows: Rows, held_out: Rows, score: Score | None = None, own: Sequence[np.ndarray] = ()
) -> Objective:
    """Return what data-dependent methods may ask of a net and its data.

    Parameters
    ----------
    runner : Runner
        The architecture.
    fit_rows : Rows
        Rows to estimate statistics on; labels are not needed.
    held_out : Rows
        Rows that no member was trained on.
    score : callable, optional
        ``score(prediction, rows)``; accuracy, or R2 in regression, when omitted.
    own : sequence of ndarray of int, optional
        Which of ``fit_rows`` each member was trained on, where they were trained on unlike rows.

    Returns
    -------
    Objective
        In torch terms.
    """
    judge = score or default_score(runner.task)
    y = tensors(targets(runner.net, held_out.y, runner.task), runner.dtype, runner.device)
    weight = None if held_out.weight is None else torch.from_numpy(held_out.weight).to(runner.device)
    weighted = weight is not None or fit_rows.weight is not None
    if weighted and hasattr(runner.net.criterion_, "reduction"):
        runner.net.criterion_.reduction = "none"

    def batches(rows: Rows) -> Iterator[Batch]:
        start = 0
        target = tensors(targets(runner.net, rows.y, runner.task), runner.dtype, runner.device)
        for x in runner.chunks(rows.X):
            here = slice(start, start + len(one_of(x)))
            w = None if rows.weight is None else torch.from_numpy(rows.weight[here]).to(runner.device)
            yield Batch(x, target[here], w)
            start = here.stop

    inputs = list(runner.chunks(held_out.X))

    def criterion(out: Tensor, batch: Batch) -> Tensor:
        found = runner.net.get_loss(out, batch.y, training=False)
        if found.ndim == 0:
            return found
        rows = found.reshape(len(found), -1).mean(1)
        return rows.mean() if batch.weight is None else (rows * batch.weight).sum() / batch.weight.sum()

    everything = Batch(None, y, weight)

    def loss_of(out: Tensor) -> float:
        with torch.no_grad():
            return float(criterion(out, everything))

    by_rank = getattr(judge, "by_rank", False) and keeps_order(runner.net, runner.task)

    def score_of(out: Tensor) -> float:
        return judge((out if by_rank else runner.link(out)).cpu().numpy(), held_out)

    def outputs(states: Iterable[State]) -> Iterator[Tensor]:
        at_a_time = 1 if len(held_out) > FEW else 32
        states = iter(states)
        while some := [runner.on_device(state) for state in islice(states, at_a_time)]:
            yield from Lineup(runner, some).raw(inputs)

    def losses(states: Iterable[State]) -> list[float]:
        return [loss_of(out) for out in outputs(states)]

    def scores(states: Iterable[State]) -> list[float]:
        return [score_of(out) for out in outputs(states)]

    def both(states: Iterable[State]) -> list[tuple[float, float]]:
        return [(loss_of(out), score_of(out)) for out in outputs(states)]

    return Objective(
        runner.module,
        partial(batches, fit_rows),
        lambda state: losses([state])[0],
        lambda state: scores([state])[0],
        scores,
        both,
        held_out=partial(batches, held_out),
        criterion=criterion,
        likelihood=likelihood_of(runner.net, runner.task),
        own=tuple(partial(batches, fit_rows.take(index)) for index in own),
    )


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
        What the predictions are.

    Returns
    -------
    callable
        ``score(prediction, rows)``, higher is better.
    """

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        right = ((p > 0.5) == rows.y).all(axis=1) if task == "multilabel" else p.argmax(axis=1) == rows.y
        return float(np.average(right, weights=rows.weight))

    accuracy.by_rank = task == "classification"  # which output is largest is all that it reads

    def r2(p: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(p).all():
            return -np.inf
        if len(rows) < 2:  # undefined for a single row
            return -float(np.mean((p - rows.y) ** 2))
        return float(r2_score(rows.y, p, sample_weight=rows.weight))

    return r2 if task == "regression" else accuracy
