"""What it costs to train a pool of the default nets for tables as one program, beside one training after another.

Nets of one shape, with the defaults of ``tabular_classifier``, on one thread. Both ways go through the collector, so
that set-up, checks and copies count. The pool is timed whole; separate trainings are timed on a few members, and the
time is multiplied. Ways take turns, and the least processor time of the repeats is compared, on which other programs
weigh least.

No way of training can do without the products of the layers, forward and backward. What they take is the floor of the
ratio: the same products of all members, from numbers that are in the processor's cache, over the time of separate
trainings.

    python benchmarks/bench_tabular.py [--members 32] [--repeats 3] [--epochs 40] [--profile] [--quick]

``--profile`` prints what the processor does in a vectorized training, and in a separate one. Functions of torch that
have no kernel for many members run in ``vmap``, which costs a part of a millisecond a call: there should be none.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import time
from collections import Counter

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import skfusion
from skfusion._rows import Rows
from skfusion._vectorized import _members
from skfusion.collect import Seeds
from skfusion.nets import tabular_classifier
from skfusion.nets._table_statistics import table_statistics
from skfusion.nets._tabular import batch_size_for

ASKED = 1 / 6
"""Share of the time of separate trainings that vectorized training may take."""
SHAPES = [(1000, 10), (1000, 30), (5000, 10), (5000, 30)]
"""Rows and columns of the tables."""


def table(n_rows, n_columns):
    """Return numbers, and two classes that an interaction decides."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + 0.5 * rng.normal(size=n_rows) > 0).astype(int)


def trained(n_members, vectorize, X, y, epochs):
    """Train a pool, and return the processor's seconds."""
    start = time.process_time()
    Seeds(n_members, vectorize=vectorize).collect(tabular_classifier(max_epochs=epochs), X, y, random_state=0)
    return time.process_time() - start


def products(n_rows, n_columns, n_members, n_steps, repeats=20):
    """Return the processor's seconds for the matrix products of all layers of all members, and nothing else.

    Two members are computed at a time, whose tensors stay in the cache, which is faster than all at a time.
    """
    X, y = table(n_rows, n_columns)
    n_bins = table_statistics(Rows(X, y), "classification").edges.size
    n, seconds = batch_size_for(n_rows), 0.0
    for n_in, n_out, is_first in [(n_columns, 128, 1), (n_bins, 128, 1), (128, 128, 0), (128, 2, 0)]:
        x, weight, grad = torch.randn(2, n, n_in), torch.randn(2, n_out, n_in), torch.randn(2, n, n_out)
        pairs = [(x, weight.mT), (grad.mT, x)] + [(grad, weight)] * (not is_first)
        for a, b in pairs:
            out, times = torch.bmm(a, b), []
            for _ in range(repeats):
                start = time.process_time()
                for _ in range(n_members // 2):
                    torch.bmm(a, b, out=out)
                times.append(time.process_time() - start)
            seconds += min(times)
    return seconds * n_steps


def in_vmap(train, n_steps):
    """Return how often a step runs functions in ``vmap``, by name, in a training of so many steps."""
    counts, mapped = Counter(), _members.mapped

    def counted(func, *args):
        counts[getattr(func, "__qualname__", str(func))] += 1
        return mapped(func, *args)

    _members.mapped = counted
    try:
        train()
    finally:
        _members.mapped = mapped
    return {name: n // n_steps for name, n in counts.items() if n >= n_steps}


def profiled(train):
    """Return a table of what takes the processor's time."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        train()
    return recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)


def main():
    """Print a row for each shape."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--few", type=int, default=2, help="members that are trained separately, and multiplied")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40, help="of both ways; 40 is the default of the net")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--quick", action="store_true", help="whether it runs: one shape, four epochs, once")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.epochs = 1, 4
    torch.set_num_threads(1)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}, one thread\n"
    )
    floor = "floor: the matrix products alone"
    print(f"| rows x columns | one program, s | separately, s | ratio | {floor} | asked | calls of vmap a step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    trained(2, True, *table(200, 10), 1)
    trained(1, False, *table(200, 10), 1)
    for n_rows, n_columns in SHAPES[: 1 if args.quick else None]:
        data = table(n_rows, n_columns)
        n_steps = -(-n_rows // batch_size_for(n_rows))
        calls = in_vmap(lambda data=data: trained(2, True, *data, 1), n_steps)
        times = [
            (trained(args.members, True, *data, args.epochs), trained(args.few, False, *data, args.epochs))
            for _ in range(args.repeats)
        ]
        one, separate = min(t for t, _ in times), min(t for _, t in times) * args.members / args.few
        floor = products(n_rows, n_columns, args.members, n_steps * args.epochs) / separate
        vmaps = ", ".join(f"{k} {n}" for k, n in calls.items()) or "none"
        cells = f"{one:.1f} | {separate:.1f} | {one / separate:.2f} | {floor:.2f} | {ASKED:.2f} | {vmaps}"
        print(f"| {n_rows} x {n_columns} | {cells} |", flush=True)
    if args.profile:
        data = table(*SHAPES[0])
        print("\nAs one program:\n", profiled(lambda: trained(args.members, True, *data, 2)), sep="")
        print("\nSeparately:\n", profiled(lambda: trained(args.few, False, *data, 2)), sep="")


if __name__ == "__main__":
    main()
