"""Seconds and bytes of a pool that is trained in one process, by loky, and on a Dask cluster, with and without Kept.

Perceptrons 200-64-10 on 25,000 rows (20 MB), trained one after another, so that each is a task; two workers. Bytes are
those of the pickled tasks and of their results, which is what goes to workers and back on other machines. On one
machine loky maps large arrays from a file instead, so that they travel once there too. Each way begins with workers
that have imported the library. With the folder, its own writes and reads are counted apart: the members, and the data
once. Dask takes part where it is installed (``pip install "skfusion[dask]"``).

    python benchmarks/bench_clusters.py [--members 16] [--epochs 3] [--repeats 3] [--rows 25000]
"""

import argparse
import platform
import shutil
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import cloudpickle
import numpy as np
import torch
from joblib import parallel_config

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Kept, Seeds, _by_path
from skfusion.nets import mlp_classifier

try:
    import distributed
except ImportError:
    distributed = None

N_IN, N_CLASSES = 200, 10


def problem(n_rows, epochs):
    """Return a net that is sized to its rows, and the rows, whose hashes are computed."""
    rng = np.random.RandomState(0)
    y = rng.randint(N_CLASSES, size=n_rows)
    X = rng.normal(size=(n_rows, N_IN)).astype(np.float32) + rng.normal(size=(N_CLASSES, N_IN)).astype(np.float32)[y]
    rows = Rows(X, y, task="classification")
    rows.marks  # noqa: B018
    net = mlp_classifier(max_epochs=epochs, module__hidden=(64,), batch_size=256)
    return nets.sized(net, rows, N_CLASSES), rows


@contextmanager
def counted():
    """Count the bytes of tasks, of their results, and of the data that are written beside them."""
    sizes = {"tasks": 0, "results": 0, "data": 0}
    in_order, written = nets.in_order, _by_path._written

    def counting(jobs, n_jobs):
        jobs = [*jobs]
        sizes["tasks"] += sum(len(cloudpickle.dumps(job)) for job in jobs)
        for result in in_order(jobs, n_jobs):
            sizes["results"] += len(cloudpickle.dumps(result))
            yield result

    def writing(value, folder, name):
        found = written(value, folder, name)
        if isinstance(found, _by_path._Array):
            sizes["data"] += value.nbytes
        return found

    nets.in_order, _by_path._written = counting, writing
    try:
        yield sizes
    finally:
        nets.in_order, _by_path._written = in_order, written


def bytes_in(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def run(collector, net, rows, n_jobs):
    start = time.perf_counter()
    pool = collector(net, rows, np.random.RandomState(0), n_jobs=n_jobs)
    return time.perf_counter() - start, pool


def measured(name, backend, args, net, rows, expected):
    """Print the lines of a backend, without and with a folder."""
    seeds = Seeds(args.members, vectorize=False)
    for kept in (False, True):
        seconds = []
        for repeat in range(args.repeats + 1):  # the first one starts the workers, and counts the bytes
            folder = Path(tempfile.mkdtemp())
            collector = Kept(seeds, folder / "pool") if kept else seeds
            with backend() as n_jobs, counted() if repeat == 0 else nullcontext() as sizes:
                taken, pool = run(collector, net, rows, n_jobs)
            if repeat == 0:
                found = {**sizes, "members": bytes_in(folder)}
            else:
                seconds.append(taken)
            for one, two in zip(pool.states, expected, strict=True):
                assert all(torch.allclose(t, two[key], rtol=0, atol=1e-5) for key, t in one.items())
            shutil.rmtree(folder)
        numbers = [found[key] / 1e6 for key in ("tasks", "results", "data", "members")]
        print(f"| {name}{', Kept' * kept} | {median(seconds):.1f} | " + " | ".join(f"{n:.2f}" for n in numbers) + " |")


@contextmanager
def one_process():
    yield 1


@contextmanager
def loky():
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield 2


@contextmanager
def dask():
    with parallel_config(backend="dask"):
        yield 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=25_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    net, rows = problem(args.rows, args.epochs)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, {args.members} members, {args.repeats} repeats"
    )
    print(f"{rows.X.nbytes / 1e6:.1f} MB of inputs\n")
    columns = ["", "seconds", "MB of tasks", "MB of results", "MB of data written once", "MB in the folder"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    expected = run(Seeds(args.members, vectorize=False), net, rows, 1)[1].states
    measured("one process", one_process, args, net, rows, expected)
    measured("loky", loky, args, net, rows, expected)
    if distributed is None:
        print("\nDask is not installed: pip install 'skfusion[dask]'")
        return
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        measured("Dask", dask, args, net, rows, expected)


if __name__ == "__main__":
    main()
