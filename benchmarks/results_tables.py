"""Write docs/results/tables.md: the default networks and fusions of this library on real tables, beside other learners.

    python benchmarks/_tables.py fetch FOLDER
    python benchmarks/results_tables.py run --data FOLDER [--pytabkit PYTHON] [--autogluon PYTHON] [--seconds 3600]
    python benchmarks/results_tables.py page

``run`` appends a line a fit to docs/results/tables.jsonl, and goes on where it stopped: split by split over all tables,
so that what is there at any time compares methods fairly. Other libraries run in environments of their own, whose
Pythons are named (``pip install pytabkit``; ``pip install "autogluon.tabular[fastai]" lightgbm catboost xgboost``);
without these they are left out.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads; processes inherit it

import argparse
import json
import platform
import subprocess
import tempfile
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import sklearn
import torch
from _table_methods import Problem, methods, outputs
from _table_page import write
from _table_peers import processor_seconds
from _tables import CLASSES, DEVELOPMENT, REPORTED, load
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

import skfusion

OUT = Path(__file__).parents[1] / "docs" / "results"
SMALL = 3000
"""Rows below which a table has repeated splits and not folds."""

MOST = 10_000
"""Rows of a table that are used: of a larger one, so many drawn at random."""


def sampled(name, folder):
    """Return a table of at most ``MOST`` rows."""
    X, y, task = load(name, folder)
    if len(X) <= MOST:
        return X, y, task
    rows = np.random.RandomState(0).permutation(len(X))[:MOST]
    return X.iloc[rows].reset_index(drop=True), y[rows], task


cached = lru_cache(maxsize=2)(sampled)


def splits(X, y, classification):
    """Return the training and the test rows of each split: 5 folds, or 10 repeated splits of a small table."""
    if len(X) < SMALL:
        kind = StratifiedShuffleSplit if classification else ShuffleSplit
        return [*kind(10, test_size=0.2, random_state=0).split(X, y)]
    kind = StratifiedKFold if classification else KFold
    return [*kind(5, shuffle=True, random_state=0).split(X, y)]


# ------------------------------------------------------------------------------------------------------------ one fit


def measured(table, split, name, args):
    """Return the numbers of one fit; one that fails gives its error."""
    X, y, task = cached(table, args.data)
    train, test = splits(X, y, task == CLASSES)[split]
    problem = Problem(X.iloc[train], task == CLASSES, seed=split, limit=args.limit)
    found = {"table": table, "split": split, "method": name, "task": task}
    found |= {"n_train": len(train), "n_test": len(test)}
    try:
        method = methods()[name]
        if method.peer:
            predicted, numbers = by_peer(getattr(args, method.peer), name, X, y, train, test, problem)
        else:
            predicted, numbers = by_us(method.make(problem), X, y, train, test, problem)
        return found | numbers | scores(y[train], y[test], predicted, problem.classification)
    except Exception as error:
        return found | {"error": f"{type(error).__name__}: {error}"[:2000]}


def by_us(model, X, y, train, test, problem):
    """Return the outputs on the test rows, and the times of a fit in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, used = time.perf_counter(), processor_seconds()
        model.fit(problem.X, y[train])
        seconds, used = time.perf_counter() - start, processor_seconds() - used
        times = []
        for _ in range(3):
            start = time.perf_counter()
            predicted = outputs(model, problem, X.iloc[test])
            times.append(time.perf_counter() - start)
    return predicted, times_of(seconds, used, median(times), test)


def by_peer(python, name, X, y, train, test, problem):
    """Return the same of a fit in the environment of another library."""
    categories = problem.categories
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{kind}.npz") for kind in ("split", "result")]
        np.savez(
            paths[0],
            numbers=X.drop(columns=categories).to_numpy(np.float64),
            codes=np.array([X[c].cat.codes for c in categories], np.int64).reshape(len(categories), len(X)).T,
            **{"y": y, "train": train, "test": test, "classification": problem.classification},
        )
        options = ["--seed", str(problem.seed), "--limit", str(problem.limit)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TMPDIR": folder}
        script = Path(__file__).with_name("_table_peers.py")
        ended = subprocess.run(
            [python, script, name, *paths, *options], env=environment, capture_output=True, text=True
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr[-1500:])
        with np.load(paths[1]) as result:
            numbers = times_of(*(float(result[k]) for k in ("seconds", "processor", "predicting")), test)
            return result["outputs"], numbers | {"versions": str(result["versions"])}


def times_of(seconds, processor, predicting, test):
    """Return the times of a fit, by name."""
    return {"seconds": seconds, "processor": processor, "us_per_row": 1e6 * predicting / len(test)}


def scores(y_train, y, predicted, classification):
    """Return accuracy, log-loss and AUC, or R2 and the root of the mean squared error."""
    if not np.isfinite(predicted).all():
        raise ValueError("Outputs are not finite.")
    if not classification:
        return {"score": float(r2_score(y, predicted)), "loss": float(root_mean_squared_error(y, predicted))}
    n_classes = int(y_train.max()) + 1
    if predicted.shape != (len(y), n_classes):
        raise ValueError(f"Probabilities have the shape {predicted.shape} and not {(len(y), n_classes)}.")
    p = np.clip(predicted, np.finfo(np.float32).eps, 1)
    p /= p.sum(axis=1, keepdims=True)
    auc = {} if n_classes > 2 else {"auc": float(roc_auc_score(y, p[:, 1]))}
    loss = float(log_loss(y, p, labels=np.arange(n_classes)))
    return {"score": float(accuracy_score(y, predicted.argmax(axis=1))), "loss": loss, **auc}


# ------------------------------------------------------------------------------------------------------------ all fits


def warmed_up():
    """Train two small networks, so that no fit is charged for what a process does once."""
    torch.set_num_threads(1)
    rng = np.random.RandomState(0)
    X, y = pd.DataFrame(rng.randn(64, 2)), np.arange(64) % 2
    for name in ("gradient boosting", "linear", "perceptron", "tabular net"):
        problem = Problem(X, True, seed=0, limit=1)
        outputs(methods()[name].make(problem).fit(X, y), problem, X)


def read(path):
    """Return the lines that are kept; one that was cut off while it was written is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            print("A line that was cut off is left out:", line[:80], flush=True)
    return found


def tasks(args, done):
    """Yield what is to be fitted: split by split over all tables, and methods in their order."""
    n_splits = {table: len(splits(*_with_task(sampled(table, args.data)))) for table in args.tables}
    for split in range(min(args.splits, max(n_splits.values()))):
        for table in args.tables:
            for name in args.methods:
                if split < n_splits[table] and (table, split, name) not in done:
                    yield table, split, name


def _with_task(table):
    X, y, task = table
    return X, y, task == CLASSES


def run(args):
    """Fit what is not there yet, and append the numbers after every fit."""
    peers = {name: method.peer for name, method in methods().items() if method.peer}
    args.methods = [n for n in args.methods or methods() if n not in peers or getattr(args, peers[n])]
    done = {(r["table"], r["split"], r["method"]) for r in read(args.kept) if "table" in r}
    args.kept.parent.mkdir(parents=True, exist_ok=True)
    left, until = tasks(args, done), time.monotonic() + args.seconds
    with (
        args.kept.open("a") as kept,
        ProcessPoolExecutor(args.jobs, get_context("spawn"), initializer=warmed_up) as pool,
    ):
        kept.write(json.dumps({"machine": machine(), "limit": args.limit, "jobs": args.jobs}) + "\n")
        running = set()
        while True:
            while len(running) < args.jobs and time.monotonic() < until and (task := next(left, None)):
                running.add(pool.submit(measured, *task, args))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for result in (future.result() for future in finished):
                kept.write(json.dumps(result) + "\n")
                kept.flush()
                print(*(result.get(k) for k in ("table", "split", "method", "score", "loss", "seconds")), flush=True)
                if "error" in result:
                    print("   failed:", result["error"][-300:], flush=True)
    print("All is done." if next(left, None) is None else "The time is over: the same command goes on.")


def machine():
    """Return what this runs on, in a line."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )


def main():
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    running, writing = commands.add_parser("run"), commands.add_parser("page")
    for command in (running, writing):
        command.add_argument("--kept", type=Path, default=OUT / "tables.jsonl", help="the numbers, a line a fit")
        command.add_argument("--methods", nargs="+", choices=methods(), metavar="METHOD", help="; ".join(methods()))
    running.add_argument("--data", type=Path, required=True, help="the folder that _tables.py fetched into")
    running.add_argument("--tables", nargs="+", choices=(*REPORTED, *DEVELOPMENT), default=[*REPORTED])
    running.add_argument("--splits", type=int, default=10, help="of each table, at most")
    running.add_argument("--limit", type=float, default=60, help="seconds for the portfolio and for AutoGluon")
    running.add_argument("--seconds", type=float, default=float("inf"), help="no fit starts after so long")
    running.add_argument("--jobs", type=int, default=2, help="fits at a time, each on one thread")
    running.add_argument("--pytabkit", metavar="PYTHON", help="the Python of an environment with pytabkit")
    running.add_argument("--autogluon", metavar="PYTHON", help="the Python of an environment with AutoGluon")
    writing.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.what == "run":
        run(args)
    else:
        write(read(args.kept), args.out, args.methods)


if __name__ == "__main__":
    main()
