"""What the exact Fisher information of a network costs, beside a loop over rows and classes.

A thousand rows of ten classes, one thread. The loop is what one writes by hand: a forward pass for each row, and for
each class a backward pass, whose squared gradients are summed by the probability of the class. Ways take turns, and
medians of processor time are compared. The last column is by how much the two differ at most, of the largest number.

    python benchmarks/bench_fisher.py [--rows 1000] [--repeats 3] [--quick]
"""

import argparse
import platform
import time
from itertools import pairwise
from statistics import median

import torch
from torch import nn

import skfusion
from skfusion.merge.statistics._fisher import mean_squares
from skfusion.merge.statistics._squares import Gradients
from skfusion.objective import Batch, Likelihood, ModuleObjective
from skfusion.state import owners

N_CLASSES = 10
ASKED = 20
"""How many times sooner than the loop a perceptron is asked to be done."""


def perceptron(*widths, norm=False):
    """Return a perceptron."""
    layers = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), *([nn.BatchNorm1d(o)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], N_CLASSES))


def convolutional():
    """Return a small network for images of 28 x 28."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 5 * 5, N_CLASSES)),
    )


# name -> (network, shape of a row, whether a ratio is asked)
NETWORKS = {
    "perceptron 64-32": (lambda: perceptron(64, 32), (64,), True),
    "perceptron 64-64-64": (lambda: perceptron(64, 64, 64), (64,), True),
    "perceptron 64-256-256": (lambda: perceptron(64, 256, 256), (64,), True),
    "perceptron 784-512-512": (lambda: perceptron(784, 512, 512), (784,), True),
    "perceptron 64-64-64, BatchNorm": (lambda: perceptron(64, 64, 64, norm=True), (64,), False),
    "convolutional, 28 x 28": (convolutional, (1, 28, 28), False),
}
QUICK = ["perceptron 64-64-64"]


def looped(module, x):
    """Return the Fisher information by hand."""
    parameters = [*module.parameters()]
    total = [torch.zeros_like(p) for p in parameters]
    for row in x:
        log_p = module(row[None]).log_softmax(1)[0]
        p = log_p.exp().tolist()
        for c in range(N_CLASSES):
            gradients = torch.autograd.grad(log_p[c], parameters, retain_graph=True)
            for t, g in zip(total, gradients, strict=True):
                t.addcmul_(g, g, value=p[c] / len(x))
    return dict(zip((name for name, _ in module.named_parameters()), total, strict=True))


def ours(module, x):
    """Return the Fisher information as Fisher() takes it."""
    likelihood = Likelihood("categorical", lambda out: out)
    rows = [Batch(x, torch.zeros(len(x)))]
    data = ModuleObjective(module, lambda: rows, lambda s: 0.0, lambda s: 0.0, likelihood=likelihood)
    state = {name: t.detach() for name, t in module.state_dict().items()}
    names = tuple(name for name, _ in module.named_parameters())
    gradients = Gradients(data, likelihood, state, owners([state]), names)
    return mean_squares(gradients, rows, "exact", torch.Generator().manual_seed(0))


def measured(make, shape, n_rows, repeats):
    """Return the median seconds of the loop and of ours, and by how much they differ."""
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(n_rows, *shape)
    looped(module, x[:20]), ours(module, x[:20])
    times, found = {looped: [], ours: []}, {}
    for _ in range(repeats):
        for way in times:
            start = time.process_time()
            found[way] = way(module, x)
            times[way].append(time.process_time() - start)
    off = max(float((found[ours][k] - t).abs().max() / t.abs().max()) for k, t in found[looped].items())
    return median(times[looped]), median(times[ours]), off, sum(p.numel() for p in module.parameters())


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one network, few rows, once: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.quick:
        args.rows, args.repeats = 100, 1
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}; "
        f"{torch.get_num_threads()} thread; {args.rows} rows, {N_CLASSES} classes; median of {args.repeats}. Seconds.\n"
    )
    print("| network | parameters | loop | Fisher | ratio | asked | differ by |")
    print("|---" * 7 + "|")
    for name in QUICK if args.quick else NETWORKS:
        make, shape, is_asked = NETWORKS[name]
        loop, own, off, d = measured(make, shape, args.rows, args.repeats)
        asked = f"{ASKED}x: {'yes' if loop / own >= ASKED else 'no'}" if is_asked else ""
        print(f"| {name} | {d} | {loop:.2f} | {own:.3f} | {loop / own:.0f}x | {asked} | {off:.0e} |", flush=True)


if __name__ == "__main__":
    main()
