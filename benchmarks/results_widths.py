# ruff: noqa: E501
"""Write docs/results/widths.md: a narrow and a wide network of the digits fused into either width, and fine-tuned.

OMP_NUM_THREADS=1 python benchmarks/results_widths.py [--out docs/results]
"""

import argparse
import platform
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import skfusion
from skfusion.merge import Barycenter, ZipIt
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import Fused

SEEDS, WIDTHS, EPOCHS, TUNING, LR = 3, (64, 96), 100, 10, 3e-3
MERGERS = {
    "`Barycenter()`, 64": Barycenter(),
    "`Barycenter(width=96)`": Barycenter(width=96),
    "`ZipIt()`, 64": ZipIt(),
    "`ZipIt(ratio=0.4)`, 96": ZipIt(ratio=0.4),
}
SMALL, LARGE, PLAIN, ENSEMBLE = "member, 64", "member, 96", "mean without matching, 64", "both members' mean logits"
LONGER = "one network, 96, on all rows for 200 epochs"


def perceptron(width, depth):
    """Return a perceptron for the digits."""
    parts = [[nn.Linear(i, o), nn.ReLU()] for i, o in pairwise([64, *[width] * depth])]
    return nn.Sequential(*[m for part in parts for m in part], nn.Linear(width, 10))


def train(net, x, y, epochs, seed):
    """Train a network by Adam on batches of 64 rows, and return it."""
    generator, optimizer = torch.Generator().manual_seed(seed), torch.optim.Adam(net.parameters(), lr=LR)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net


def merged(merge, members, x, y):
    """Return what a merger makes of two networks, as a module."""
    data = ModuleObjective(members[0], lambda: [Batch(x, y)])
    result = merge([m.state_dict() for m in members], None, data)
    state, net = result if isinstance(result, Fused) else (result, deepcopy(members[0]))
    net.load_state_dict(state)
    return net


def plain_mean(members):
    """Return the mean of the first units of both members, unit by unit as they stand."""
    small, large = (m.state_dict() for m in members)
    net = deepcopy(members[0])
    net.load_state_dict({k: (v + large[k][tuple(map(slice, v.shape))]) / 2 for k, v in small.items()})
    return net


def accuracy(nets, x, y):
    """Return the accuracy of the mean of the logits of networks."""
    with torch.no_grad():
        return float((sum(net(x) for net in nets).argmax(1) == y).float().mean())


def scores(depth, apart, seed):
    """Return the test accuracy before and after the fine-tune, by name."""
    X, Y = load_digits(return_X_y=True)
    parts = train_test_split((X / 16).astype(np.float32), Y, test_size=0.8, random_state=seed)
    x, x_test, y, y_test = map(torch.from_numpy, parts)
    members = []
    for k, width in enumerate(WIDTHS):
        torch.manual_seed(10 * seed + k)
        rows = slice(k, None, 2) if apart else slice(None)
        members.append(train(perceptron(width, depth), x[rows], y[rows], EPOCHS, 2 * seed + k))
    nets = {SMALL: members[0], LARGE: members[1]}
    nets |= {name: merged(merge, members, x, y) for name, merge in MERGERS.items()}
    nets[PLAIN] = plain_mean(members)
    torch.manual_seed(10 * seed + 1)
    nets[LONGER] = train(perceptron(WIDTHS[1], depth), x, y, 2 * EPOCHS, 2 * seed + 1)
    tuned = {name: train(deepcopy(net), x, y, TUNING, 99) for name, net in nets.items()}
    out = {
        name: (accuracy([net], x_test, y_test), accuracy([tuned[name]], x_test, y_test)) for name, net in nets.items()
    }
    both = (accuracy(members, x_test, y_test), accuracy([tuned[SMALL], tuned[LARGE]], x_test, y_test))
    return out | {ENSEMBLE: both}


def table(depth, apart):
    """Return a table of means over seeds, with the difference to the tuned small member of each seed."""
    runs = [scores(depth, apart, seed) for seed in range(SEEDS)]
    lines = ["| network | at once | fine-tuned | minus the fine-tuned member of 64, by seed |", "|---|---|---|---|"]
    for name in runs[0]:
        before, after = np.mean([run[name] for run in runs], 0)
        gaps = ", ".join(f"{run[name][1] - run[SMALL][1]:+.4f}" for run in runs)
        lines.append(f"| {name} | {before:.4f} | {after:.4f} | {gaps} |")
    return "\n".join(lines)


def main(out):
    """Write the page."""
    page = f"""# Networks of different widths

Written by `benchmarks/results_widths.py` (skfusion {skfusion.__version__}, torch {torch.__version__}, Python
{platform.python_version()}). Two perceptrons, of {WIDTHS[0]} and of {WIDTHS[1]} units a hidden layer, are trained for {EPOCHS} epochs on 359 digits,
fused, and all networks are tuned for {TUNING} epochs more on all 359 rows, by the same optimiser (Adam, {LR}) and batches. Accuracy on the
other 1438 rows, means of {SEEDS} seeds.
"""
    for apart in (False, True):
        for depth in (1, 2):
            rows = "on one half of the rows each" if apart else "on all rows"
            page += f"\n## {depth} hidden layer{'s' * (depth > 1)}, members trained {rows}\n\n{table(depth, apart)}\n"
    (Path(out) / "widths.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/results")
    torch.set_num_threads(1)
    main(parser.parse_args().out)
