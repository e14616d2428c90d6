"""Decide how the members of a pool are trained: how many of them at a time as one, or one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch
from skorch.dataset import ValidSplit
from torch import Tensor
from torch.utils.data import Subset

from skfusion._rows import Rows
from skfusion._vectorized import NotVectorizableError, member_of, member_optimizer
from skfusion.nets._prepare import few_threads, seed_scope
from skfusion.nets._training_callback import Run, Watch
from skfusion.nets.vectorized._member import SharedRows, TrainingMember

VectorizeChoice = Literal["auto"] | bool

MANY_PARAMETERS = 500_000
LARGE_ACTIVATIONS = 2 * 2**20
"""Numbers trained, and bytes kept for a backward pass, of a network that gains nothing from vectorizing on a CPU."""
ENOUGH = 4
"""Members from which vectorized training repays being set up and checked, also where a network is near these limits;
of small perceptrons two do (1.1x on 200 rows and in 5 epochs), and three gain 1.5x."""
_UNKNOWN = 2 * 2**30
_LIMITS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where containers say how much memory they may use, and how much they do."""


@dataclass(frozen=True)
class Plan:
    """How to train: how many members each task takes, in order, and whether as one (``vectorized``) or alone.

    ``reason`` says, as half a sentence, why members are not vectorized although they should be. ``n_jobs`` is the
    number of processes where memory has room for fewer than were asked for.
    """

    sizes: list[int]
    vectorized: bool
    reason: str | None = None
    n_jobs: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a member costs in training.

    ``bytes`` are those of parameters, gradient (twice: as autograd gives it, and as a row of a matrix), optimiser
    state, buffers, and activations of one batch; ``activation_bytes`` are the last of these.
    """

    n_parameters: int
    bytes: int
    activation_bytes: int
    on_gpu: bool


def plan(
    net: Any,
    rows: Rows,
    runs: Sequence[Run],
    vectorize: VectorizeChoice = "auto",
    max_bytes: int | None = None,
    n_jobs: int = 1,
) -> Plan:
    """Return how to train runs.

    One batch of the first run is computed, to see whether it can be vectorized and how much memory it takes. True
    vectorizes what can be, "auto" only from :data:`ENOUGH` members on and where :func:`pays` says that it is faster.
    ``max_bytes`` defaults to half of the free memory of the device.
    """
    alone = [1] * len(runs)
    if vectorize not in ("auto", True, False):
        raise ValueError(f"vectorize must be 'auto', True or False; got {vectorize!r}.")
    if max_bytes is not None and not (isinstance(max_bytes, Real) and 1 <= max_bytes < math.inf):
        raise ValueError(f"max_bytes is a number of bytes, at least 1; got {max_bytes!r}.")
    fewest = ENOUGH if vectorize == "auto" else 2
    if not vectorize or len(runs) < fewest or (vectorize == "auto" and not _alike(net, runs)):
        return Plan(alone, False)
    try:
        cost = member_cost(net, rows, runs[0])
    except NotVectorizableError as error:
        return Plan(alone, False, str(error))
    except Exception:  # the loop meets it too, and says what is wrong
        return Plan(alone, False)
    if vectorize == "auto" and not pays(cost):
        return Plan(alone, False)
    room = free_bytes(net.device or "cpu") if max_bytes is None else int(max_bytes)
    sizes = chunk_sizes(cost, len(runs), room, n_jobs, fewest)
    if not sizes:
        limit = "max_bytes is" if max_bytes is not None else "half of the memory that is free is"
        return Plan(alone, False, f"two members need {2 * cost.bytes:,} bytes, and {limit} {room:,}")
    at_a_time = room // (cost.bytes * max(sizes))
    return Plan(sizes, True, None, at_a_time if at_a_time < n_jobs else None)


def _alike(net: Any, runs: Sequence[Run]) -> bool:
    """Return whether runs take equally many steps on equally many rows; settings of the optimiser may differ."""
    drawn = {name for run in runs for name in run.meta.get("params", ())}
    own = {n for r in runs for n in {*r.params, *runs[0].params} if r.params.get(n) is not runs[0].params.get(n)}
    if {name.partition("__")[0] for name in drawn | own - {"module"}} - {"lr", "optimizer"}:  # modules of other columns
        return False
    bags = [len(run.index) for run in runs if run.index is not None]
    return len(set(bags)) <= 1 and not (bags and type(net.train_split) is ValidSplit)  # unequal shares, by copies


def pays(cost: Cost) -> bool:
    """Return whether training ``ENOUGH`` members as one is faster than one member after another.

    On a GPU it is. On a CPU it saves the overhead of each step and nothing of its arithmetic, so that what counts is
    how much arithmetic there is: near half a million parameters, or where a batch keeps 2 MB, both ways take the same
    time within a tenth, for perceptrons, convolutions and attention alike. So it is with vectors of 128, 256 and 512
    bits on an EPYC, and on a Xeon as far as was measured there (274 thousand parameters, convolutions that keep 1.6
    MB, attention that keeps 8 MB). As this rule is within a tenth of the better way, the machine is not timed: a choice
    that depends on its load would flip from one run to the next, and the last bits of members with it. Nor does the
    choice depend on the number of cores or processes.
    """
    return cost.on_gpu or (cost.n_parameters < MANY_PARAMETERS and cost.activation_bytes < LARGE_ACTIVATIONS)


def chunk_sizes(cost: Cost, n_members: int, max_bytes: int, n_jobs: int = 1, fewest: int = 2) -> list[int]:
    """Return how many members each task takes: sizes that differ by one at most; none where not even two members fit.

    There are as many tasks as processes, so that each has work, but no more than have ``fewest`` members each; and more
    where the tasks that run at a time would not fit into ``max_bytes``. A single member that is left over is trained
    alone. A member's result does not depend on the size of its task, except for the rounding of functions such as the
    sigmoid where the numbers of a member are no multiple of a CPU's vectors.
    """
    room = max_bytes // max(1, cost.bytes)
    if room < 2:
        return []
    n_jobs = max(1, min(n_jobs, n_members // fewest, room // 2))
    n_chunks = max(n_jobs, math.ceil(n_members / (room // n_jobs)))
    return [n_members // n_chunks + (i < n_members % n_chunks) for i in range(n_chunks)]


def member_cost(net: Any, rows: Rows, run: Run) -> Cost:
    """Return what a member costs in training, by computing one batch; raise where it cannot be vectorized."""
    with seed_scope(run.seed, net.device):
        member = TrainingMember(net, rows, run, Watch(run.schedule), {})
        member.load()
        return _cost(member)


def _cost(member: TrainingMember) -> Cost:
    data = SharedRows([member.loader], member.device)
    module = member.net.module_.train()
    start, stop = member.loader.cuts[0]
    tensors = [*module.parameters(), *module.buffers()]
    places = {t.data_ptr() for t in tensors}
    # What autograd keeps for the backward pass, but for the parameters, is what activations cost.
    saved: dict[int, int] = {}

    def count(t: Tensor) -> Tensor:
        if t.data_ptr() not in places:
            saved[t.data_ptr()] = t.untyped_storage().nbytes()
        return t

    with few_threads(module), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        index = torch.arange(start, stop, device=member.device)[None]
        x, y, weight = (member_of(part, 0) for part in data.batch(index))
        member.weigh(weight)
        member.net.get_loss(member.net.infer(x), y, X=x, training=True)
    trained = [p for p in module.parameters() if p.requires_grad]
    n_bytes = sum(p.numel() * p.element_size() for p in trained)
    n_bytes *= 3 + member_optimizer([member.net.optimizer_]).n_buffers
    n_bytes += sum(t.numel() * t.element_size() for t in tensors if not t.requires_grad)
    drawn = len(member.X.indices) if isinstance(member.X, Subset) else 0
    n_bytes += sum(saved.values()) + 8 * (member.loader.n + drawn)  # an epoch's order, and which rows were drawn
    return Cost(sum(p.numel() for p in trained), n_bytes, sum(saved.values()), member.device.type == "cuda")


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Return half of the bytes that the device, the system or the container has available; 1 GiB where none says so."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        available = _UNKNOWN
    return int(min(available, *(_left(*files) for files in _LIMITS))) // 2


def _left(folder: str, limit: str, used: str) -> float:
    """Return the bytes that a container has left; infinity where nothing limits it."""
    try:
        in_use = int(Path(folder, used).read_text())
        for line in Path(folder, "memory.stat").read_text().splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):  # pages of files, given up when asked for
                in_use -= int(line.split()[1])
                break
        return max(0, int(Path(folder, limit).read_text()) - in_use)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf
