"""How what the library does grows: slopes of processor time in log-log, in members, parameters, rows and fusions.

Each operation is timed at four sizes, each of which doubles the one before, and a line is fitted to the logarithms of
time and size: 1 is proportional growth, 2 quadratic. "Local" is the slope between the two largest sizes, where what a
call costs at any size weighs least. Times are processor time of one thread, the least of several rounds in which the
sizes take turns; of quick operations many calls are timed at once. Folders lie in memory where there is ``/dev/shm``,
so that a disk, on which others write too, is not measured.

    python benchmarks/bench_growth.py [--only store] [--seconds 1.5] [--quick]
"""

import argparse
import gc
import platform
import re
import time
import warnings

import _growth_operations
import numpy as np
import torch

import skfusion

ASKED = 1.1
SHORTEST = 5e-3
"""Seconds that are timed at once, about; shorter calls are repeated."""
MOST = 20
"""Rounds in which the sizes take turns."""


def slopes(sizes, times):
    """Return the slope of a line through the logarithms, and that between the two largest sizes."""
    x, y = np.log(sizes), np.log(times)
    return float(np.polyfit(x, y, 1)[0]), float((y[-1] - y[-2]) / (x[-1] - x[-2]))


def seconds(act, n):
    """Return the processor time of a call, the mean of some."""
    gc.collect()
    start = time.process_time()
    for _ in range(n):
        act()
    return (time.process_time() - start) / n


def measured(operation, sizes, budget):
    """Return the sizes as the operation counts them, and the least time of each."""
    made = [operation.make(size) for size in sizes]
    acts = [act for act, _ in made]
    start = time.perf_counter()
    first = [seconds(act, 1) for act in acts]  # with what is imported, read or compiled once
    loops = [max(1, int(SHORTEST / max(1e-7, once))) for once in first]
    times = [once if n == 1 else np.inf for once, n in zip(first, loops, strict=True)]
    rounds = 0
    while not rounds or (time.perf_counter() - start < budget and rounds < MOST):
        times = [min(known, seconds(act, n)) for known, act, n in zip(times, acts, loops, strict=True)]
        rounds += 1
    return [size for _, size in made], times


def shown(seconds):
    """Return a time as text."""
    return f"{seconds:8.3f} s " if seconds >= 1 else f"{1e3 * seconds:8.3f} ms"


def processor():
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"model name\s*: (.*)", file.read())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def main():
    """Print a line for each operation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="only operations whose room, name or axis has this text")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each is repeated, twice at least")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, Python {platform.python_version()}, one thread")
    print(f"{processor()}; slopes asked: {ASKED}")
    print(
        f"{'operation':<46} {'in':<12} {'sizes':>17} {'at the least':>12} {'at the most':>11} {'slope':>6} {'local':>6}"
    )
    steep = []
    for operation in _growth_operations.OPERATIONS:
        if args.only not in f"{operation.room}: {operation.name} in {operation.axis}":
            continue
        sizes = operation.quick if args.quick else operation.sizes
        counted, times = measured(operation, sizes, 0 if args.quick else args.seconds)
        slope, local = slopes(counted, times)
        note = "" if slope <= operation.asked else "  above what is asked"
        if operation.note:
            note += f"  ({operation.note})"
        if slope > operation.asked:
            steep.append(f"{operation.name} in {operation.axis}")
        between = f"{counted[0]:,}-{counted[-1]:,}"
        print(
            f"{operation.room + ': ' + operation.name:<46} {operation.axis:<12} "
            f"{between:>17} {shown(times[0])} {shown(times[-1])} {slope:6.2f} {local:6.2f}{note}",
            flush=True,
        )
    print(f"{len(steep)} above what is asked{': ' if steep else '.'}{'; '.join(steep)}")


if __name__ == "__main__":
    main()
