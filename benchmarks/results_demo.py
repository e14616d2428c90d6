# ruff: noqa: E501
"""Write docs/results/demo.md: where fusion pays, among data sets that a demonstration could be made of.

python benchmarks/results_demo.py run      # some ten minutes; goes on where it stopped
python benchmarks/results_demo.py write
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
from sklearn import datasets

import skfusion
from skfusion import EnsembleClassifier, EnsembleRegressor, compare_fusions
from skfusion.cli._fusions import chosen
from skfusion.cli._sources import with_wrong_labels
from skfusion.combine import EnsembleSelection
from skfusion.nets import mlp_classifier, mlp_regressor

OUT = Path(__file__).parents[1] / "docs" / "results"
SEEDS, N_FOLDS, MEMBERS = (1, 2, 3), 5, 5  # the demonstration has seed 0
ROWS = (
    "single",
    "finetune-soup",
    "rebasin",
    "curve",
    "swa",
    "snapshot",
    "ensemble",
    "bagging",
    "boosted-stack",
    "tuned",
)
NO_FUSION = ("single", "tuned")


def some_rows(X, y, n, seed):
    """Return n rows at random."""
    rows = np.random.RandomState(seed).permutation(len(y))[:n]
    return X[rows], y[rows]


def with_noise(X, y, share, seed):
    return X, with_wrong_labels(y, share, seed)


def digits(seed):
    return datasets.load_digits(return_X_y=True)


def cancer(seed):
    return datasets.load_breast_cancer(return_X_y=True)


CANDIDATES = {
    "digits": digits,
    "digits, 200 rows": lambda seed: some_rows(*digits(seed), 200, seed),
    "digits, 10 % of labels wrong": lambda seed: with_noise(*digits(seed), 0.1, seed),
    "digits, 20 % of labels wrong": lambda seed: with_noise(*digits(seed), 0.2, seed),
    "digits, 30 % of labels wrong": lambda seed: with_noise(*digits(seed), 0.3, seed),
    "breast cancer": cancer,
    "breast cancer, 20 % of labels wrong": lambda seed: with_noise(*cancer(seed), 0.2, seed),
    "wine, 60 rows": lambda seed: some_rows(*datasets.load_wine(return_X_y=True), 60, seed),
    "made clusters, 2000 rows": lambda seed: datasets.make_classification(
        2000,
        20,
        n_informative=15,
        n_redundant=0,
        n_classes=5,
        n_clusters_per_class=4,
        flip_y=0.05,
        class_sep=1.5,
        random_state=seed,
    ),
    "diabetes": lambda seed: datasets.load_diabetes(return_X_y=True),
    "Friedman 1, 300 rows, noise 2": lambda seed: datasets.make_friedman1(300, noise=2.0, random_state=seed),
}


def measured(name, seed):
    """Return the score of each row in each fold, and what a fold takes."""
    X, y = CANDIDATES[name](seed)
    regress = y.dtype.kind == "f"
    net, task = (mlp_regressor(), "regression") if regress else (mlp_classifier(), "classification")
    fusions = chosen(ROWS, net, task, MEMBERS)
    kind = EnsembleRegressor if regress else EnsembleClassifier
    fusions["trials"] = kind(net, collect=fusions["tuned"].collect, combine=EnsembleSelection())
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on copies of rows, and soups of one member
        table = compare_fusions(fusions, X, y, reference="single", cv=N_FOLDS, n_jobs=2, random_state=seed)
    score, folds = table.attrs["scores"][0], table.attrs["folds"]
    return {
        "score": score,
        "folds": {
            fusion: part.sort_values("fold")[score].round(6).tolist()
            for fusion, part in folds.groupby("fusion", sort=False)
        },
        "n_train": float(folds["n_train"].mean()),
        "n_test": float(folds["n_test"].mean()),
        "seconds": round(time.perf_counter() - start, 1),
    }


def run():
    """Measure all candidates, and keep what is there."""
    path = OUT / "demo.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for seed in SEEDS:
        for name in CANDIDATES:
            if str(seed) not in known.setdefault(name, {}):
                known[name][str(seed)] = measured(name, seed)
                path.write_text(json.dumps(known, indent=1) + "\n")
                print(name, seed, known[name][str(seed)]["seconds"], flush=True)


# -------------------------------------------------------------------------------------------------------------- page


def gain(results, fusion, other, n_intervals):
    """Return the mean difference of two rows over all folds, and half of its corrected interval (Nadeau and Bengio)."""
    both = [[x for r in results.values() for x in r["folds"][name]] for name in (fusion, other)]
    d = np.subtract(*both)
    ratio = np.mean([r["n_test"] / r["n_train"] for r in results.values()])
    width = student.ppf(1 - 0.025 / n_intervals, len(d) - 1) * np.sqrt((1 / len(d) + ratio) * d.var(ddof=1))
    return float(d.mean()), float(width)


def mean_of(results, fusion):
    return float(np.mean([x for r in results.values() for x in r["folds"][fusion]]))


def signed(mean, half):
    return f"{mean:+.3f} ± {half:.3f}".replace("-", "−")


def write():
    """Write the page."""
    known = json.loads((OUT / "demo.json").read_text())
    known = {name: known[name] for name in CANDIDATES}
    fusions = [name for name in (*ROWS, "trials") if name not in NO_FUSION]
    n = len(fusions) * len(known)
    rows, removed = [], {}
    for name, results in known.items():
        single = mean_of(results, "single")
        gains = {f: gain(results, f, "single", n) for f in fusions}
        pay = [f for f, (m, half) in gains.items() if m > half]
        best = max(pay or gains, key=lambda f: gains[f][0])
        if pay:
            removed[name] = gains[best][0] / (1 - single)
        alone = [gain(results, f, "single", 1) for f in fusions]
        tuned = signed(*gain(results, "tuned", "single", n))
        over = signed(*gain(results, best, "tuned", n))
        share = f"{100 * removed[name]:.0f} %" if pay else ""
        bold = "**" * bool(pay)
        rows.append(
            f"| {name} | {single:.3f} | {best} | {bold}{signed(*gains[best])}{bold} | {share} | {len(pay)} ({sum(m > half for m, half in alone)}) of {len(fusions)} | {tuned} | {over} |"
        )
    choice = max(removed, key=removed.get) if removed else "none"
    full = [
        f"| {name} | " + " | ".join(signed(*gain(results, f, "single", n)) for f in (*fusions, "tuned")) + " |"
        for name, results in known.items()
    ]
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion {skfusion.__version__}"
    minutes = sum(r["seconds"] for results in known.values() for r in results.values()) / 60
    (OUT / "demo.md").write_text(
        PAGE.format(
            n_candidates=len(known),
            n_seeds=len(SEEDS),
            n_folds=N_FOLDS,
            seeds=", ".join(map(str, SEEDS)),
            n=n,
            n_all=len(SEEDS) * N_FOLDS,
            choice=choice,
            rows="\n".join(rows),
            full="\n".join(full),
            head=" | ".join((*fusions, "tuned")),
            rule=" | ".join(["---"] * (len(fusions) + 2)),
            paying=len(removed),
            versions=versions,
            minutes=minutes,
            machine=f"{os.cpu_count()} {platform.machine()} cores",
            dull="; ".join(name for name in known if name not in removed) or "none",
        )
    )


PAGE = """# Where fusion pays: the choice of the demonstration

<!-- Written by benchmarks/results_demo.py. Do not edit: run it again. -->

`make demo` shows a case where fusion pays, and one where it does not. So that the first is no pick by eye, {n_candidates} candidates were measured: data that come with
scikit-learn or that its generators make, as they are, with few rows, or with wrong labels. In each, {n_folds}-fold cross-validation was repeated with the seeds {seeds}, which
draw the rows, the wrong labels, the folds and the networks; the demonstration has seed 0. The rows are those of `skfusion compare --net plain`, of {n_folds} members, with its
default network and nothing tuned. *tuned* is no fusion: it is one network with the best of ten random settings (learning rate, weight decay, epochs), trained again
on all rows; *trials* is an ensemble selected among these ten. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_demo.py run
    OMP_NUM_THREADS=1 python benchmarks/results_demo.py write

in {minutes:.0f} minutes of comparisons on a machine with {machine}, which had other work ({versions}).

## The rule

Of the fusions whose gain over the single network has an interval above zero, the one that removes the largest share of the single network's error (1 less the accuracy, or 1 less R²), and its
candidate. After each ± stands half of the interval of the mean over all {n_all} folds: corrected for training sets that overlap (Nadeau and Bengio, 2003), and of a level at
which all {n} intervals of this page hold together with 95 % (Bonferroni). So it chose: **{choice}**.

## All candidates

| candidate | single | best fusion | its gain | of the error | fusions that pay | tuned, against single | that fusion, against tuned |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Scores are accuracies, and R² for the last two. Test rows have wrong labels, too: with a share of a fifth, four fifths is all that can be reached. In {paying} of {n_candidates} candidates a fusion pays. Where it does not, the best one by its mean is shown, which is chosen by chance as much as by merit. In brackets: how many
fusions have an interval above zero that holds for that fusion alone.

**No gain could be shown** on: {dull}. These are most of the candidates: on a small set a gain is less than the noise of a comparison, and on an easy one a single network leaves little to gain.

**What pays under wrong labels is not fusion alone.** The single network is trained for 30 epochs, as everywhere here, and learns the wrong labels, too; a fusion averages that away.
A search of ten settings finds a network that stops sooner or decays more, and the last column says what the fusion gains over that one: nothing that could be shown.
The fusion costs less than the search, and needs no rows held out.

## All gains over the single network

| candidate | {head} |
| {rule} |
{full}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    {"run": run, "write": write}[parser.parse_args().what]()
