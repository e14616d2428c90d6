"""Memory: what is free, and how to keep what a step has freed."""

from __future__ import annotations

import math
from pathlib import Path

import torch

_UNKNOWN = 2 * 2**30
_LIMITS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where containers say how much memory they may use, and how much they do."""


def keep_freed_memory() -> None:
    """Let the allocator keep memory that a step frees, for the next step.

    The activations of many members are large blocks. By default glibc gives such blocks back to the system when they
    are freed, and a step then spends a third of its time on page faults. Its thresholds follow the largest block that
    was ever freed (up to 32 MiB; see ``mallopt(3)``), so freeing one that was never touched moves them. Nothing
    happens with other allocators.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Return the bytes that are free on a device: half of what the system or the container has available.

    Parameters
    ----------
    device : torch.device or str, default="cpu"
        Where.

    Returns
    -------
    int
        Bytes; 1 GiB where the system does not tell.
    """
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
        held = int(Path(folder, used).read_text())
        for line in Path(folder, "memory.stat").read_text().splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):  # pages of files, given up when asked for
                held -= int(line.split()[1])
                break
        return max(0, int(Path(folder, limit).read_text()) - held)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf
