"""What averages along a training cost, beside the training alone.

`papa`: a population of 16 perceptrons that are pulled towards their mean every 10 steps, beside 16 independent ones,
both as one vectorized program on one thread. Ways take turns, and the least processor time of each is compared, which
other programs on the machine disturb least.

    python benchmarks/bench_average.py [--repeats 7] [--quick]
"""

import argparse
import platform
import time

import numpy as np
import torch

import skfusion
from skfusion.collect import PAPA, Seeds
from skfusion.nets import mlp_classifier

MOST = 1.15
"""How much more a population may cost than independent members."""


def papa(repeats, quick=False):
    """Print what a population of 16 perceptrons costs, as a ratio to 16 independent ones."""
    rng = np.random.RandomState(0)
    n_rows, n_members = (200, 4) if quick else (2000, 16)
    X = rng.normal(size=(n_rows, 20)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    net = mlp_classifier(max_epochs=5, module__hidden=(64, 64), batch_size=64)
    ways = {"independent": Seeds(n_members, vectorize=True), "PAPA": PAPA(n_members, vectorize=True)}
    times = {name: [] for name in ways}
    for way in ways.values():  # once beforehand: the first call of all is slower
        way.collect(net, X[:200], y[:200])
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way.collect(net, X, y)
            times[name].append(time.process_time() - start)
    alone, together = (min(of_way) for of_way in times.values())
    met = "yes" if together <= MOST * alone else "no"
    print(f"| {n_members} perceptrons 20-64-64-2, {n_rows} rows | independent | PAPA | ratio | at most {MOST}x |")
    print("|---" * 5 + "|")
    print(f"| seconds | {alone:.3f} | {together:.3f} | {together / alone:.3f}x | {met} |", flush=True)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few rows, once: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}"
    print(f"{versions}; 1 thread.\n")
    papa(1 if args.quick else args.repeats, args.quick)


if __name__ == "__main__":
    main()
