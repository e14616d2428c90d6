"""What a member costs in a pool of 10 and of 10,000: adding it, opening the pool, and using a member of it.

    python benchmarks/bench_store.py [--sizes 10 100 1000 10000] [--n 40]

Members are networks of 64 numbers with a history of 20 epochs, so that the cost is that of the store. "added" is the
median time of a put by a store that is open, most of which is syncing files on this disk, and "CPU" is the mean of its
processor time, in which writing the index anew from time to time is counted; "first" is the put
of a store that has just been made, as by a new process, which reads the index once.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import skfusion
from skfusion.pool import DirectoryStore, Member, ModelPool

OPEN = """
import os, sys, time
from skfusion.pool import ModelPool
memory = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
before, start = memory(), time.perf_counter()
pool = ModelPool.load(sys.argv[1])
seconds = time.perf_counter() - start
data = sum(name.endswith((".safetensors", ".skops")) for name in opened)
start = time.perf_counter()
pool[len(pool) // 2].state
print(seconds, memory() - before, data, time.perf_counter() - start)
"""


def member(k):
    """Return a small network with what a training leaves."""
    history = [{"epoch": e, "train_loss": 1.0 / (e + 1), "valid_loss": 1.1 / (e + 1)} for e in range(20)]
    return Member(f"trial-{k}", {"w": torch.full((64,), float(k))}, k / 1e5, {"history": history, "seed": k})


def seconds(act, n):
    """Return the seconds of each of several calls."""
    times = []
    for k in range(n):
        start = time.perf_counter()
        act(k)
        times.append(time.perf_counter() - start)
    return times


def sync_cost(folder, n):
    """Return what writing and syncing a file and its directory takes."""

    def once(k):
        path = Path(folder) / f"sync-{k}"
        with path.open("wb") as file:
            file.write(b"x" * 500)
            file.flush()
            os.fsync(file.fileno())
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    return np.median(seconds(once, n))


def measure(size, n):
    """Return the figures of a pool of some size."""
    with tempfile.TemporaryDirectory() as folder:
        ModelPool([member(k) for k in range(size)]).save(folder)
        run = [sys.executable, "-c", OPEN, folder]
        opening = [float(v) for v in subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()]
        store = DirectoryStore(folder)
        first = seconds(lambda k: store.put(member(size + k)), 1)[0]
        start = time.process_time()
        added = seconds(lambda k: store.put(member(size + 1 + k)), n)
        processor = (time.process_time() - start) / n
        reading = np.median(seconds(lambda k: store.get(f"trial-{k % size}").state, n))
        names = np.median(seconds(lambda k: store.names(), 5))
        assert len(store.names()) == size + 1 + n
    return np.median(added), processor, first, reading, names, *opening


def main():
    """Print a table, a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--n", type=int, default=40, help="members that are added to each pool")
    args = parser.parse_args()
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        print(f"syncing a file and its directory: {1e3 * sync_cost(folder, args.n):.2f} ms")
    print(
        f"{'members':>8} {'added, ms':>10} {'CPU, ms':>9} {'first, ms':>10} {'get, ms':>8} {'names, ms':>10} "
        f"{'open, s':>8} {'MB':>6} {'weights read':>13} {'first state, ms':>16}"
    )
    for size in args.sizes:
        added, processor, first, reading, names, opening, memory, data, state = measure(size, args.n)
        print(
            f"{size:8d} {1e3 * added:10.2f} {1e3 * processor:9.2f} {1e3 * first:10.1f} {1e3 * reading:8.2f} "
            f"{1e3 * names:10.2f} {opening:8.3f} {memory:6.1f} {data:13.0f} {1e3 * state:16.2f}"
        )


if __name__ == "__main__":
    main()
