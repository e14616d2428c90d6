"""What a cascade costs at prediction, and what it loses, beside the full ensemble.

Eight perceptrons (or, with ``--forests``, eight forests of scikit-learn) on digits. The cascades are made from the same
members and the same held-out rows; all are timed in one process, in turns, and the median is taken. The time includes
all that ``predict_proba`` does.

    python benchmarks/bench_cascade.py [--repeats 15] [--hidden 512] [--forests]
"""

import argparse
import platform
import time
from statistics import median

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import skfusion
from skfusion import EnsembleClassifier, StackingFusion
from skfusion.collect import Seeds
from skfusion.combine import Calibrated, Cascade
from skfusion.nets import mlp_classifier

BUDGETS = (0.125, 0.2, 0.4, 0.7, 1.0)
"""Shares of the cost of all members; the first is that of one."""

N_MEMBERS = 8


def networks(X, y, hidden):
    """Return the full ensemble and the cascades, of networks of one training."""
    net = mlp_classifier(module__hidden=(hidden, hidden), max_epochs=15, lr=0.002, batch_size=64)
    full = EnsembleClassifier(net, collect=Seeds(N_MEMBERS), combine=Calibrated(), random_state=0).fit(X, y)
    same = {"X": X, "y": y, "held_out": full.held_out_}
    cascades = {b: EnsembleClassifier(net, combine=Cascade(budget=b)).fuse(full.pool_, **same) for b in BUDGETS}
    return {"full": full, **cascades}


def forests(X, y, _):
    """Return the same of forests, which are fitted again for each, with the same seeds."""
    kinds = (RandomForestClassifier, ExtraTreesClassifier)
    members = [(f"forest-{i}", kinds[i % 2](50, random_state=i)) for i in range(N_MEMBERS)]
    combiners = {"full": Calibrated(), **{b: Cascade(budget=b) for b in BUDGETS}}
    return {name: StackingFusion(estimators=members, combine=c, cv=5).fit(X, y) for name, c in combiners.items()}


def asked(fitted, X):
    """Return the mean number of members that a row asks."""
    if not isinstance(fitted.combine_, Cascade):
        return float(N_MEMBERS)
    if hasattr(fitted, "predict_members"):
        P = fitted.predict_members(X)
    else:
        P = np.stack([m.predict_proba(X) for m in fitted.estimators_])
    return float(fitted.combine_.asked(P).mean())


def seconds(ensembles, X, repeats):
    """Return the median seconds of each prediction; they take turns."""
    times = {name: [] for name in ensembles}
    for turn in range(repeats + 1):
        for name, fitted in ensembles.items():
            start = time.perf_counter()
            fitted.predict_proba(X)
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--forests", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split((X / 16).astype(np.float32), y, test_size=1 / 3, random_state=0)
    ensembles = (forests if args.forests else networks)(X, y, args.hidden)
    many = np.tile(X_test, (10, 1))
    found = seconds(ensembles, many, args.repeats)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; 1 thread; {len(many)} rows; median wall clock of {args.repeats} turns.\n"
    )
    print("| budget | members asked | ms per 1,000 rows | of the full ensemble's time | accuracy | log-loss |")
    print("|---|---|---|---|---|---|")
    for name, fitted in ensembles.items():
        proba = fitted.predict_proba(X_test)
        accuracy = (proba.argmax(axis=1) == y_test).mean()
        each = 1e6 * found[name] / len(many)
        print(
            f"| {name} | {asked(fitted, X_test):.2f} | {each:.1f} | {found[name] / found['full']:.2f} | {accuracy:.4f} "
            f"| {log_loss(y_test, proba):.4f} |"
        )


if __name__ == "__main__":
    main()
