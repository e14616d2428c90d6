"""What averages of a run cost, one thread.

Post-hoc synthesis: averages of 20 lengths are made of 40 snapshots of a network with ten million parameters, all at
once, which reads each snapshot once, and one by one, as a search does. Times are of the processor: those of the wall
clock are as long where nothing else runs.

``papa``: a population of 16 perceptrons that are pulled towards their mean every 10 steps, beside 16 independent ones,
both as one vectorized program. Ways take turns, and the least processor time of each is compared, which other programs
on the machine disturb least.

    python benchmarks/bench_average.py [--repeats 7] [--parameters 10000000] [--lengths 20] [--quick]
"""

import argparse
import platform
import time

import numpy as np
import torch

import skfusion
from skfusion.collect import PAPA, Seeds
from skfusion.merge import PostHocEMA
from skfusion.nets import mlp_classifier
from skfusion.state import distance

ASKED_SYNTHESIS = 2.0
"""Seconds that the synthesis of 20 lengths is asked to take at most."""


def clocked(function):
    """Return what a function returns, and the seconds of the processor that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def synthesis(n_parameters, n_lengths):
    """Print what it costs to make averages of many lengths of the snapshots of one run."""
    generator = torch.Generator().manual_seed(0)
    profiles = [(sigma, 50 * (i + 1)) for sigma in (0.05, 0.1) for i in range(20)]
    states = [{"w": torch.randn(n_parameters, generator=generator)} for _ in profiles]
    sigmas = np.linspace(0.04, 0.24, n_lengths).tolist()
    made, at_once = clocked(lambda: PostHocEMA(profiles=profiles).at_lengths(states, sigmas))
    one, alone = clocked(lambda: PostHocEMA(sigmas[1], profiles=profiles)(states))
    apart = distance(one, made[1]) / n_parameters**0.5
    print(f"| {n_lengths} lengths of {n_parameters:,} parameters, at once | {at_once:.2f} s |")
    print(f"| one length by itself | {alone:.2f} s |")
    print(f"root mean square difference of the two ways: {apart:.1e}")
    if n_parameters == 10**7 and n_lengths == 20:
        print(f"asked: at most {ASKED_SYNTHESIS} s at once: {'yes' if at_once <= ASKED_SYNTHESIS else 'NO'}")


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
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parameters", type=int, default=10**7)
    parser.add_argument("--lengths", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few parameters and rows: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"skfusion {skfusion.__version__}, torch {torch.__version__}, {platform.processor() or platform.machine()}")
    synthesis(10**5 if args.quick else args.parameters, args.lengths)
    papa(1 if args.quick else args.repeats, args.quick)


if __name__ == "__main__":
    main()
