"""Members of a pool by their architecture, as run on the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import addable
from skfusion.diagnose.measure._lines import judged_as
from skfusion.diagnose.measure._paired import ByRow, by_row
from skfusion.evaluate import PoolOnData, pool_on_data
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate
from skfusion.state import State, is_position, is_statistic

PURPOSE = "to diagnose the members"


class Unlike(NamedTuple):
    """Why the weights of two members cannot be averaged.

    Parameters
    ----------
    tensor : str
        The first tensor by which they differ.
    is_position : bool
        Whether it holds other integers with axes, as of the columns that a network sees; else it is of another shape,
        or only one of the two has it.
    """

    tensor: str
    is_position: bool

    @property
    def reason(self) -> str:
        """What differs, for a table."""
        return f"{'other columns or positions' if self.is_position else 'other architecture'}: {self.tensor}"

    @property
    def clause(self) -> str:
        """What differs, for a sentence."""
        if self.is_position:
            return f"the members see other columns or positions, those in tensor {self.tensor!r}"
        return f"the members differ in architecture, first by tensor {self.tensor!r}"


def unlike(pool: ModelPool, i: int, j: int) -> Unlike | None:
    """Return how two members differ that cannot be averaged."""
    a, b = pool[i].state, pool[j].state
    for key in [*a, *(k for k in b if k not in a)]:
        if key not in a or key not in b or a[key].shape != b[key].shape:
            return Unlike(key, False)
    found = (key for key in a if is_position(a[key]) and not torch.equal(*(addable(s[key]).cpu() for s in (a, b))))
    return next((Unlike(key, True) for key in found), None)


def is_of_one_architecture(pool: ModelPool, parts: list[list[int]]) -> bool:
    """Return whether one net can run all families, as it can where these just see other columns."""
    return all(found is None or found.is_position for found in (unlike(pool, 0, part[0]) for part in parts))


def families(pool: ModelPool) -> list[list[int]]:
    """Return the positions of members, those together that can be averaged."""
    found: list[list[int]] = []
    for k in range(len(pool)):
        home = next((family for family in found if not unlike(pool, family[0], k)), None)
        if home is None:
            found.append([k])
        else:
            home.append(k)
    return found


def statistics_apart(a: State, b: State) -> float:
    """Return how far apart what is no weight is: BatchNorm statistics and integers, but for counters of batches.

    Parameters
    ----------
    a, b : State
        Of one architecture.

    Returns
    -------
    float
        The largest distance of two tensors, as a share of the longer one's norm.
    """
    others = [k for k, t in a.items() if is_statistic(k) or not t.is_floating_point()]
    return max((_apart(a[k], b[k]) for k in others if not k.endswith("num_batches_tracked")), default=0.0)


def _apart(s: Tensor, t: Tensor) -> float:
    s, t = (z.detach().to("cpu", torch.complex128 if z.is_complex() else torch.float64) for z in (s, t))
    longer = max(float(s.norm()), float(t.norm()))
    return float((s - t).norm()) / longer if longer else 0.0


@dataclass(frozen=True, eq=False)
class Family:
    """Members of one architecture, and what they predict.

    Parameters
    ----------
    index : list of int
        Their positions in the pool.
    data : PoolOnData
        They and the rows.
    loss, score : ndarray of shape (n_members,)
        Of each by itself.
    predictions : ndarray of shape (n_members, n_rows, n_outputs)
        Probabilities or values.
    by_row : callable or None
        How the score is made up of its rows.
    rows : list of ndarray of shape (n_rows,), or of None
        What each row adds to the score of each member.
    score_recalibrated : ndarray of shape (n_members,)
        The score of each with BatchNorm statistics recalibrated; the same object as ``score`` where there is none.
    rows_recalibrated : list of ndarray of shape (n_rows,), or of None
        What each row adds to that.
    """

    index: list[int]
    data: PoolOnData
    loss: np.ndarray
    score: np.ndarray
    predictions: np.ndarray
    by_row: ByRow | None
    rows: list[np.ndarray | None]
    score_recalibrated: np.ndarray
    rows_recalibrated: list[np.ndarray | None]


def run(
    pool: ModelPool, index: list[int], alone: bool, X: Any, y: Any, estimator: Any, scoring: Any, X_fit: Any
) -> Family:
    """Return members of one architecture with what they predict.

    Parameters
    ----------
    pool : ModelPool
        The members.
    index : list of int
        Those of one architecture.
    alone : bool
        Whether the pool is of one architecture. Where it is not, one estimator cannot run all, and each member needs
        its own net.
    X, y : array-like
        The rows.
    estimator, scoring, X_fit : object
        As in ``pool_on_data``.

    Returns
    -------
    Family
        What they predict.
    """
    part = pool[index]
    if not alone and part[0].net is None:
        raise ValueError(
            f"The pool has members of unlike architectures, and no net for {part[0].name!r}: one estimator cannot run "
            "them all. Make the pool of fitted nets, ModelPool.from_estimators(nets), or diagnose members of one "
            "architecture at a time."
        )
    if not alone:
        estimator = None
    if len(part) < len(pool):
        part = part.replace(base=None)
    data = pool_on_data(part, X, y, estimator, scoring, None, X_fit=X_fit)
    rows_of = by_row(scoring, data.task)
    outputs = list(data.judge.outputs(data.states))
    judged = [judged_as(out, data, rows_of) for out in outputs]
    loss, score = (np.array([getattr(made, name) for made in judged], np.float64) for name in ("loss", "score"))
    predictions = np.stack([data.predictions(out) for out in outputs])
    rows = [made.rows for made in judged]
    if not data.has_batch_norm:
        return Family(index, data, loss, score, predictions, rows_of, rows, score, rows)
    mended = (Recalibrate()(state, [], data.objective) for state in data.states)
    again = [judged_as(out, data, rows_of) for out in data.judge.outputs(mended)]
    better = np.array([made.score for made in again], np.float64)
    return Family(index, data, loss, score, predictions, rows_of, rows, better, [made.rows for made in again])


def agreement(p: np.ndarray, q: np.ndarray, task: str) -> float:
    """Return on which share of the rows two predictions agree; their mean correlation, where they are values."""
    if task == "classification":
        return float(np.mean(p.argmax(1) == q.argmax(1)))
    if task == "multilabel":
        return float(np.mean(((p > 0.5) == (q > 0.5)).all(1)))
    p, q = (z.astype(np.float64) - z.mean(0, dtype=np.float64) for z in (p, q))
    size = np.sqrt((p**2).sum(0) * (q**2).sum(0))
    found = np.full(len(size), np.nan)
    np.divide((p * q).sum(0), size, out=found, where=size > 0)
    return float(found.mean())
