# ruff: noqa: E501
"""Write docs/results/digits.md: fusions of eight networks on the digits of scikit-learn, cross-validated.

python benchmarks/results_digits.py [--out docs/results] [--members 8] [--epochs 30] [--folds 5]
"""

import argparse
import os
import platform
import time
from pathlib import Path

import matplotlib
import numpy as np
import sklearn
import skorch
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

import skfusion
from skfusion import EnsembleClassifier, SoupClassifier, compare_fusions
from skfusion.collect import Bootstrap, Seeds, Snapshots, Tail
from skfusion.combine import Stack, Vote
from skfusion.compare._table import half_width
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier
from skfusion.plots import BarrierDisplay, LeaderboardDisplay
from skfusion.select import TopK

SEED = 0
SCORE = "accuracy"


def fusions(k, epochs):
    """Return the fusions of k members by name, each with its number of trainings of ``epochs`` epochs a fit."""
    net, long = mlp_classifier(max_epochs=epochs), mlp_classifier(max_epochs=k * epochs)
    seeds = Seeds(k)
    return {
        "chosen single": (EnsembleClassifier(net, collect=seeds, select=TopK(1)), k),
        "long single": (EnsembleClassifier(long, collect=Seeds(1)), k),
        "uniform soup": (SoupClassifier(net, collect=seeds, merge=Uniform()), k),
        "greedy soup": (SoupClassifier(net, collect=seeds, merge=Greedy()), k),
        "SWA": (SoupClassifier(net, collect=Tail(), merge=Uniform()), 1),
        "snapshot ensemble": (EnsembleClassifier(net, collect=Snapshots(k)), 1),
        "deep ensemble": (EnsembleClassifier(net, collect=seeds), k),
        "vote": (EnsembleClassifier(net, collect=seeds, combine=Vote()), k),
        "bagging": (EnsembleClassifier(net, collect=Bootstrap(k)), k),
        "stack": (EnsembleClassifier(net, collect=seeds, combine=Stack()), 6 * k),
    }


SAYS = {
    "mean single": "The mean score of the {k} independent networks: what one training gives you.",
    "best single, in hindsight": "The one of the {k} that is best *on the test rows*. Nobody can choose it beforehand.",
    "chosen single": "The one of the {k} that is best on held-out rows.",
    "long single": "One network, trained for as many epochs as {k} together.",
    "uniform soup": "One network: the mean of the weights of the {k}.",
    "greedy soup": "One network: the best on held-out rows, averaged with each other one that does not lower the "
    "held-out score.",
    "SWA": "One network: the mean weights of the last quarter of the epochs of *one* training.",
    "snapshot ensemble": "{k} snapshots of *one* training with a cyclic learning rate; predictions are averaged.",
    "deep ensemble": "The {k} networks; predictions are averaged.",
    "vote": "The {k} networks, one vote each.",
    "bagging": "{k} networks, each trained on rows drawn with replacement; predictions are averaged.",
    "stack": "The {k} networks, combined by logistic regression that is fitted on out-of-fold predictions.",
}


def barriers(X, y, collect, epochs, n_folds, members):
    """Return one BarrierDisplay a fold, of the line between two members, evaluated on the fold's test rows."""
    found = []
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=SEED).split(X, y):
        net = mlp_classifier(max_epochs=epochs)
        pool = EnsembleClassifier(net, collect=collect, random_state=SEED).fit(X[train], y[train]).pool_
        found.append(BarrierDisplay.from_pool(pool, X[test], y[test], members=members))
    return found


def interval(values, folds):
    """Return mean, low and high of one value a fold, with the interval that compare_fusions uses."""
    half = half_width(np.asarray(values), folds["n_train"].mean(), folds["n_test"].mean())
    return float(np.mean(values)), float(np.mean(values) - half), float(np.mean(values) + half)


def percent(mean, low, high):
    """Return a share with its interval, in per cent."""
    return f"{100 * mean:.2f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{50 * (high - low):.2f}"


def points(mean, low, high):
    """Return a difference with its interval, in percentage points."""
    return f"{100 * mean:+.2f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{50 * (high - low):.2f}".replace("-", "−")


def rows_of(table, trainings):
    """Return the cells of each row of the table, and the gain of each fusion over the mean single network."""
    folds = table.attrs["folds"]
    deep = folds[folds["fusion"] == "deep ensemble"].set_index("fold")
    single, best = deep["mean_single"], deep["best_single"]
    per_net = table.loc["chosen single", "n_parameters"]
    one_fit = table.loc["SWA", "collect_seconds"]
    scores = {"mean single": (single, 1, one_fit, 1), "best single, in hindsight": (best, "", float("nan"), 1)}
    for name, row in table.iterrows():
        score = folds[folds["fusion"] == name].set_index("fold")[SCORE]
        seconds = row["collect_seconds"] + row["fuse_seconds"]
        scores[name] = (score, trainings[name], seconds, row["n_parameters"] / per_net)
    losses = {"mean single": table.attrs["single_log_loss"], **table["log_loss"]}
    cells, gains = [], {}
    for name, (score, n, seconds, cost) in scores.items():
        gains[name] = interval(score - single, deep)
        us = f"{table.loc[name, 'predict_us_per_row']:.1f}" if name in table.index else ""
        cells.append(
            [
                name,
                percent(*interval(score, deep)),
                "" if name == "mean single" else points(*gains[name]),
                f"{losses[name]:.3f}" if name in losses else "",
                str(n),
                "" if np.isnan(seconds) else f"{seconds:.1f}",
                f"{cost:g}",
                us,
            ]
        )
    return cells, gains


def verdicts(gains):
    """Return a list that says in words which gains have an interval without 0."""
    kinds = {"Better than one network": [], "Worse than one network": [], "Not told apart from one network": []}
    for name, (mean, low, high) in gains.items():
        kind = list(kinds)[0 if low > 0 else 1 if high < 0 else 2]
        kinds[kind].append(f"{name} {points(mean, low, high)}")
    return "\n".join(f"- **{kind}**, in points: {'; '.join(names)}." for kind, names in kinds.items() if names)


def said(name, gain):
    """Return what a gain says of one fusion, in a sentence."""
    if gain[1] > 0:
        return f"{name} beats the mean single network"
    return f"{name} does not beat the mean single network ({points(*gain)})"


def page(args, table, trainings, seeds, tail, spent):
    """Return the text of the page."""
    k = args.members
    single_loss = table.attrs["single_log_loss"]
    cells, gains = rows_of(table, trainings)
    halves = float((table[f"{SCORE}_high"] - table[f"{SCORE}_mean"]).median())
    head = ["fusion", "accuracy, %", "gain, points", "log-loss", "trained", "s",
            "nets", "µs/row"]  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells]]
    b = np.array([d.barrier for d in seeds])
    ends = np.mean([(d.loss[0] + d.loss[-1]) / 2 for d in seeds])
    middle = [(d.loss[len(d.t) // 2], d.score[len(d.t) // 2]) for d in seeds]
    t = np.array([d.barrier for d in tail])
    versions = (
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, scikit-learn "
        f"{sklearn.__version__}, skfusion {skfusion.__version__}"
    )
    return f"""# Digits: {k} networks, ten fusions

<!-- Written by benchmarks/results_digits.py. Do not edit: run it again. -->

{table.attrs["n_rows"]} images of 8 x 8 pixels in 10 classes, which come with scikit-learn; {table.attrs["n_folds"]}-fold \
cross-validation, stratified and shuffled. The network is the default of this library: two hidden layers of 64 units, \
AdamW, {args.epochs} epochs. The learning rate and the weight decay of that default were chosen by \
cross-validation of single networks on six small data sets, digits among them; nothing else was tuned, and all rows below come from one run with seed {SEED}. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_digits.py

in {spent / 60:.1f} minutes on one thread of a machine with {os.cpu_count()} {platform.machine()} cores: {versions}.

## Result

{chr(10).join(lines)}

![Accuracy of each fusion with its interval](digits-leaderboard.svg)

After each ± stands half of the 95 % interval of the mean over the folds: Student's, with the correction of Nadeau and Bengio (2003) for
training sets that overlap.

- *Gain*: over the mean single network. Its interval is of the paired differences, fold by fold.
- *Trained*: trainings of {args.epochs} epochs, in one fit. All fusions hold out the same 20 % of each training part, so that all members are
  trained on the same rows.
- *s*: seconds of one fit, with nothing shared.
- *Nets*: networks that a prediction runs; *µs/row*: what it takes.

The fusions:

{chr(10).join(f"- **{name}**: {says.format(k=k)}" for name, says in SAYS.items())}

## What it says

{verdicts({name: gains[name] for name in table.index})}

{said("SWA", gains["SWA"])}, and {said("the greedy soup", gains["greedy soup"])}. On a small and easy set a single network leaves
little to gain, and the interval of an accuracy reaches {100 * halves:.1f} points to either side (median), so that small gains do not
show. With {len(table)} intervals of 95 %, one that just leaves out 0 may do so by chance. The log-loss tells more than the accuracy: {single_loss:.3f}
for the mean single network, {table.loc["deep ensemble", "log_loss"]:.3f} for the deep ensemble, at {k} times the cost of a prediction.

## Why the uniform soup of independent networks fails

The networks start from different random weights, and end in different valleys of the loss. Their mean lies between the
valleys. Walk in a straight line from the weights of one network to those of another, and evaluate each point on the test rows:
the loss climbs from {ends:.2f} nats at the ends to {np.mean([m[0] for m in middle]):.2f} in the middle, where the accuracy is \
{100 * np.mean([m[1] for m in middle]):.0f} %. The *barrier*, the largest excess over the straight line between the two losses, \
is {b.mean():.2f} nats on average over the folds, from {b.min():.2f} to {b.max():.2f}. A soup of {k} such networks is farther from
all of them, and worse still: {100 * table.loc["uniform soup", f"{SCORE}_mean"]:.0f} %.

![Loss and accuracy between two independent networks](digits-barrier-seeds.svg)

Two states of one training, the first and the last that SWA averages, lie in one valley: the barrier is {t.mean():.3f} nats on
average, {t.max():.3f} at most. So their mean is a good network.

![Loss and accuracy between two epochs of one training](digits-barrier-tail.svg)

The greedy soup asks before it averages. Here it used {members_used(table)} of the {k} members on average: \
{"it fell back on the best one" if members_used(table) < 1.05 else "it found some that could be averaged"}, which is the safe \
thing to do, and no gain over choosing that network.
"""


def single_log_loss(X, y, entries, n_folds):
    """Return the mean log-loss of the single networks."""
    chosen = {name: entries[name][0] for name in ("greedy soup", "deep ensemble")}  # the first holds the same rows out
    table = compare_fusions(chosen, X, y, cv=n_folds, scoring="neg_log_loss", random_state=SEED)
    folds = table.attrs["folds"]
    return -float(folds.loc[folds["fusion"] == "deep ensemble", "mean_single"].mean())


def members_used(table):
    """Return the mean number of members in the greedy soup."""
    return round(float(np.mean(table.attrs["soup_sizes"])), 2)


def soup_sizes(X, y, fusion, n_folds):
    """Return how many members the greedy soup of each fold has."""
    sizes = []
    for train, _ in StratifiedKFold(n_folds, shuffle=True, random_state=SEED).split(X, y):
        soup = fusion.set_params(random_state=SEED).fit(X[train], y[train])
        sizes.append(sum(weight > 0 for weight in soup.member_weights_.values()))
    return sizes


def save(display, path):
    """Draw and write a figure as SVG, the same bytes for the same data."""
    display.plot()
    display.figure_.savefig(path, metadata={"Date": None})
    plt.close(display.figure_)


def main():
    """Compare, then write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    parser.add_argument("--members", type=int, default=8, help="networks of a fusion")
    parser.add_argument("--epochs", type=int, default=30, help="epochs of a training")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation")
    args = parser.parse_args()
    torch.set_num_threads(1)
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "skfusion", "svg.fonttype": "path"})
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    X, y = load_digits(return_X_y=True)
    entries = fusions(args.members, args.epochs)
    table = compare_fusions(
        {name: fusion for name, (fusion, _) in entries.items()}, X, y, cv=args.folds, random_state=SEED
    )
    table.attrs["single_log_loss"] = single_log_loss(X, y, entries, args.folds)
    table.attrs["soup_sizes"] = soup_sizes(X, y, entries["greedy soup"][0], args.folds)
    seeds = barriers(X, y, Seeds(2), args.epochs, args.folds, (0, 1))
    tail = barriers(X, y, Tail(), args.epochs, args.folds, (0, -1))
    spent = time.perf_counter() - start
    text = page(args, table, {name: n for name, (_, n) in entries.items()}, seeds, tail, spent)
    save(LeaderboardDisplay.from_frame(table), args.out / "digits-leaderboard.svg")
    save(seeds[0], args.out / "digits-barrier-seeds.svg")
    save(tail[0], args.out / "digits-barrier-tail.svg")
    (args.out / "digits.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
