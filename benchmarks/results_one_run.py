# ruff: noqa: E501
"""Write docs/results/one_run.md: snapshots, fast geometric ensembles and SWA beside those of two other libraries.

python benchmarks/results_one_run.py run --fashion DIR    # some 40 minutes; goes on where it stopped
python benchmarks/results_one_run.py write

Fashion-MNIST comes from the files of Debian's ``dataset-fashion-mnist``; give the folder that holds
``train-images-idx3-ubyte`` (``.gz`` or not). `torchensemble <https://github.com/TorchEnsemble-Community/Ensemble-Pytorch>`_
and `torch-uncertainty <https://github.com/torch-uncertainty/torch-uncertainty>`_ must be installed for ``run``, best in an
environment of their own.
"""

import argparse
import contextlib
import io
import json
import logging
import math
import os
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from results_rebasin import images, net_of
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, log_loss
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from skfusion import (
    EnsembleClassifier,
    FastGeometricEnsembleClassifier,
    SnapshotEnsembleClassifier,
    WeightAveragingClassifier,
)
from skfusion.collect import Seeds, Snapshots

OUT = Path(__file__).parents[1] / "docs" / "results"
EPOCHS, BATCH, LR, MOMENTUM, DECAY = 20, 128, 0.05, 0.9, 5e-4
N_ROWS = 10_000
CYCLES = 5
"""Snapshots."""
BURN_IN, MEMBERS, CYCLE, HIGH, LOW = 12, 4, 2, LR, 5e-4
"""Fast geometric ensembling; the learning rate is LR in the burn-in too."""
START, SWA_LR = 15, 0.025


class Perceptron(nn.Sequential):
    """784-64-64-10, as wide as this library's default, or wider."""

    def __init__(self, a=64, b=64):
        super().__init__(nn.Linear(784, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 10))


class WidePerceptron(Perceptron):
    """784-256-128-10."""

    def __init__(self):
        super().__init__(256, 128)


class Convolutional(nn.Sequential):
    """Two convolutions with BatchNorm and pooling, and a linear layer."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16 * 49, 10),
        )  # fmt: skip


NETS = {
    "perceptron": Perceptron,
    "wide perceptron": WidePerceptron,
    "convolutional": Convolutional,
}
TITLES = {
    "perceptron": "Perceptron 784-64-64-10",
    "wide perceptron": "Perceptron 784-256-128-10",
    "convolutional": "Convolutional network with BatchNorm",
}


# ------------------------------------------------------------------------------------------------------ this library


def net(module):
    """Return the net as a user of skorch has it."""
    own = net_of(module, EPOCHS, BATCH, LR)
    return own.set_params(optimizer=torch.optim.SGD, optimizer__momentum=MOMENTUM, optimizer__weight_decay=DECAY)


def annealed(module):
    """Return the net with one cycle of the cosine."""
    steps = EPOCHS * math.ceil(N_ROWS / BATCH)
    return net(module).set_params(callbacks=[LRScheduler(CosineAnnealingLR, T_max=steps, step_every="batch")])


def ours(make):
    """Return a function that fits an estimator of this library and returns one that predicts probabilities."""

    def fit(module, X, y, seed):
        return make(module, seed).fit(X, y).predict_proba

    return fit


# ------------------------------------------------------------------------------------------------------ torchensemble


def rows(X, y):
    """Return a loader as the documentation of both libraries makes it."""
    return DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), BATCH, shuffle=True)


def torchensemble(name, n, lr, epochs, **params):
    """Return a function that fits an ensemble of torchensemble."""

    def fit(module, X, y, seed):
        import torchensemble as te

        torch.manual_seed(seed)
        ensemble = getattr(te, name)(estimator=module, n_estimators=n, cuda=False)
        ensemble.set_criterion(nn.CrossEntropyLoss())
        ensemble.set_optimizer("SGD", lr=lr, momentum=MOMENTUM, weight_decay=DECAY)
        with contextlib.redirect_stdout(io.StringIO()):
            ensemble.fit(rows(X, y), epochs=epochs, log_interval=10**9, save_model=False, **params)
        return lambda X: ensemble.predict(X).numpy()

    return fit


# --------------------------------------------------------------------------------------------------- torch-uncertainty


def torch_uncertainty(method, lr, epochs, factor):
    """Return a function that fits a wrapper of torch-uncertainty; ``factor`` of a step and an epoch's steps is the schedule."""

    def fit(module, X, y, seed):
        from torch_uncertainty import TUTrainer
        from torch_uncertainty.routines import ClassificationRoutine

        torch.manual_seed(seed)
        wrapper, loader = method(module()), rows(X, y)
        optimiser = torch.optim.SGD(wrapper.core_model.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: factor(step, len(loader)))
        recipe = {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        routine = ClassificationRoutine(wrapper, 10, nn.CrossEntropyLoss(), optim_recipe=recipe)
        trainer = TUTrainer(
            accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        few = DataLoader(TensorDataset(torch.from_numpy(X[:BATCH]), torch.from_numpy(y[:BATCH])), BATCH)
        trainer.fit(routine, loader, few)  # the wrappers are updated where a validation starts
        wrapper.eval()

        def predict_proba(X):
            with torch.no_grad():
                logits = wrapper(torch.from_numpy(X))
            return logits.softmax(1).reshape(-1, len(X), 10).mean(0).numpy()

        return predict_proba

    return fit


def collector(epochs):
    """Return a function that wraps a module in torch-uncertainty's collector of checkpoints, after these epochs."""

    def wrap(module):
        from torch_uncertainty.methods import CheckpointCollector

        return CheckpointCollector(module, save_schedule=[e - 1 for e in epochs], use_final_model=False)

    return wrap


def averager(module):
    """Wrap a module in torch-uncertainty's SWA."""
    from torch_uncertainty.methods import SWA

    return SWA(module, START, 1)


def cosine(step, per_epoch):
    """Return the factor of the snapshots' schedule."""
    cycle = EPOCHS * per_epoch // CYCLES
    return (math.cos(math.pi * (step % cycle) / cycle) + 1) / 2


def triangle(step, per_epoch):
    """Return the factor of fast geometric ensembling's schedule."""
    done = step - BURN_IN * per_epoch
    t = done % (CYCLE * per_epoch) / (CYCLE * per_epoch)
    down = min(2 * t, 2 - 2 * t)
    return 1.0 if done < 0 else 1 - down + down * LOW / HIGH


def tail(step, per_epoch):
    """Return the factor of SWA's schedule: constant, linearly down between 50 % and 90 % of the burn-in, constant."""
    share = min(max((step / (START * per_epoch) - 0.5) / 0.4, 0), 1)
    return 1 - share + share * SWA_LR / LR


# --------------------------------------------------------------------------------------------------------------- runs

FGE_KEPT = [BURN_IN + CYCLE // 2 + i * CYCLE for i in range(MEMBERS)]
SNAPSHOTS = [(i + 1) * EPOCHS // CYCLES for i in range(CYCLES)]
HOUSES = ("skfusion", "torchensemble", "torch-uncertainty")
METHODS = {
    "one network": {
        "skfusion": ours(lambda m, s: EnsembleClassifier(net(m), collect=Snapshots(1), random_state=s)),
    },
    "snapshots": {
        "skfusion": ours(lambda m, s: SnapshotEnsembleClassifier(net(m), n_cycles=CYCLES, random_state=s)),
        "torchensemble": torchensemble("SnapshotEnsembleClassifier", CYCLES, LR, EPOCHS),
        "torch-uncertainty": torch_uncertainty(collector(SNAPSHOTS), LR, EPOCHS, cosine),
    },
    "fast geometric": {
        "skfusion": ours(
            lambda m, s: FastGeometricEnsembleClassifier(
                net(m), n_members=MEMBERS, burn_in=BURN_IN / EPOCHS, cycle=CYCLE, lr_min=LOW, random_state=s
            )
        ),
        "torchensemble": torchensemble(
            "FastGeometricClassifier", MEMBERS, HIGH, BURN_IN, cycle=CYCLE, lr_1=HIGH, lr_2=LOW
        ),
        "torch-uncertainty": torch_uncertainty(collector(FGE_KEPT), HIGH, FGE_KEPT[-1], triangle),
    },
    "weight averaging": {
        "skfusion": ours(
            lambda m, s: WeightAveragingClassifier(net(m), burn_in=START / EPOCHS, lr=SWA_LR, random_state=s)
        ),
        "torch-uncertainty": torch_uncertainty(averager, LR, EPOCHS, tail),
    },
    "five networks": {
        "skfusion": ours(lambda m, s: EnsembleClassifier(annealed(m), collect=Seeds(5), random_state=s)),
    },
}


def by_hand(module, X, y, seed):
    """Train one network by a loop over tensors."""
    torch.manual_seed(seed)
    model = module()
    optimiser = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = CosineAnnealingLR(optimiser, EPOCHS * math.ceil(len(X) / BATCH))
    loss, X, y = nn.CrossEntropyLoss(), torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(X)).split(BATCH):
            optimiser.zero_grad()
            loss(model(X[batch]), y[batch]).backward()
            optimiser.step()
            schedule.step()
    model.eval()
    return lambda X: model(torch.from_numpy(X)).softmax(1).detach().numpy()


METHODS["one network"]["a loop by hand"] = by_hand


def measured(fit, module, seed, X, y, X_test, y_test):
    """Return the numbers of one fit."""
    start = time.process_time()
    predict_proba = fit(module, X, y, seed)
    seconds = time.process_time() - start
    p = predict_proba(X_test).astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    return {"accuracy": accuracy_score(y_test, p.argmax(1)), "log_loss": log_loss(y_test, p), "seconds": seconds}


def data(folder, name, seed):
    """Return the training rows of a seed, which no other seed has, and the test rows."""
    X, y, X_test, y_test = images(folder)
    shape = (-1, 1, 28, 28) if name == "convolutional" else (-1, 784)
    part = np.random.RandomState(0).permutation(len(X))[N_ROWS * seed : N_ROWS * (seed + 1)]
    return X[part].reshape(shape), y[part], X_test.reshape(shape), y_test


def run(args):
    """Fit what is not there yet, and keep the numbers after every fit."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    path = args.out / "one_run.json"
    kept = json.loads(path.read_text()) if path.exists() else {"fits": {}}
    peers = ", ".join(f"{p} {version(p)}" for p in ("torchensemble", "torch-uncertainty", "lightning", "skorch"))
    kept["versions"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, {peers}; {os.cpu_count()} {platform.machine()} cores"
    )
    for name in args.nets:
        for houses in METHODS.values():  # what a library does once is not timed
            for fit in houses.values():
                X, y, *_ = data(args.fashion, name, 0)
                fit(NETS[name], X[:BATCH], y[:BATCH], 0)
        for seed in range(args.seeds):
            parts = data(args.fashion, name, seed)
            known = kept["fits"].setdefault(name, {}).setdefault(str(seed), {})
            for method, houses in METHODS.items():
                for house, fit in houses.items():
                    if f"{method}|{house}" not in known:
                        known[f"{method}|{house}"] = measured(fit, NETS[name], seed, *parts)
                        print(name, seed, method, house, known[f"{method}|{house}"], flush=True)
                        path.write_text(json.dumps(kept, indent=1) + "\n")


# ----------------------------------------------------------------------------------------------------------- the page


def half(values):
    """Return half of the 95 % interval of a mean."""
    return float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def with_half(values, digits, scale=1.0, signed=False):
    """Return a mean with half of its interval."""
    mean = scale * float(np.mean(values))
    return f"{mean:{'+' if signed else ''}.{digits}f} ± {scale * half(values):.{digits}f}".replace("-", "−")


def table(fits):
    """Return a table of one network's fits, one row a method and a library."""
    lines = [
        "| method | library | accuracy, % | ours against it, points | log-loss | ours against it | s | our time over its |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, houses in METHODS.items():
        for house in houses:
            own, mine = ([fit[f"{method}|{h}"] for fit in fits] for h in (house, "skfusion"))
            column = {k: np.array([one[k] for one in own]) for k in own[0]}
            gain = {k: np.array([one[k] for one in mine]) - column[k] for k in column}
            share = np.median([a["seconds"] for a in mine]) / np.median(column["seconds"])
            against = (
                ("", "", "")
                if house == "skfusion"
                else (
                    with_half(gain["accuracy"], 2, 100, True),
                    with_half(gain["log_loss"], 4, 1, True),
                    f"{share:.2f}",
                )
            )
            lines.append(
                f"| {method} | {house} | {with_half(column['accuracy'], 2, 100)} | {against[0]} | {column['log_loss'].mean():.4f} "
                f"| {against[1]} | {np.median(column['seconds']):.1f} | {against[2]} |"
            )
    return "\n".join(lines)


def seconds(fits, key):
    """Return the median of the times of a fit."""
    return float(np.median([fit[key]["seconds"] for fit in fits]))


def verdicts(fits):
    """Return in words where intervals leave out 0, and the times."""
    lines = []
    for method, houses in METHODS.items():
        for house in houses:
            if house in ("skfusion", "a loop by hand"):
                continue
            values = [fit[f"{method}|skfusion"]["accuracy"] - fit[f"{method}|{house}"]["accuracy"] for fit in fits]
            share = seconds(fits, f"{method}|skfusion") / seconds(fits, f"{method}|{house}")
            mean, width = float(np.mean(values)), half(values)
            kind = (
                "is more accurate than"
                if mean > width
                else "is less accurate than"
                if mean < -width
                else "is not told apart in accuracy from"
            )
            lines.append(f"- {method}: ours {kind} {house}'s, and takes {share:.2f} of its time.")
    for method in ("snapshots", "fast geometric", "weight averaging", "five networks"):
        gain = {
            k: [fit[f"{method}|skfusion"][k] - fit["one network|skfusion"][k] for fit in fits]
            for k in ("accuracy", "log_loss")
        }
        lines.append(
            f"- {method} against one network, both ours: accuracy {with_half(gain['accuracy'], 2, 100, True)} points, "
            f"log-loss {with_half(gain['log_loss'], 4, 1, True)}."
        )
    least = seconds(fits, "one network|a loop by hand") / seconds(fits, "snapshots|torchensemble")
    lines.append(f"- a loop by hand, of as many steps, takes {least:.2f} of the time of torchensemble's snapshots.")
    return "\n".join(lines)


def page(kept):
    """Return the text of the page."""
    fits = {name: [kept["fits"][name][s] for s in sorted(kept["fits"][name])] for name in NETS}
    n = {len(f) for f in fits.values()}
    parts = "\n\n".join(f"## {TITLES[name]}\n\n{table(f)}\n\n{verdicts(f)}" for name, f in fits.items())
    return f"""# Ensembles and averages of one run, beside other libraries

<!-- Written by benchmarks/results_one_run.py. Do not edit: run it again. -->

Snapshot ensembles, fast geometric ensembles and stochastic weight averaging of this library, of torchensemble and of torch-uncertainty: the same
networks, optimiser, learning rates at every step, batches and epochs. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_one_run.py run --fashion DIR
    OMP_NUM_THREADS=1 python benchmarks/results_one_run.py write

on one thread ({kept["versions"]}). Fashion-MNIST; {" or ".join(map(str, sorted(n)))} training sets of {N_ROWS} images that share none, and the same 10000 test images. After each ± stands half of
the 95 % interval of the mean over training sets, Student's; of differences it is that of paired ones. *s* is the processor's time for one fit, the
median over training sets, without what a library does once; a ratio is that of medians.

SGD with momentum {MOMENTUM}, weight decay {DECAY}, batches of {BATCH}. *Snapshots*: {EPOCHS} epochs in {CYCLES} cycles of the cosine from {LR}. *Fast geometric*: {BURN_IN} epochs at {HIGH}, then {MEMBERS}
members in cycles of {CYCLE} epochs between {HIGH} and {LOW}, {FGE_KEPT[-1]} epochs in all. *Weight averaging*: {EPOCHS} epochs, at {SWA_LR} and averaged each epoch after the first {START}.
*One network*: {EPOCHS} epochs, one cycle of the cosine; *by hand* is a loop over tensors. *Five networks*: five such runs, trained as one vectorized program where that pays.

torch-uncertainty has no schedule of these methods; it is given the schedule, and its collector of checkpoints. Its wrappers take a checkpoint where a
validation starts, so it validates on {BATCH} rows. torchensemble has no weight averaging.

{parts}
"""


def main():
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=[*NETS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "run":
        run(args)
    else:
        (args.out / "one_run.md").write_text(
            page(json.loads((args.out / "one_run.json").read_text())), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
