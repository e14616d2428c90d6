# ruff: noqa: E501
"""Write docs/results/trials.md: what the trials of a search are worth as a soup, an ensemble and a stack.

python benchmarks/results_trials.py run      # a quarter of an hour; goes on where it stopped
python benchmarks/results_trials.py write
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads

import argparse
import copy
import json
import math
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import sklearn
import torch
from scipy.stats import loguniform
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import EnsembleClassifier, KeepTrials, ModelPool, SoupClassifier
from skfusion.combine import Average, Cascade, EnsembleSelection, Stack
from skfusion.merge import Greedy, OneMemberWarning
from skfusion.select import TopK

OUT = Path(__file__).parents[1] / "docs" / "results"
SEARCHES = {"random": 24, "optuna": 64}
"""Trials of each search."""
WIDTHS = (64, 128)
EPOCHS = 8
BEST, REFIT, SOUP = "best trial", "best trial, refitted on all rows", "greedy soup"
FIVE, SELECTION, STACK = "mean of the five best", "ensemble selection", "stack"
CASCADE = "cascade of the selection"
STARTS = {}
"""The networks that trials of each width start from."""


def mixture():
    """Return a made table of 15,000 rows: five classes of four clusters each, with a twentieth of the labels at random."""
    return make_classification(
        15_000, 20, n_informative=12, n_redundant=4, n_classes=5, n_clusters_per_class=4, flip_y=0.05, random_state=0
    )


def teacher():
    """Return a made table of 12,000 rows with long tails, labelled by the noisy outputs of a random network."""
    rng = np.random.RandomState(0)
    X = rng.randn(12_000, 16)
    hidden = np.tanh(X[:, :10] @ rng.randn(10, 24) * 0.6)
    y = (hidden @ rng.randn(24, 3) + 0.7 * rng.randn(12_000, 3)).argmax(1)
    return np.where(np.arange(16) % 4, X, np.exp(X)), y


TABLES = {"mixture": mixture, "teacher": teacher, "digits": lambda: load_digits(return_X_y=True)}


def n_splits(table, kind):
    """Return how often a table is split: 64 trials on a large one take long."""
    return 1 if kind == "optuna" and table != "digits" else 3


# ---------------------------------------------------------------------------------------------------------- training


def perceptron(n_in, width, n_out):
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_out))


def started(width):
    """Return a copy of the network that all trials of a width start from."""
    return copy.deepcopy(STARTS[width])


class Batches:
    """Cut batches from tensors, which is several times as fast as to collate rows."""

    def __init__(self, dataset, batch_size, shuffle=False, **_):
        self.X = torch.as_tensor(dataset.X)
        self.y = torch.zeros(len(self.X)) if dataset.y is None else torch.as_tensor(dataset.y)
        self.size, self.shuffle = batch_size, shuffle

    def __len__(self):
        return -(-len(self.X) // self.size)

    def __iter__(self):
        order = torch.randperm(len(self.X)) if self.shuffle else torch.arange(len(self.X))
        for index in order.split(self.size):
            yield self.X[index], self.y[index]


def net(**params):
    settings = {
        "iterator_train": Batches, "iterator_valid": Batches,
        "criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.AdamW, "optimizer__fused": True, "max_epochs": EPOCHS,
        "batch_size": 256, "iterator_train__shuffle": True, "train_split": None, "verbose": 0, "module__width": WIDTHS[0],
    }  # fmt: skip
    return NeuralNetClassifier(started, **{**settings, **params})


def train_starts(X, y, seed):
    """Train a network of each width for three epochs."""
    torch.manual_seed(seed)
    for width in WIDTHS:
        STARTS[width] = perceptron(X.shape[1], width, int(y.max()) + 1)
        STARTS[width] = net(module__width=width, max_epochs=3, lr=0.003).fit(X, y).module_


def random_search(data, folder, seed):
    """Return the pool of a random search, its best network refitted on all rows, and its seconds."""
    (A, B), (a, b) = data
    space = {
        "module__width": [*WIDTHS], "lr": loguniform(3e-4, 3e-2), "optimizer__weight_decay": loguniform(1e-4, 1),
        "batch_size": [128, 256, 512],
    }  # fmt: skip
    split = PredefinedSplit(np.r_[np.full(len(A), -1), np.zeros(len(B))])
    search = RandomizedSearchCV(
        net(), space, n_iter=SEARCHES["random"], cv=split, scoring="neg_log_loss", random_state=seed
    )
    start = time.process_time()
    search = KeepTrials(folder).wrap(search).fit(np.r_[A, B], np.r_[a, b])
    return ModelPool.from_search(search), search.best_estimator_.wrapped, time.process_time() - start


def optuna_study(data, folder, seed):
    """Return the same of a study of Optuna."""
    (A, B), (a, b) = data
    keep = KeepTrials(folder)

    def settings(trial):
        return {
            "module__width": trial.suggest_categorical("width", WIDTHS), "lr": trial.suggest_float("lr", 3e-4, 3e-2, log=True),
            "optimizer__weight_decay": trial.suggest_float("decay", 1e-4, 1, log=True),
            "batch_size": trial.suggest_categorical("batch_size", (128, 256, 512)),
        }  # fmt: skip

    def objective(trial):
        params = settings(trial)
        fitted = net(**params).fit(A, a)
        keep.member(trial, fitted, rows=(A, a), held_out=(B, b), start=STARTS[params["module__width"]])
        return losses(fitted.predict_proba(B), b).mean()

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    start = time.process_time()
    study.optimize(objective, SEARCHES["optuna"], callbacks=[keep])
    refitted = net(**settings(optuna.trial.FixedTrial(study.best_params))).fit(np.r_[A, B], np.r_[a, b])
    pool = ModelPool.from_study(study, keep)
    nets = {m.name: net(module__width=m.meta["params"]["width"]) for m in pool}
    return pool.replace([m.replace(net=nets[m.name]) for m in pool]), refitted, time.process_time() - start


# --------------------------------------------------------------------------------------------------------- measuring


def losses(proba, y):
    """Return the loss of each row, -log p."""
    return -np.log(np.clip(proba[np.arange(len(y)), y], 1e-7, 1))


def fusions(pool, B, b):
    """Yield the names of fusions, what predicts, and how many networks a prediction takes."""
    best = pool.names[int(np.argmax([m.score for m in pool]))]
    yield BEST, EnsembleClassifier(collect=pool[[best]]).fit(B, b), 1
    group = pool.grouped()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneMemberWarning)  # the page says how many are merged
        soup = SoupClassifier(collect=group, merge=Greedy(), scoring="neg_log_loss").fit(B, b)
    yield SOUP, soup, 1
    ensembles = {
        FIVE: {"select": TopK(5), "combine": Average()},
        SELECTION: {"combine": EnsembleSelection()},
        STACK: {"combine": Stack()},
        CASCADE: {"combine": Cascade(EnsembleSelection())},
    }
    for name, parts in ensembles.items():
        ensemble = EnsembleClassifier(collect=pool, scoring="neg_log_loss", **parts).fit(B, b)
        weights = ensemble.member_weights_
        yield name, ensemble, len(ensemble.members_) if weights is None else sum(w != 0 for w in weights.values())


def seconds_of(model, X):
    """Return the least of three times for 1,000 rows."""
    times = []
    for _ in range(3):
        start = time.process_time()
        model.predict_proba(X)
        times.append(time.process_time() - start)
    return 1000 * min(times) / len(X)


def measured(table, kind):
    """Return the numbers of the fusions of one search on one table, over all splits."""
    X, y = TABLES[table]()
    X = X.astype(np.float32)
    rows, numbers, about = {}, {}, {"group": [], "merged": [], "n_members": [], "search_seconds": []}
    for seed in range(n_splits(table, kind)):
        index, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=seed)
        fit, val = train_test_split(index, test_size=0.25, stratify=y[index], random_state=seed)
        Z = StandardScaler().fit(X[fit]).transform(X).astype(np.float32)
        train_starts(Z[fit], y[fit], seed)
        with tempfile.TemporaryDirectory() as folder:
            search = random_search if kind == "random" else optuna_study
            pool, refitted, seconds = search(((Z[fit], Z[val]), (y[fit], y[val])), folder, seed)
            alone = ModelPool.from_estimators([("refitted", refitted)])
            alone = EnsembleClassifier(collect=alone).fit(Z[val], y[val])  # which runs networks as the others do
            models = [*fusions(pool, Z[val], y[val]), (REFIT, alone, 1)]
        group = pool.grouped()[0]
        about["group"].append(len(group))
        about["n_members"].append(len(pool))
        about["search_seconds"].append(seconds)
        about["merged"].append(sum(share > 0 for share in models[1][1].member_weights_.values()))
        for name, model, n_networks in models:
            proba = model.predict_proba(Z[test])
            found = {"right": proba.argmax(1) == y[test], "loss": losses(proba, y[test])}
            rows.setdefault(name, []).append((test, found))
            if name == CASCADE:  # how many members a row asks
                n_networks = float(model.combine_.asked(model.predict_members(Z[test])).mean())
            cost = {"networks": n_networks, "seconds": seconds_of(model, Z[test])}
            numbers.setdefault(name, []).append(cost)
        print(table, kind, seed, f"{seconds:.0f} s", flush=True)
    return about | {
        "n_rows": len(y),
        "n_test": len(test),
        "fusions": {name: summary(rows[name], rows[BEST], numbers[name]) for name in rows},
    }


def summary(found, best, costs):
    """Return means over test rows, paired differences to the best trial with half of 95 % intervals, and costs."""
    out = {what: float(np.mean([c[what] for c in costs])) for what in ("networks", "seconds")}
    for what in ("right", "loss"):
        out[what] = float(np.mean([part[what].mean() for _, part in found]))
        differences = np.concatenate([a[what] * 1.0 - b[what] for (_, a), (_, b) in zip(found, best, strict=True)])
        row = np.unique(np.concatenate([test for test, _ in found]), return_inverse=True)[1]
        by_row = np.bincount(row, differences) / np.bincount(row)  # a row may be in the test part of several splits
        out[f"{what}_gain"] = float(differences.mean())
        out[f"{what}_half"] = float(1.96 * by_row.std(ddof=1) / math.sqrt(len(by_row)))
    return out


def run(path, tables):
    """Measure what is not in the file yet."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = json.loads(path.read_text()) if path.exists() else {}
    for table in tables:
        for kind in SEARCHES:
            if f"{table} | {kind}" not in known:
                known[f"{table} | {kind}"] = measured(table, kind)
                path.write_text(json.dumps(known, indent=1) + "\n")


# -------------------------------------------------------------------------------------------------------- the page


def gain(of, what, scale, digits):
    """Return a difference with half of its interval."""
    return f"{scale * of[what + '_gain']:+.{digits}f} ± {scale * of[what + '_half']:.{digits}f}".replace("-", "−")


def table_of(known):
    """Return the rows of one search on one table."""
    head = [
        "",
        "accuracy, %",
        "against the best trial",
        "log-loss",
        "against the best trial",
        "networks",
        "ms per 1,000 rows",
    ]
    lines = [head, ["---"] * len(head)]
    for name in (BEST, REFIT, SOUP, FIVE, SELECTION, CASCADE, STACK):
        of = known["fusions"][name]
        lines.append([
            name, f"{100 * of['right']:.2f}", "" if name == BEST else gain(of, "right", 100, 2), f"{of['loss']:.4f}",
            "" if name == BEST else gain(of, "loss", 1, 4), f"{of['networks']:.1f}".removesuffix(".0"), f"{1000 * of['seconds']:.1f}",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def told_apart(known, name, what="loss"):
    """Return on which of the searches a fusion is better and on which worse than the best trial, by its interval."""
    better, worse = [], []
    for key, of in known.items():
        mean, half = (of["fusions"][name][f"{what}_{part}"] for part in ("gain", "half"))
        mean = -mean if what == "loss" else mean
        (better if mean > half else worse if mean < -half else []).append(key)
    return len(better), len(worse)


def points(value):
    """Return a difference of accuracies in points."""
    return f"{100 * value:+.2f}".replace("-", "−")


def verdict(known):
    """Return a line for each fusion: how often it is told apart from the best trial."""
    n, lines = len(known), []
    for name in (REFIT, SOUP, FIVE, SELECTION, CASCADE, STACK):
        loss, right = (told_apart(known, name, what) for what in ("loss", "right"))
        gains = [of["fusions"][name]["right_gain"] for of in known.values()]
        lines.append(
            f"- *{name}*: by log-loss better than the best trial in {loss[0]} of the {n} searches and worse in {loss[1]}, by "
            f"accuracy better in {right[0]} and worse in {right[1]}; from {points(min(gains))} to {points(max(gains))} points of accuracy."
        )
    return "\n".join(lines)


def page(known):
    """Return the text of the page."""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, Optuna {optuna.__version__}, skfusion {skfusion.__version__}"
    parts = []
    for key, of in known.items():
        table, kind = key.split(" | ")
        title = "RandomizedSearchCV" if kind == "random" else "Optuna (TPE)"
        n = len(of["group"])
        splits = "one split" if n == 1 else f"{n} splits"
        sizes = ", ".join(f"{merged} of {group}" for merged, group in zip(of["merged"], of["group"], strict=True))
        parts.append(
            f"### {table}, {SEARCHES[kind]} trials of {title}\n\n{table_of(of)}\n\n{of['n_rows']:,} rows. In {splits} "
            f"the soup merged {sizes} trials of the best group. The search took {np.mean(of['search_seconds']):.0f} s a split.\n"
        )
    return f"""# What the trials of a search are worth

<!-- Written by benchmarks/results_trials.py. Do not edit: run it again. -->

A search trains many networks and keeps one. Here all are kept by `KeepTrials`, and fused: {SEARCHES["random"]} trials of a `RandomizedSearchCV`, and {SEARCHES["optuna"]} of a study of Optuna, on two tables and on scikit-learn's digits. *mixture* and *teacher* are made data: {mixture.__doc__.partition(": ")[2].rstrip(".")}; and long-tailed inputs, labelled by the noisy outputs of a random network.

Each table is split at random, three times, and once for 64 trials on the two larger ones, into 60 % of rows to train on, 20 % to choose by and 20 % to test on. Trials differ in the width of two hidden layers ({WIDTHS[0]} or {WIDTHS[1]}), learning rate, weight decay and batch size; all of a width start from one network that was trained for three epochs, and are trained for {EPOCHS} more. Searches choose by log-loss on the second part, and so do the fusions, on the same rows: `EnsembleClassifier(collect=pool, combine=EnsembleSelection())` and so on. *Refitted* is what a search itself returns: its best settings trained on both parts. The soup is a greedy one of the best group, `pool.grouped()[0]`, the trials of one width. *Networks* is how many a prediction takes.

After each ± stands half of a 95 % interval of the paired difference over test rows; a row in the test part of several splits counts once. Intervals do not know how another search or another table of the kind would come out. Made by

    python benchmarks/results_trials.py run
    python benchmarks/results_trials.py write

on one thread of a machine with {os.cpu_count()} {platform.machine()} cores, which had other work ({versions}). Times are those of the processor.

## What it says

{verdict(known)}

{READING}

## Numbers

{chr(10).join(parts)}"""


READING = """What is behind it:

- **Trials that are there already make a better ensemble than any of them is alone**, on the two large tables, at the cost of some networks a prediction: ensemble selection by log-loss in all four searches, and by accuracy in three; after Optuna on *teacher*, whose best trial is a good one, accuracies are not told apart. It also has a higher mean accuracy and a lower mean log-loss there than the best settings refitted on all rows, for which no interval was computed.
- **A soup costs one network and gains less, or nothing.** It is a mean of one to seven trials of its group; others may have gone too far from their start, at learning rates up to 0.03, which was not measured. In each of the four searches on large tables, the best settings refitted on all rows have a higher mean accuracy, for the same cost. Narrower spaces of settings make better soups: see [fine-tunes](finetunes.md).
- **The stack** uses all trials, and learns a weight for each class of each member on the held-out rows. With thousands of these its mean accuracy is the highest; its log-loss is not always, and it takes all networks.
- **The cascade of the selection** asks fewer networks a row than the selection does, and its accuracy is a little lower. So is its gain in log-loss: rows that stop early have the probabilities of fewer members. For networks this small it saves little time or none.
- **On digits**, with 360 rows to choose by, the best trial is right in 97 % of the test rows, of which there are 360 a split, and hardly anything can be told apart from it.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[*TABLES])
    parser.add_argument("--kept", type=Path, default=OUT / "trials.json", help="the numbers")
    args = parser.parse_args()
    if args.what == "run":
        run(args.kept, args.tables)
    else:
        (OUT / "trials.md").write_text(page(json.loads(args.kept.read_text())), encoding="utf-8")
