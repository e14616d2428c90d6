"""Fit a learner of another library on one split, in the environment of that library.

    PYTHON benchmarks/_table_peers.py METHOD SPLIT.npz RESULT.npz --seed 0 --limit 60

``SPLIT.npz`` holds arrays only, so that environments need not agree on versions: numbers with NaN where they miss,
codes of categories with -1 where they miss, targets, and which rows train and which test. ``RESULT.npz`` has the
outputs on the test rows, and the times.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd


def frame_of(split):
    """Return the inputs as a frame, whose categories are strings."""
    numbers = {f"n{i}": column for i, column in enumerate(split["numbers"].T)}
    named = {
        f"c{i}": pd.Categorical(np.where(column < 0, None, np.char.add("v", column.astype(str)).astype(object)))
        for i, column in enumerate(split["codes"].T)
    }
    return pd.DataFrame({**numbers, **named})


def without_gaps(train, test):
    """Return numbers with the medians of the training rows where they miss, and columns that say so."""
    train, test = train.copy(), test.copy()
    for column in [c for c in train if c.startswith("n")]:
        median = train[column].median()
        if train[column].isna().any():
            for part in (train, test):
                part[f"{column}_missing"] = part[column].isna().astype(float)
        for part in (train, test):
            part[column] = part[column].fillna(median)
    return train, test


def pytabkit(kind):
    """Return the fit of one of pytabkit's networks, with its tuned defaults."""

    def fit(train, y, test, classification, args):
        import pytabkit

        cls = getattr(pytabkit, f"{kind}_{'Classifier' if classification else 'Regressor'}")
        train, test = without_gaps(train, test)
        model = cls(device="cpu", random_state=args.seed, n_threads=1, verbosity=0)
        model.fit(train, y)
        return (model.predict_proba if classification else model.predict), test

    return fit


def autogluon(train, y, test, classification, args):
    """Fit AutoGluon's ``medium_quality``, within a limit of time and on one core."""
    from autogluon.tabular import TabularPredictor

    n_classes = len(np.unique(y))
    kind = "regression" if not classification else "binary" if n_classes == 2 else "multiclass"
    model = TabularPredictor("target", problem_type=kind, path=args.folder, verbosity=0)
    limits = {"time_limit": args.limit, "num_cpus": 1, "num_gpus": 0}
    model.fit(train.assign(target=y), presets="medium_quality", **limits)
    print(model.leaderboard()[["model", "score_val", "fit_time"]].to_string())
    if not classification:
        return model.predict, test
    return (lambda X: model.predict_proba(X)[list(range(n_classes))]), test


FITS = {
    "RealMLP-TD (pytabkit)": (pytabkit("RealMLP_TD"), ("pytabkit", "torch")),
    "TabM (pytabkit)": (pytabkit("TabM_D"), ("pytabkit", "torch")),
    "AutoGluon medium": (autogluon, ("autogluon.tabular", "lightgbm", "catboost", "xgboost", "torch", "fastai")),
}


def versions(names):
    """Return the versions of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except ImportError:
            found[name] = None
    return ", ".join(f"{name} {v}" if v else f"no {name}" for name, v in found.items())


def processor_seconds():
    """Return the time of the processor that this process and those that it started have taken."""
    return sum(
        getattr(resource.getrusage(who), kind)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        for kind in ("ru_utime", "ru_stime")
    )


def main():
    """Fit, predict, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("method", choices=FITS)
    parser.add_argument("split", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60)
    args = parser.parse_args()
    args.split, args.result, args.folder = args.split.resolve(), args.result.resolve(), tempfile.mkdtemp()
    os.chdir(args.folder)
    split = np.load(args.split)
    X = frame_of(split)
    train, test = X.iloc[split["train"]].reset_index(drop=True), X.iloc[split["test"]].reset_index(drop=True)
    fit, packages = FITS[args.method]
    for package in packages:  # what is imported once a process is no part of a fit
        if find_spec(package):
            import_module(package)
    start, used = time.perf_counter(), processor_seconds()
    predict, test = fit(train, split["y"][split["train"]], test, bool(split["classification"]), args)
    seconds, used = time.perf_counter() - start, processor_seconds() - used
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = np.asarray(predict(test), np.float64)
        times.append(time.perf_counter() - start)
    shutil.rmtree(args.folder)
    kept = {"seconds": seconds, "processor": used, "predicting": np.median(times), "versions": versions(packages)}
    np.savez(args.result, outputs=found, **kept)


if __name__ == "__main__":
    main()
