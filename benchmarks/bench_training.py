"""What it costs to train a network through a collector, beside a bare torch loop and beside skorch by itself.

A perceptron 20-64-64-1 on 4096 rows, Adam, 10 epochs (skorch's default), one thread. Every time is that of the whole
call: set-up, hashes of the rows and copies of the state included. All ways of training take turns, and medians of
processor time are compared, which other programs on the machine disturb least.

    python benchmarks/bench_training.py [--repeats 7] [--epochs 10] [--batch 32 128 512]
"""

import argparse
import platform
import time
from statistics import median

import numpy as np
import sklearn
import skorch
import torch
from skorch import NeuralNetRegressor
from torch import nn

import skfusion
from skfusion.collect import Seeds
from skfusion.nets import MLP, mlp_regressor

N_ROWS, N_IN = 4096, 20
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N_ROWS, N_IN)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + 0.1 * RNG.normal(size=(N_ROWS, 1))).astype(np.float32)

BARE, BARE_FUSED = "bare loop, Adam", "bare loop on our MLP, AdamW(fused=True)"


class Module(nn.Module):
    """The network of the comparison."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, X):
        return self.layers(X)


def bare(module, optimizer, batch, epochs):
    """Train as one would write it by hand: shuffle, cut, step; sum up the loss."""
    inputs, targets, loss_of = torch.from_numpy(X), torch.from_numpy(Y), nn.MSELoss()
    module.train()
    for _ in range(epochs):
        order = torch.randperm(len(inputs))
        total = 0.0
        for start in range(0, len(inputs), batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = loss_of(module(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)


def bare_adam(batch, epochs):
    """Train the network by hand."""
    module = Module()
    bare(module, torch.optim.Adam(module.parameters(), lr=1e-3), batch, epochs)


def bare_fused(batch, epochs):
    """Train the library's perceptron by hand, with the optimiser that it has by default."""
    module = MLP(N_IN, 1)
    bare(module, torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True), batch, epochs)


def net(batch, epochs, **params):
    """Return the skorch net that a user would write."""
    return NeuralNetRegressor(
        Module, optimizer=torch.optim.Adam, lr=1e-3, batch_size=batch, max_epochs=epochs, verbose=0, **params
    )


def collected(estimator):
    """Train one member with a collector."""
    return Seeds(1).collect(estimator, X, Y, random_state=0)


# name -> (train(batch, epochs), the bare loop to compare with)
WAYS = {
    BARE: (bare_adam, BARE),
    "skorch by itself": (lambda b, e: net(b, e).fit(X, Y), BARE),
    "skorch by itself, train_split=None": (lambda b, e: net(b, e, train_split=None).fit(X, Y), BARE),
    "Seeds(1), the same net": (lambda b, e: collected(net(b, e)), BARE),
    "Seeds(1), train_split=None": (lambda b, e: collected(net(b, e, train_split=None)), BARE),
    BARE_FUSED: (bare_fused, BARE_FUSED),
    "Seeds(1), mlp_regressor()": (lambda b, e: collected(mlp_regressor(batch_size=b, max_epochs=e)), BARE_FUSED),
}


def measured(batch, epochs, repeats):
    """Return the median seconds of each way of training; the ways take turns."""
    found = {name: [] for name in WAYS}
    for repeat in range(repeats + 1):
        for name, (train, _) in WAYS.items():
            start = time.process_time()
            train(batch, epochs)
            if repeat:  # the first round warms up
                found[name].append(time.process_time() - start)
    return {name: median(times) for name, times in found.items()}


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count; the median is shown")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of a training")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128, 512], help="batch sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    times = {batch: measured(batch, args.epochs, args.repeats) for batch in args.batch}
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, scikit-learn "
        f"{sklearn.__version__}, skfusion {skfusion.__version__}; {torch.get_num_threads()} thread; {N_ROWS} rows, "
        f"{args.epochs} epochs; median of {args.repeats} interleaved repeats.\n"
    )
    print("Processor time in ms an epoch, and its ratio to the bare loop of the same group:\n")
    print("| | " + " | ".join(f"batch {batch}" for batch in args.batch) + " |")
    print("|---|" + "---|" * len(args.batch))
    for name, (_, reference) in WAYS.items():
        cells = [
            f"{1e3 * times[b][name] / args.epochs:.1f} ({times[b][name] / times[b][reference]:.2f}x)"
            for b in args.batch
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
