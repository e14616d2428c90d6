# ruff: noqa: E501
"""Write docs/results/trajectory.md: what is best made of one training run, from SWA to post-hoc EMA, on three problems.

    OMP_NUM_THREADS=1 python benchmarks/results_trajectory.py run --fashion DIR --tables FOLDER   # goes on where it stopped
    OMP_NUM_THREADS=1 python benchmarks/results_trajectory.py write

Fashion-MNIST comes from the files of Debian's ``dataset-fashion-mnist``; give the folder that holds
``train-images-idx3-ubyte`` (``.gz`` or not). ``FOLDER`` has the tables that ``benchmarks/_tables.py fetch FOLDER`` gets.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from _tables import load
from results_rebasin import images
from scipy.stats import t as student
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import skfusion
from skfusion import (
    EnsembleClassifier,
    EnsembleOfAveragesClassifier,
    EnsembleOfAveragesRegressor,
    EnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.average import EMA, Dense, Latest, Mean
from skfusion.collect import PAPA, SWAG, MultiSWAG, PowerSnapshots, Seeds, Tail
from skfusion.compare import expected_calibration_error
from skfusion.merge import TWA, DecayMerge, PostHocEMA, Uniform

OUT = Path(__file__).parents[1] / "docs" / "results"
SIGMAS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)
"""Lengths of the post-hoc EMA that are tried on held-out rows."""
RUNS = 3
"""Runs of the methods that train several networks."""
LAST, COSINE, SEVERAL = "last state", "cosine decay", f"{RUNS} networks"

# ----------------------------------------------------------------------------------------------------------- problems


def perceptron(n_in, n_out, width=64):
    """Return a perceptron of two hidden layers."""
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_out))


class Digits(nn.Sequential):
    """64-64-64-10."""

    def __init__(self):
        super().__init__(*perceptron(64, 10))


class Convolutional(nn.Sequential):
    """Two convolutions with BatchNorm and pooling, and a linear layer."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16 * 49, 10),
        )  # fmt: skip


class Diamonds(nn.Sequential):
    """A perceptron of the columns of the table, its categories as indicators."""

    def __init__(self):
        super().__init__(*perceptron(26, 1, 128))


@dataclass(frozen=True)
class Problem:
    """Data, and how its network is trained."""

    title: str
    data: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
    module: type[nn.Module]
    classify: bool
    epochs: int
    batch: int
    lr: float

    def net(self, cosine=False):
        """Return the net as a user of skorch has it, with a constant rate or half a cosine."""
        kind, loss = (NeuralNetClassifier, nn.CrossEntropyLoss) if self.classify else (NeuralNetRegressor, nn.MSELoss)
        callbacks = [LRScheduler(CosineAnnealingLR, T_max=self.epochs)] if cosine else None
        return kind(
            self.module, criterion=loss, optimizer=torch.optim.SGD, optimizer__momentum=0.9, optimizer__weight_decay=5e-4,
            lr=self.lr, batch_size=self.batch, max_epochs=self.epochs, iterator_train__shuffle=True, train_split=None,
            callbacks=callbacks, verbose=0,
        )  # fmt: skip

    def of_task(self, classifier, regressor):
        """Return the one for the task."""
        return classifier if self.classify else regressor


def digits(args, seed):
    """Return the digits of scikit-learn, another quarter for the test with each seed."""
    X, y = load_digits(return_X_y=True)
    X, Xt, y, yt = train_test_split((X / 16).astype(np.float32), y, random_state=seed, stratify=y)
    return X, y, Xt, yt


def fashion(args, seed, n=3000):
    """Return images that no other seed has to train on, and the test images."""
    X, y, Xt, yt = images(args.fashion)
    part = np.random.RandomState(0).permutation(len(X))[n * seed : n * (seed + 1)]
    return X[part, None], y[part], Xt[:, None], yt


def diamonds(args, seed, n=16_000):
    """Return so many diamonds, and the logarithm of their prices; a quarter is for the test."""
    X, y, _ = load("diamonds", args.tables)
    rows = np.random.RandomState(seed).permutation(len(X))[:n]
    X, y = X.iloc[rows], ((y - y.mean()) / y.std())[rows].astype(np.float32)
    categories = [c for c in X if X[c].dtype == "category"]
    ready = ColumnTransformer([("c", OneHotEncoder(), categories)], remainder=StandardScaler(), sparse_threshold=0)
    X = ready.fit_transform(X).astype(np.float32)
    X, Xt, y, yt = train_test_split(X, y, random_state=seed)
    return X, y, Xt, yt


PROBLEMS = {
    "digits": Problem("Digits, perceptron 64-64-64-10", digits, Digits, True, 40, 32, 0.05),
    "fashion": Problem("Fashion-MNIST, two convolutions with BatchNorm", fashion, Convolutional, True, 20, 64, 0.05),
    "diamonds": Problem("Diamonds, perceptron 26-128-128-1", diamonds, Diamonds, False, 20, 64, 0.02),
}
NOISES = {"digits": (0.0, 0.2), "fashion": (0.0, 0.2), "diamonds": (0.0,)}
"""Shares of the training labels that are flipped to another class."""

# ------------------------------------------------------------------------------------------------------------ methods


def averaged(average):
    """Return the maker of a network that is the average of a run at a constant rate."""

    def make(p, seed):
        kind = p.of_task(WeightAveragingClassifier, WeightAveragingRegressor)
        return kind(p.net(), average=average, random_state=seed)

    return make


def soup(collect, merge):
    """Return the maker of a network that is merged of what a run at a constant rate leaves."""
    return lambda p, seed: p.of_task(SoupClassifier, SoupRegressor)(
        p.net(), collect=collect, merge=merge, random_state=seed
    )


def ensemble(collect, cosine=False):
    """Return the maker of an ensemble."""
    return lambda p, seed: p.of_task(EnsembleClassifier, EnsembleRegressor)(
        p.net(cosine), collect=collect, random_state=seed
    )


def swad(p, seed):
    """Return the average between the epochs that the losses on a fifth of the rows decide."""
    net = p.net().set_params(train_split=ValidSplit(0.2, stratified=p.classify, random_state=0))
    return p.of_task(WeightAveragingClassifier, WeightAveragingRegressor)(net, average=Dense(), random_state=seed)


class ChosenLength:
    """A post-hoc EMA whose length has the best score on a fifth of the rows; then a run on all rows is averaged so."""

    def __init__(self, p, seed):
        self.p, self.seed = p, seed

    def fit(self, X, y):
        """Train two runs, of which the first chooses the length."""
        A, B, a, b = train_test_split(
            X, y, test_size=0.2, random_state=self.seed, stratify=y if self.p.classify else None
        )
        make = soup(PowerSnapshots(), PostHocEMA())
        first = make(self.p, self.seed).fit(A, a)
        scores = []
        for sigma in SIGMAS:
            again = make(self.p, self.seed).set_params(collect=first.pool_, merge__sigma=sigma).fit(A, a)
            scores.append(again.score(B, b))
        self.sigma = SIGMAS[int(np.argmax(scores))]
        self.fitted = make(self.p, self.seed).set_params(merge__sigma=self.sigma).fit(X, y)
        return self

    def __getattr__(self, name):
        return getattr(self.fitted, name)


METHODS: dict[str, Callable[[Problem, int], Any]] = {
    LAST: ensemble(Seeds(1)),
    COSINE: ensemble(Seeds(1), cosine=True),
    "EMA, decay 0.98": averaged(EMA(0.98)),
    "EMA, decay 0.995": averaged(EMA(0.995)),
    "EMA, decay 0.999": averaged(EMA(0.999)),
    "post-hoc EMA, length chosen": ChosenLength,
    "SWA (last quarter of epochs)": averaged(None),
    "tail mean (second half of steps)": averaged(Mean(0.5)),
    "LAWA (6 latest epochs)": averaged(Latest(6)),
    "SWAD": swad,
    "WSM (1-sqrt decay of the last quarter)": soup(Tail(0.75), DecayMerge("1-sqrt")),
    "TWA (second half of epochs)": soup(Tail(0.5), TWA()),
    "SWAG": ensemble(SWAG()),
    SEVERAL: ensemble(Seeds(RUNS)),
    f"{RUNS} networks, cosine decay": ensemble(Seeds(RUNS), cosine=True),
    "MultiSWAG": ensemble(MultiSWAG(RUNS)),
    "ensemble of averages": lambda p, seed: p.of_task(EnsembleOfAveragesClassifier, EnsembleOfAveragesRegressor)(
        p.net(), n_members=RUNS, random_state=seed
    ),
    "PAPA, mean": soup(PAPA(RUNS), Uniform()),
}
ONE_RUN = [*METHODS][: [*METHODS].index(SEVERAL)]
NETWORKS = {
    "SWAG": SWAG().n_samples,
    "MultiSWAG": RUNS * MultiSWAG().n_samples,
    **dict.fromkeys([SEVERAL, f"{SEVERAL}, cosine decay", "ensemble of averages"], RUNS),
}
"""Networks that predict; one where it is not said."""

# --------------------------------------------------------------------------------------------------------------- runs


def flipped(y, share, seed):
    """Return labels of which a share is another one, drawn at random."""
    rng, n_classes = np.random.RandomState(seed), int(y.max()) + 1
    rows = rng.permutation(len(y))[: int(share * len(y))]
    y = y.copy()
    y[rows] = (y[rows] + rng.randint(1, n_classes, len(rows))) % n_classes
    return y


def measured(problem, make, data, seed):
    """Return the numbers of one fit."""
    X, y, Xt, yt = data
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The merged network scores")  # which the page shows
        fitted = make(problem, seed).fit(X, y)
    row = {"seconds": time.process_time() - start}
    if not problem.classify:
        predicted = fitted.predict(Xt)
        return row | {"score": r2_score(yt, predicted), "loss": float(root_mean_squared_error(yt, predicted))}
    p = fitted.predict_proba(Xt).astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    return row | {
        "score": accuracy_score(yt, p.argmax(1)),
        "loss": log_loss(yt, p, labels=np.arange(p.shape[1])),
        "ece": expected_calibration_error(yt, p),
    }


def run(args):
    """Fit what is not there yet, seed by seed, and keep the numbers after every fit."""
    path = args.out / "trajectory.json"
    kept = json.loads(path.read_text()) if path.exists() else {"fits": {}}
    torch.set_num_threads(1)
    kept["machine"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )
    for seed in range(args.seeds):
        for name in args.problems:
            problem, data = PROBLEMS[name], None
            for noise in NOISES[name]:
                known = kept["fits"].setdefault(f"{name}, {noise:g}", {}).setdefault(str(seed), {})
                for method, make in METHODS.items():
                    if method in known:
                        continue
                    X, y, Xt, yt = data = data or problem.data(args, seed)
                    y = flipped(y, noise, seed) if noise else y
                    known[method] = measured(problem, make, (X, y, Xt, yt), seed)
                    print(name, noise, seed, method, known[method], flush=True)
                    path.write_text(json.dumps(kept, indent=1) + "\n")


# ------------------------------------------------------------------------------------------------------------ the page


def half(values):
    """Return half of the 95 % interval of a mean, Student's."""
    return float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def with_half(values, digits, scale=1.0, signed=True):
    """Return a mean with half of its interval."""
    mean = scale * float(np.mean(values))
    return f"{mean:{'+' if signed else ''}.{digits}f} ± {scale * half(values):.{digits}f}".replace("-", "−")


def column(fits, method, key):
    """Return a number of a method, one a seed."""
    return np.array([of_seed[method][key] for of_seed in fits.values()])


def table(fits, problem):
    """Return the table of one problem."""
    score, loss = ("accuracy, %", "log-loss") if problem.classify else ("R² x 100", "RMSE")
    lines = [
        f"| method | {score} | against the last state | against cosine decay | {loss} | against the last state |"
        f"{' ECE, % |' if problem.classify else ''} s | networks |",
        f"| --- | --- | --- | --- | --- | --- |{' --- |' if problem.classify else ''} --- | --- |",
    ]
    for method in METHODS:
        values = {k: column(fits, method, k) for k in ("score", "loss", "seconds")}
        against = [
            "" if method == other else with_half(values["score"] - column(fits, other, "score"), 2, 100)
            for other in (LAST, COSINE)
        ]
        gap = "" if method == LAST else with_half(values["loss"] - column(fits, LAST, "loss"), 4)
        ece = f" {100 * column(fits, method, 'ece').mean():.1f} |" if problem.classify else ""
        lines.append(
            f"| {method} | {100 * values['score'].mean():.2f} | {against[0]} | {against[1]} | {values['loss'].mean():.4f} | {gap} |"
            f"{ece} {np.median(values['seconds']):.1f} | {NETWORKS.get(method, 1)} |"
        )
    return "\n".join(lines)


def verdict(fits, method, other, key):
    """Return 1 where the paired interval says that a method is better than another one, -1 where worse, else 0."""
    gaps = (-1 if key == "loss" else 1) * (column(fits, method, key) - column(fits, other, key))
    return int(np.sign(gaps.mean())) if abs(gaps.mean()) > half(gaps) else 0


def summary(panels):
    """Return a table of how often each method is told apart from the last state and from cosine decay."""
    lines = [
        "| method | score: last state | score: cosine decay | loss: last state | loss: cosine decay |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        cells = []
        for key in ("score", "loss"):
            for other in (LAST, COSINE):
                found = [verdict(fits, method, other, key) for _, fits in panels if method != other]
                cells.append(f"{found.count(1)} / {found.count(-1)}" if found else "")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(panels, path):
    """Draw the differences to cosine decay in score, with their intervals, one panel a problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "skfusion", "svg.fonttype": "path"})
    methods = [m for m in METHODS if m != COSINE][::-1]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.1 + 1.75 * len(panels), 5.2), sharey=True, layout="constrained"
    )
    for ax, (title, fits) in zip(axes, panels, strict=True):
        base = column(fits, COSINE, "score")
        for place, method in enumerate(methods):
            gaps = 100 * (column(fits, method, "score") - base)
            colour = "C0" if method in ONE_RUN else "C1"
            ax.errorbar(gaps.mean(), place, xerr=half(gaps), fmt="o", color=colour, markersize=4.5, elinewidth=1.2)
        ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        ax.set_title(title, fontsize=9, loc="left")
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(methods)), methods)
    figure.supxlabel("accuracy, or 100 R², minus that of cosine decay (blue: one run, orange: three)", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(args):
    """Write the page and its figure."""
    kept = json.loads((args.out / "trajectory.json").read_text())
    sections, n_seeds, panels = [], set(), []
    for name, problem in PROBLEMS.items():
        for noise in NOISES[name]:
            fits = {s: f for s, f in kept["fits"].get(f"{name}, {noise:g}", {}).items() if set(METHODS) <= set(f)}
            if len(fits) < 2:
                continue
            n_seeds.add(len(fits))
            panels.append((f"{name}, {noise:.0%} flipped" if noise else name, fits))
            title = problem.title + (f", {noise:.0%} of the labels flipped" if noise else "")
            sections.append(
                f"## {title}\n\n{problem.epochs} epochs of batches of {problem.batch} at a rate of {problem.lr}; {len(fits)} seeds.\n\n"
                f"{table(fits, problem)}"
            )
    if not sections:
        raise SystemExit("No problem has two seeds of all methods yet: run first.")
    draw(panels, args.out / "trajectory.svg")
    page = f"""# What is best made of one run

<!-- Written by benchmarks/results_trajectory.py. Do not edit: run it again. -->

What is best made of the states of one training run: the last one, an average while it runs, one of checkpoints afterwards, or samples. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_trajectory.py run --fashion DIR --tables FOLDER
    OMP_NUM_THREADS=1 python benchmarks/results_trajectory.py write

on one thread ({kept["machine"]}), which had other work. The numbers of each fit are in [trajectory.json](trajectory.json).

SGD with momentum 0.9 and weight decay 0.0005. All methods have the same epochs, batches and rows, and but for *cosine decay* the same constant rate: so they show what
an average does in the place of a decay. Two train more: *post-hoc EMA, length chosen* takes the best of the lengths {", ".join(map(str, SIGMAS))} on a fifth of the rows, and then averages
a second run on all rows; those from *{SEVERAL}* on train {RUNS} runs. *SWAD* holds a fifth of the rows out, by which it begins and ends. Statistics of BatchNorm are estimated on the training rows for each average.

After each ± stands half of the 95 % interval of a mean over seeds, Student's, of paired differences. *ECE* is the expected calibration error of the top class over 15 bins of equal width. *s* is the
processor's time of a fit, median, and *networks* are those that predict. Of 40 comparisons without a difference one each is better and worse by
chance.

## In short

On how many of the {len(panels)} problems each method is better / worse than the last state of the run, and than cosine decay, by the paired interval:

{summary(panels)}

![Differences to cosine decay](trajectory.svg)

{chr(10).join(s + chr(10) for s in sections)}"""
    (args.out / "trajectory.md").write_text(page.rstrip() + "\n", encoding="utf-8")


def main():
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    running, writing = commands.add_parser("run"), commands.add_parser("write")
    for command in (running, writing):
        command.add_argument("--out", type=Path, default=OUT)
    running.add_argument("--fashion", type=Path, required=True, help="the folder of Fashion-MNIST's files")
    running.add_argument("--tables", type=Path, required=True, help="the folder that _tables.py fetched into")
    running.add_argument("--problems", nargs="+", choices=PROBLEMS, default=[*PROBLEMS])
    running.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    run(args) if args.what == "run" else write(args)


if __name__ == "__main__":
    main()
