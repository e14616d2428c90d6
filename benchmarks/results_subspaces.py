# ruff: noqa: E501
"""Write docs/results/subspaces.md: subspaces of low loss beside networks and ensembles that cost as many epochs.

    OMP_NUM_THREADS=1 python benchmarks/results_subspaces.py run --fashion DIR   # goes on where it stopped
    OMP_NUM_THREADS=1 python benchmarks/results_subspaces.py write

Fashion-MNIST comes from the files of Debian's ``dataset-fashion-mnist``; give the folder that holds
``train-images-idx3-ubyte`` (``.gz`` or not).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from results_trajectory import PROBLEMS, Problem, column, half, measured, with_half

import skfusion
from skfusion import EnsembleClassifier, SubspaceClassifier, WeightAveragingClassifier
from skfusion.collect import Seeds, Untrained
from skfusion.connect import Bezier, LearnedSubspace, Line, SimplexPerMode, Simplicial, Star

OUT = Path(__file__).parents[1] / "docs" / "results"
EPOCHS = {"digits": 120, "fashion": 48}
"""Epochs that each method has in all, of one network in each step."""
ONE, SEVERAL = "one network", "3 networks, a third each"


def share(problem: Problem, part: float) -> int:
    """Return so many of the epochs."""
    return round(part * problem.epochs)


def ensemble(n: int) -> Callable[[Problem, int], Any]:
    """Return the maker of an ensemble whose networks share the epochs, each with half a cosine."""
    return lambda p, seed: EnsembleClassifier(
        replace(p, epochs=share(p, 1 / n)).net(cosine=True), collect=Seeds(n), random_state=seed
    )


def subspace(
    collect: Any, connect: Any, of_networks: float, of_connector: float, predict_with: str = "ensemble"
) -> Callable[[Problem, int], Any]:
    """Return the maker of a subspace, with the shares of the epochs for each network and for each thing that is trained."""

    def make(p: Problem, seed: int) -> Any:
        net = replace(p, epochs=share(p, of_networks)).net(cosine=True)
        chosen = connect(n_epochs=share(p, of_connector), lr=p.lr, weight_decay=5e-4, random_state=seed)
        return SubspaceClassifier(net, collect=collect, connect=chosen, predict_with=predict_with, random_state=seed)

    return make


def learned(basis: Any) -> Callable[..., LearnedSubspace]:
    """Return the maker of a subspace that is learned from scratch."""
    return lambda **settings: LearnedSubspace(basis, **settings)


def grown(kind: Any, n: int) -> Callable[..., Any]:
    """Return the maker of simplexes with n connectors, at one point a step."""
    return lambda **settings: kind(n, n_samples=1, **settings)


METHODS: dict[str, Callable[[Problem, int], Any]] = {
    ONE: ensemble(1),
    "SWA of one run": lambda p, seed: WeightAveragingClassifier(p.net(), random_state=seed),
    SEVERAL: ensemble(3),
    "learned line, midpoint": subspace(Untrained(2), learned(Line()), 1, 1, "midpoint"),
    "learned line, 10 points": subspace(Untrained(2), learned(Line()), 1, 1),
    "learned simplex of 3, midpoint": subspace(Untrained(3), learned(None), 1, 1, "midpoint"),
    "learned simplex of 3, 10 points": subspace(Untrained(3), learned(None), 1, 1),
    "Bezier curve of 2 networks, 10 points": subspace(Seeds(2), Bezier, 1 / 3, 1 / 3),
    "SPRO: 3 networks, 2 connectors": subspace(Seeds(3), grown(Simplicial, 2), 1 / 6, 1 / 4),
    "ESPRO: 3 networks, 1 connector each": subspace(Seeds(3), grown(SimplexPerMode, 1), 1 / 6, 1 / 6),
    "star of 3 networks, centre": subspace(Seeds(3), Star, 1 / 6, 1 / 2, "midpoint"),
    "star of 3 networks, 10 points": subspace(Seeds(3), Star, 1 / 6, 1 / 2),
}


def run(args: argparse.Namespace) -> None:
    """Fit what is not there yet, seed by seed, and keep the numbers after every fit."""
    path = args.out / "subspaces.json"
    kept = json.loads(path.read_text()) if path.exists() else {"fits": {}}
    torch.set_num_threads(1)
    kept["machine"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )
    for seed in range(args.seeds):
        for name, epochs in EPOCHS.items():
            problem, data = replace(PROBLEMS[name], epochs=epochs), None
            known = kept["fits"].setdefault(name, {}).setdefault(str(seed), {})
            for method, make in METHODS.items():
                if method not in known:
                    data = data or problem.data(args, seed)
                    known[method] = measured(problem, make, data, seed)
                    print(name, seed, method, known[method], flush=True)
                    path.write_text(json.dumps(kept, indent=1) + "\n")


def table(fits: dict[str, Any]) -> str:
    """Return the table of one problem."""
    lines = [
        "| method | accuracy, % | to one | to three | log-loss | to one | to three | ECE, % | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        gaps = {
            (key, other): ""
            if method == other
            else with_half(column(fits, method, key) - column(fits, other, key), digits, scale)
            for key, digits, scale in (("score", 2, 100), ("loss", 4, 1))
            for other in (ONE, SEVERAL)
        }
        score, loss, ece, seconds = (column(fits, method, key) for key in ("score", "loss", "ece", "seconds"))
        lines.append(
            f"| {method} | {100 * score.mean():.2f} | {gaps['score', ONE]} | {gaps['score', SEVERAL]} | {loss.mean():.4f} | "
            f"{gaps['loss', ONE]} | {gaps['loss', SEVERAL]} | {100 * ece.mean():.1f} | {np.median(seconds):.1f} |"
        )
    return "\n".join(lines)


def verdicts(fits: dict[str, Any]) -> str:
    """Return in words which methods the paired intervals tell apart from the two baselines."""
    lines = []
    for other in (ONE, SEVERAL):
        for key, what, better in (("score", "accuracy", 1), ("loss", "log-loss", -1)):
            told: dict[int, list[str]] = {1: [], -1: []}
            for method in METHODS:
                gaps = better * (column(fits, method, key) - column(fits, other, key))
                if method != other and abs(gaps.mean()) > half(gaps):
                    told[int(np.sign(gaps.mean()))].append(method)
            found = "; ".join(
                f"{word}: {', '.join(f'*{m}*' for m in told[sign])}"
                for sign, word in ((1, "better"), (-1, "worse"))
                if told[sign]
            )
            lines.append(f"- {what} against *{other}*: {found or 'no method is told apart'}.")
    return "\n".join(lines)


def write(args: argparse.Namespace) -> None:
    """Write the page."""
    kept = json.loads((args.out / "subspaces.json").read_text())
    sections = []
    for name, epochs in EPOCHS.items():
        problem = PROBLEMS[name]
        fits = {s: f for s, f in kept["fits"].get(name, {}).items() if set(METHODS) <= set(f)}
        if len(fits) > 1:
            sections.append(
                f"## {problem.title}\n\n{epochs} epochs in all, of batches of {problem.batch} at a rate of {problem.lr}; {len(fits)} seeds.\n\n"
                f"{table(fits)}\n\nTold apart by the paired intervals:\n\n{verdicts(fits)}\n"
            )
    if not sections:
        raise SystemExit("No problem has two seeds of all methods yet: run first.")
    page = f"""# Subspaces of low loss

<!-- Written by benchmarks/results_subspaces.py. Do not edit: run it again. -->

Lines, simplexes, complexes, curves and stars of networks, beside one network and an ensemble with the same number of epochs. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_subspaces.py run --fashion DIR
    OMP_NUM_THREADS=1 python benchmarks/results_subspaces.py write

on one thread ({kept["machine"]}), which had other work. The numbers of each fit are in [subspaces.json](subspaces.json).

All methods go through the training rows equally often, with one network a step: what is joined is trained for a part of the epochs, and the connector for the rest. Simplexes are grown
with one point a step, where the default is five, which would cost five times as much. The rate, SGD with momentum 0.9, and the weight decay 0.0005 are the same everywhere, and the
rate falls to zero, of curves and stars to a hundredth, but for SWA; no setting was chosen by these numbers. Statistics of BatchNorm are estimated on the training rows at each point. Fashion-MNIST has 3,000 rows to train on, others with each seed, and the whole test set.

After each ± stands half of the 95 % interval of a mean over seeds, Student's, of paired differences: of few seeds, most differences are not told apart. *ECE* is the expected calibration error of the top class
over 15 bins. *s* is the processor's time of a fit, median. *to one* and *to three* are differences to *{ONE}* and to
*{SEVERAL}*. SPRO and ESPRO predict with 10 points, too: of a simplex they are random, and of a curve with both ends.

{chr(10).join(sections)}"""
    (args.out / "subspaces.md").write_text(page.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    running, writing = commands.add_parser("run"), commands.add_parser("write")
    for command in (running, writing):
        command.add_argument("--out", type=Path, default=OUT)
    running.add_argument("--fashion", type=Path, required=True, help="the folder of Fashion-MNIST's files")
    running.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    run(args) if args.what == "run" else write(args)


if __name__ == "__main__":
    main()
