"""Decide how the members of a pool are trained: in stacks of which sizes, or one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skfusion._rows import Rows, one_of
from skfusion._vectorized import ENOUGH, Cost, NotVectorizableError, chunk_sizes, free_bytes, pays, stepper
from skfusion.nets._prepare import few_threads, seeded
from skfusion.nets.vectorized._member import Data, Job, TrainingMember, member_of

VectorizeChoice = Literal["auto"] | bool


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    sizes : list of int
        Members that each task takes, in order.
    stacked : bool
        Whether a task is a stack; one member otherwise.
    reason : str, optional
        Why the net cannot be stacked, as half a sentence.
    n_jobs : int, optional
        Processes, where memory has room for fewer stacks at a time than were asked for.
    """

    sizes: list[int]
    stacked: bool
    reason: str | None = None
    n_jobs: int | None = None


def plan(
    net: Any,
    jobs: Sequence[Job],
    vectorize: VectorizeChoice = "auto",
    max_bytes: int | None = None,
    n_jobs: int = 1,
) -> Plan:
    """Return how to train jobs.

    One batch of the first job is computed, to see whether it can be and how much memory it takes.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    jobs : sequence of Job
        What to train.
    vectorize : {"auto", True, False}, default="auto"
        True vectorises what can be vectorised, "auto" only from ``skfusion._vectorized.ENOUGH`` members on, and where
        :func:`skfusion._vectorized.pays` says that it is faster.
    max_bytes : int, optional
        Memory for the stacks; half of the free memory of the device when omitted.
    n_jobs : int, default=1
        Processes.

    Returns
    -------
    Plan
        Sizes and reasons.
    """
    alone = [1] * len(jobs)
    if vectorize not in ("auto", True, False):
        raise ValueError(f"vectorize must be 'auto', True or False; got {vectorize!r}.")
    if max_bytes is not None and not (isinstance(max_bytes, Real) and 1 <= max_bytes < math.inf):
        raise ValueError(f"max_bytes is a number of bytes, at least 1; got {max_bytes!r}.")
    fewest = ENOUGH if vectorize == "auto" else 2
    if not vectorize or len(jobs) < fewest:
        return Plan(alone, False)
    try:
        found = cost(net, jobs[0], all(job.rows is jobs[0].rows for job in jobs))
    except NotVectorizableError as error:
        return Plan(alone, False, str(error))
    except Exception:  # the loop meets it too, and says what is wrong
        return Plan(alone, False)
    if vectorize == "auto" and not pays(found):
        return Plan(alone, False)
    room = free_bytes(net.device or "cpu") if max_bytes is None else int(max_bytes)
    sizes = chunk_sizes(found, len(jobs), room, n_jobs, fewest)
    if not sizes:
        return Plan(alone, False, f"two members need {2 * found.bytes:,} bytes, and max_bytes is {room:,}")
    at_a_time = room // (found.bytes * max(sizes))
    return Plan(sizes, True, None, at_a_time if at_a_time < n_jobs else None)


def cost(net: Any, job: Job, shares_rows: bool = True) -> Cost:
    """Return what a member costs in training.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    job : Job
        What to train; nothing of it is.
    shares_rows : bool, default=True
        Whether other jobs have the same rows, which are then in memory only once.

    Returns
    -------
    Cost
        Bytes and kind.

    Raises
    ------
    NotVectorizableError
        If the net cannot be stacked.
    """
    with seeded(job.seed, net.device):
        seat = TrainingMember(net, job, {})
        seat.load()
        return _cost(seat, job, shares_rows)


def _cost(seat: TrainingMember, job: Job, shares_rows: bool) -> Cost:
    data = Data([seat.loader], seat.device)
    module = seat.net.module_.train()
    start, stop = seat.loader.cuts[0]
    own = {t.data_ptr() for t in (*module.parameters(), *module.buffers())}
    saved: dict[int, int] = {}

    def count(t: Tensor) -> Tensor:
        if t.data_ptr() not in own:
            saved[t.data_ptr()] = t.untyped_storage().nbytes()
        return t

    with few_threads(module), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        x, y, weight = (member_of(part, 0) for part in data.batch(torch.arange(start, stop, device=seat.device)[None]))
        seat.weigh(weight)
        seat.net.get_loss(seat.net.infer(x), y, X=x, training=True)
    trained = [p for p in module.parameters() if p.requires_grad]
    n_bytes = sum(p.numel() * p.element_size() for p in trained) * (3 + stepper([seat.net.optimizer_]).n_buffers)
    n_bytes += sum(
        t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()) if not t.requires_grad
    )
    n_bytes += sum(saved.values()) + (0 if shares_rows else _bytes_of(job.rows))
    n_bytes += 8 * (
        seat.loader.n + (0 if job.index is None else len(job.index))
    )  # the order of an epoch, and the index
    convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in module.modules())
    return Cost(sum(p.numel() for p in trained), n_bytes, sum(saved.values()), convolves, seat.device.type == "cuda")


def _bytes_of(rows: Rows) -> int:
    arrays = [*rows.X.values(), rows.y] if isinstance(rows.X, dict) else [one_of(rows.X), rows.y]
    return int(sum(a.nbytes for a in arrays))
