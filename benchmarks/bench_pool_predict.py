"""What it costs to predict with a pool of networks, and to make a greedy soup of it.

Fifty perceptrons 20-64-64-3 (``--members``) and a small convolutional network, one thread of torch, medians of the wall
clock of interleaved repeats. The bare loop is what one writes by hand: each module in evaluation mode and without
gradients, and a softmax. Every way gives the probabilities of all members, shape (n_members, n_rows, n_classes).

    python benchmarks/bench_pool_predict.py [--repeats 9] [--members 50] [--quick]
"""

import argparse
import platform
import subprocess
import sys
import time
from statistics import median

import numpy as np
import sklearn
import skorch
import torch
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import nets
from skfusion._rows import Rows
from skfusion.merge import Greedy
from skfusion.nets import BatchedPredictor, Runner

ROWS = (1, 10, 100, 1000, 10_000)
ASKED_LOOP = {1: 12.0, 10_000: 1 / 1.05}
ASKED_SKORCH = {10_000: 1.6}
ASKED_GREEDY = {1000: 1.3, 10_000: 1.05}


class Perceptron(nn.Module):
    """The network of the comparison."""

    def __init__(self, hidden=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(20, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3)
        )

    def forward(self, X):
        return self.layers(X)


class Convolutional(nn.Module):
    """A small network for images of 28 x 28."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * 5 * 5, 3)),
        )

    def forward(self, X):
        return self.layers(X)


class Pool:
    """The same networks as modules, as states and as skorch nets."""

    def __init__(self, module, n_members, near=False):
        torch.manual_seed(0)
        self.modules = [module().eval() for _ in range(n_members)]
        if near:  # members around one point, so that a soup of them is worth something
            with torch.no_grad():
                for m in self.modules[1:]:
                    for own, first in zip(m.parameters(), self.modules[0].parameters(), strict=True):
                        own.copy_(first + 0.02 * torch.randn_like(first))
        self.states = [{k: v.detach() for k, v in m.state_dict().items()} for m in self.modules]
        net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, verbose=0)
        self.runner = Runner(net, "classification")
        self.predictor = BatchedPredictor(self.runner, self.states)
        self.skorch = [NeuralNetClassifier(m, criterion=nn.CrossEntropyLoss).initialize() for m in self.modules]

    def bare(self, X):
        """Predict as one would write it."""
        x = torch.from_numpy(X)
        with torch.inference_mode():
            return torch.stack([m(x).softmax(1) for m in self.modules]).numpy()

    def by_skorch(self, X):
        """Predict with one net after another."""
        return np.stack([net.predict_proba(X) for net in self.skorch])


def inputs(n, image=False):
    """Return rows, or images."""
    return np.random.RandomState(0).normal(size=(n, 1, 28, 28) if image else (n, 20)).astype(np.float32)


def medians(ways, repeats):
    """Return the median seconds of each way; they take turns, and quick ones are run several times a turn."""
    found = {name: [] for name in ways}
    loops = {}
    for name, way in ways.items():
        for _ in range(3):  # a number of rows that comes again is prepared for in the second call
            way()
        start = time.perf_counter()
        way()
        loops[name] = max(1, int(0.02 / (time.perf_counter() - start)))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(loops[name]):
                way()
            found[name].append((time.perf_counter() - start) / loops[name])
    return {name: median(times) for name, times in found.items()}


def processor_time(ways, repeats):
    """Return the least processor seconds of each way, which a busy machine does not change; they take turns."""
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            start, n_calls = time.process_time(), 0
            while not n_calls or time.process_time() - start < 0.02:
                way()
                n_calls += 1
            least[name] = min(least[name], (time.process_time() - start) / n_calls)
    return least


def asked(bounds, n):
    """Return what a ratio is asked to be."""
    return f"{bounds[n]:.2f}x" if n in bounds else ""


def predicting(module, n_members, rows, repeats, image=False):
    """Print the times of predicting with all members."""
    pool = Pool(module, n_members)
    print("| rows | bare loop, ms | skorch, ms | skfusion, ms | to the loop | asked | to skorch | asked | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n in rows:
        X = inputs(n, image)
        ways = {
            "bare": lambda X=X: pool.bare(X),
            "skorch": lambda X=X: pool.by_skorch(X),
            "skfusion": lambda X=X: pool.predictor.predict(X),
        }
        found = medians(ways, repeats)
        off = np.abs(pool.bare(X) - pool.predictor.predict(X)).max()
        loop, skorch_ratio = (found[name] / found["skfusion"] for name in ("bare", "skorch"))
        bounds = ({}, {}) if image else (ASKED_LOOP, ASKED_SKORCH)
        print(
            f"| {n} | {1e3 * found['bare']:.3f} | {1e3 * found['skorch']:.2f} | {1e3 * found['skfusion']:.3f} "
            f"| {loop:.2f}x | {asked(bounds[0], n)} | {skorch_ratio:.1f}x | {asked(bounds[1], n)} | {off:.0e} |"
        )


def soup(n_members, rows, repeats):
    """Print the time of greedy soups, as a multiple of bare forward passes over the held-out rows."""
    pool = Pool(Perceptron, n_members, near=True)
    print(
        "| held-out rows | candidates | greedy soup, ms | one bare pass, ms | total / (candidates x pass) | asked "
        "| by processor time |\n|---|---|---|---|---|---|---|"
    )
    for n in rows:
        X = inputs(n)
        labels = pool.bare(X)[0].argmax(1)
        held_out = Rows(X, labels)
        objective = nets.Judge(pool.runner, held_out, held_out)
        x = torch.from_numpy(X)

        def bare(x=x):
            with torch.inference_mode():
                return pool.modules[0](x)

        ways = {"greedy": lambda o=objective: Greedy()(pool.states, objective=o), "bare": bare}
        found, least = medians(ways, repeats), processor_time(ways, repeats)
        n_candidates = 2 * n_members - 1
        ratio, by_processor = (times["greedy"] / n_candidates / times["bare"] for times in (found, least))
        print(
            f"| {n} | {n_candidates} | {1e3 * found['greedy']:.1f} | {1e3 * found['bare']:.3f} | {ratio:.2f}x "
            f"| {asked(ASKED_GREEDY, n)} | {by_processor:.2f}x |"
        )


def grown(way, n_members, n_rows):
    """Return by how many bytes the peak memory of this process grows in one prediction."""
    pool, X = Pool(Perceptron, n_members), inputs(n_rows)
    predict = pool.bare if way == "bare" else pool.predictor.predict
    predict(inputs(300))
    before = _peak()
    predict(X)
    return _peak() - before


def _peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def memory(n_members, n_rows):
    """Print the growth of memory of both ways, each in a process of its own."""
    found = {}
    for way in ("bare", "skfusion"):
        command = [sys.executable, __file__, "--grown", way, "--members", str(n_members), "--rows", str(n_rows)]
        found[way] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"Peak memory at {n_rows} rows, grown by one prediction in a process of its own: bare loop "
        f"{found['bare'] / 2**20:.1f} MiB, skfusion {found['skfusion'] / 2**20:.1f} MiB "
        f"({found['skfusion'] / max(1, found['bare']):.2f}x, asked 1.05x)."
    )


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, help="rounds that count; the median is shown")
    parser.add_argument("--members", type=int, default=50, help="networks of a pool")
    parser.add_argument("--quick", action="store_true", help="one round of small cells: whether it runs")
    parser.add_argument("--grown", choices=["bare", "skfusion"], help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=10_000, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.grown:
        print(grown(args.grown, args.members, args.rows))
        return
    repeats, rows = (1, ROWS[:3]) if args.quick else (args.repeats, ROWS)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, scikit-learn "
        f"{sklearn.__version__}, skfusion {skfusion.__version__}; {torch.get_num_threads()} thread; "
        f"{args.members} members; median of {repeats} interleaved repeats.\n"
    )
    print("A. Perceptrons 20-64-64-3: probabilities of all members\n")
    predicting(Perceptron, args.members, rows, repeats)
    print()
    memory(args.members, rows[-1])
    print("\nB. Small convolutional networks, images of 28 x 28\n")
    predicting(Convolutional, 10, (1, 64) if args.quick else (1, 4, 16, 64, 512), min(repeats, 5), image=True)
    print("\nC. Greedy soups of perceptrons 20-64-64-3\n")
    soup(args.members, rows[-2:], repeats)


if __name__ == "__main__":
    main()
