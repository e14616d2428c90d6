"""Whether to vectorize, and how many members at a time."""

import pytest
import torch

from skfusion._vectorized import keep_freed_memory
from skfusion.nets.vectorized._plan import (
    ENOUGH,
    LARGE_ACTIVATIONS,
    MANY_PARAMETERS,
    Cost,
    chunk_sizes,
    free_bytes,
    pays,
)


def cost(n_parameters=1000, bytes=10, activation_bytes=5, on_gpu=False):
    return Cost(n_parameters, bytes, activation_bytes, on_gpu)


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 8])
@pytest.mark.parametrize("n_members", [1, 2, 7, 13])
def test_chunks_are_even_and_fit(n_members, n_jobs):
    for room in range(2, 16):
        sizes = chunk_sizes(cost(), n_members, 10 * room + 9, n_jobs)
        assert sum(sizes) == n_members
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        at_a_time = max(1, min(n_jobs, n_members // 2, room // 2))
        assert sum(sorted(sizes)[-at_a_time:]) <= room


@pytest.mark.parametrize(
    ("n_members", "max_bytes", "n_jobs", "sizes"),
    [
        (13, 1000, 1, [13]),
        (13, 1000, 2, [7, 6]),
        (13, 50, 1, [5, 4, 4]),
        (13, 40, 2, [2, 2, 2, 2, 2, 2, 1]),
        (2, 1000, 8, [2]),
        (4, 25, 4, [2, 2]),
        (3, 20, 1, [2, 1]),
    ],
)
def test_there_are_no_more_chunks_than_asked(n_members, max_bytes, n_jobs, sizes):
    assert chunk_sizes(cost(), n_members, max_bytes, n_jobs) == sizes


def test_nothing_is_planned_where_no_two_members_fit():
    assert chunk_sizes(cost(), 5, 19) == []
    assert chunk_sizes(cost(), 5, 20) == [2, 2, 1]


@pytest.mark.parametrize(("n_members", "sizes"), [(4, [4]), (7, [7]), (8, [4, 4]), (13, [7, 6])])
def test_processes_have_enough_members_each(n_members, sizes):
    assert chunk_sizes(cost(), n_members, 1000, 2, ENOUGH) == sizes


def test_a_member_may_cost_nothing():
    assert chunk_sizes(cost(bytes=0), 5, 100) == [5]


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_vectorizing_pays_on_a_gpu_and_for_small_nets(on_gpu, large, wide):
    numbers, kept = MANY_PARAMETERS - (not large), LARGE_ACTIVATIONS - (not wide)
    asked = cost(numbers, activation_bytes=kept, on_gpu=on_gpu)
    assert pays(asked) == (on_gpu or not (large or wide))


def test_some_memory_is_free():
    found = free_bytes()
    assert isinstance(found, int)
    assert 2**20 < found < 2**50
    assert free_bytes(torch.device("cpu")) > 2**20


@pytest.mark.parametrize("text", [None, "", "MemFree: 5 kB", "MemAvailable:   much kB"])
def test_a_system_that_does_not_tell_has_a_gibibyte(text, monkeypatch):
    def read(self):
        if text is None:
            raise OSError
        return text

    monkeypatch.setattr("skfusion.nets.vectorized._plan.Path.read_text", read)
    assert free_bytes() == 2**30


def test_half_of_what_is_available_is_free(monkeypatch):
    system(monkeypatch, {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 6 kB"})
    assert free_bytes() == 3 * 1024


def system(monkeypatch, files):
    """Let the system say what it has in some files, and have no others."""

    def read(self):
        if str(self) not in files:
            raise FileNotFoundError
        return files[str(self)]

    monkeypatch.setattr("skfusion.nets.vectorized._plan.Path.read_text", read)


UNIFIED = {"memory.max": "5000\n", "memory.current": "3000\n", "memory.stat": "anon 7\ninactive_file 1000\n"}
LEGACY = {
    "memory/memory.limit_in_bytes": "5000\n",
    "memory/memory.usage_in_bytes": "3000\n",
    "memory/memory.stat": "inactive 5\ntotal_inactive_file 1000\n",
}


@pytest.mark.parametrize("files", [UNIFIED, LEGACY])
def test_a_container_has_less_than_the_system(files, monkeypatch):
    group = {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}
    system(monkeypatch, {"/proc/meminfo": "MemAvailable: 6 kB", **group})
    assert free_bytes() == 1500  # pages of files are given up when memory is asked for
    system(monkeypatch, {"/proc/meminfo": "MemAvailable: 2 kB", **group})
    assert free_bytes() == 1024
    full = {name: text.replace("5000", "100") for name, text in group.items()}
    system(monkeypatch, {"/proc/meminfo": "MemAvailable: 6 kB", **full})
    assert free_bytes() == 0


def test_a_container_without_a_limit_has_what_the_system_has(monkeypatch):
    group = {f"/sys/fs/cgroup/{name}": text for name, text in {**UNIFIED, "memory.max": "max\n"}.items()}
    system(monkeypatch, {"/proc/meminfo": "MemAvailable: 6 kB", **group})
    assert free_bytes() == 3 * 1024


def test_keeping_freed_memory_gives_nothing(untouched_rng):
    assert keep_freed_memory() is None
