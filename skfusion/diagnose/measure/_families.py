"""Members of a pool by their architecture, as they predict on the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from skfusion._numbers import addable
from skfusion.diagnose.measure._lines import Judged, Units, judged, units_of
from skfusion.diagnose.measure._paired import ByRow, by_row
from skfusion.evaluate import PoolOnData, pool_on_data
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate
from skfusion.state import State, is_position, is_statistic

PURPOSE = "to diagnose the members"


class Difference(NamedTuple):
    """Why the weights of two members cannot be averaged."""

    is_position: bool  # whether a tensor holds other columns or positions; else it has another shape, or one lacks it
    reason: str  # what differs, for a table
    clause: str  # the same for a sentence


def difference(pool: ModelPool, i: int, j: int) -> Difference | None:
    """Return how two members differ that cannot be averaged."""
    a, b = pool[i].state, pool[j].state
    for key in [*a, *(k for k in b if k not in a)]:
        if key not in a or key not in b or a[key].shape != b[key].shape:
            clause = f"the members differ in architecture, first by tensor {key!r}"
            return Difference(False, f"other architecture: {key}", clause)
    for key in a:
        if is_position(a[key]) and not torch.equal(*(addable(s[key]).cpu() for s in (a, b))):
            clause = f"the members see other columns or positions, those in tensor {key!r}"
            return Difference(True, f"other columns or positions: {key}", clause)
    return None


def is_of_one_architecture(pool: ModelPool, parts: list[list[int]]) -> bool:
    """Return whether one net can run all families, as it can where these differ in the columns that they see alone."""
    return all(how is None or how.is_position for how in (difference(pool, 0, part[0]) for part in parts))


def families(pool: ModelPool) -> list[list[int]]:
    """Return the positions of members, those together that can be averaged."""
    parts: list[list[int]] = []
    for k in range(len(pool)):
        home = next((part for part in parts if not difference(pool, part[0], k)), None)
        if home is None:
            parts.append([k])
        else:
            home.append(k)
    return parts


def statistics_apart(a: State, b: State) -> float:
    """Return the largest distance of two tensors that are no weights, as a share of the longer one's norm.

    These are BatchNorm statistics and integers, except counters of batches.
    """
    apart = [0.0]
    for key, tensor in a.items():
        if (is_statistic(key) or not tensor.is_floating_point()) and not key.endswith("num_batches_tracked"):
            dtype = torch.complex128 if tensor.is_complex() else torch.float64
            s, t = (state[key].detach().to("cpu", dtype) for state in (a, b))
            apart.append(float((s - t).norm()) / (max(float(s.norm()), float(t.norm())) or 1.0))
    return max(apart)


@dataclass(frozen=True, eq=False)
class Family:
    """Members of one architecture, and what they predict."""

    index: list[int]  # positions in the pool
    names: list[str]
    data: PoolOnData
    predictions: np.ndarray  # shape: (n_members, n_rows, n_outputs)
    by_row: ByRow | None
    judged: list[Judged]
    recalibrated: list[Judged]  # with BatchNorm statistics recalibrated; the same list where there are none
    units: Units

    @property
    def scores(self) -> np.ndarray:
        """The score of each member, shape (n_members,)."""
        return np.array([member.score for member in self.judged], np.float64)


def family_of(
    pool: ModelPool, index: list[int], alone: bool, X: Any, y: Any, estimator: Any, scoring: Any, X_fit: Any
) -> Family:
    """Return members of one architecture with what they predict.

    Where the pool has others too, so that ``alone`` is false, one estimator cannot run all, and each member needs its
    net.
    """
    part = pool[index]
    if not alone and part[0].net is None:
        raise ValueError(
            f"The pool has members of different architectures, and no net for {part[0].name!r}: one estimator cannot "
            "run them all. Make the pool of fitted nets, ModelPool.from_estimators(nets), or diagnose members of one "
            "architecture at a time."
        )
    if not alone:
        estimator = None
    if len(part) < len(pool):
        part = part.replace(base=None)
    data = pool_on_data(part, X, y, estimator, scoring, None, X_fit=X_fit)
    rows_of = by_row(scoring, data.task)
    outputs = list(data.objective.outputs(data.states))
    members = recalibrated = [judged(out, data, rows_of) for out in outputs]
    if data.has_batch_norm:
        states = (Recalibrate()(state, [], data.objective) for state in data.states)
        recalibrated = [judged(out, data, rows_of) for out in data.objective.outputs(states)]
    predictions = np.stack([data.predictions(out) for out in outputs])
    units = units_of(data) if len(index) > 1 else Units()
    return Family(index, part.names, data, predictions, rows_of, members, recalibrated, units)


def agreement(p: np.ndarray, q: np.ndarray, task: str) -> float:
    """Return on which share of the rows two predictions agree; their mean correlation, where they are values."""
    if task == "classification":
        return float(np.mean(p.argmax(1) == q.argmax(1)))
    if task == "multilabel":
        return float(np.mean(((p > 0.5) == (q > 0.5)).all(1)))
    p, q = (z.astype(np.float64) - z.mean(0, dtype=np.float64) for z in (p, q))
    size = np.sqrt((p**2).sum(0) * (q**2).sum(0))
    correlation = np.full(len(size), np.nan)
    np.divide((p * q).sum(0), size, out=correlation, where=size > 0)
    return float(correlation.mean())
