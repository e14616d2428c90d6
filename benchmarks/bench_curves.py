"""What a path of networks costs: to evaluate its points, and to train a curve.

A. A line of 61 points is evaluated by ``loss_along``, beside 61 evaluations by hand: the state of the point is summed
and loaded into a module, which runs forward in batches of 2048 rows; cross-entropy and accuracy are taken. With
BatchNorm, either way passes over the rows once more for its statistics; by hand it is in training mode with a
cumulative average, which is exact for one batch only.

B. A Bezier curve of one bend is trained, beside as many steps of ordinary training of one network: by a loop by hand
(SGD with momentum, rows in a drawn order), and by ``skfusion.nets.fit`` of a skorch net with the same batches.

One thread of torch; medians of the time of the processor in interleaved repeats, which other programs hardly change.

    python benchmarks/bench_curves.py [--repeats 7] [--tables AB] [--quick]
"""

import argparse
import platform
import time
from itertools import pairwise
from statistics import median

import numpy as np
import skorch
import torch
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import nets
from skfusion._rows import Rows
from skfusion.connect import Bezier
from skfusion.landscape import loss_along, segment
from skfusion.nets import Runner

N_POINTS, N_ROWS_AT_ONCE = 61, 2048
ASKED_PATH, ASKED_TRAINING = 0.6, 1.25
PATHS = [  # widths, rows, BatchNorm
    ((20, 64, 64, 2), 200, False),
    ((64, 64, 64, 10), 450, False),
    ((64, 64, 64, 10), 450, True),
    ((784, 128, 10), 10_000, False),
    ((784, 512, 512, 10), 2000, False),
    ((784, 512, 512, 512, 10), 2000, False),
]


class Perceptron(nn.Module):
    """Linear layers with ReLU, and with BatchNorm where it is asked for."""

    def __init__(self, widths=(20, 64, 64, 2), norm=False):
        super().__init__()
        layers = []
        for i, o in pairwise(widths):
            layers += [nn.Linear(i, o), *([nn.BatchNorm1d(o)] if norm else []), nn.ReLU()]
        self.layers = nn.Sequential(*layers[: -2 if norm else -1])

    def forward(self, X):
        return self.layers(X)


class Convolutional(nn.Module):
    """A small network with BatchNorm for images of 28 x 28."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * 7 * 7, 10)),
        )

    def forward(self, X):
        return self.layers(X)


def data(shape, n_rows, n_classes):
    """Return drawn rows."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, *shape)).astype(np.float32)
    return Rows(X, rng.randint(n_classes, size=n_rows))


def states_of(make, n=2):
    """Return states of fresh networks."""
    torch.manual_seed(0)
    return [{k: v.detach() for k, v in make().state_dict().items()} for _ in range(n)]


def medians(ways, repeats):
    """Return the median processor seconds of each way; they take turns, after one turn that does not count."""
    found = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if turn:
                found[name].append(time.process_time() - start)
    return {name: median(times) for name, times in found.items()}


def by_hand(module, ends, rows, norm):
    """Return loss and accuracy of the points of a line, as one would write it."""
    a, b = ends
    x, y = torch.from_numpy(rows.X), torch.from_numpy(rows.y)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d)]
    found = []
    with torch.inference_mode():
        for t in np.linspace(0, 1, N_POINTS):
            module.load_state_dict({k: torch.lerp(v, b[k], t) if v.is_floating_point() else v for k, v in a.items()})
            if norm and 0 < t < 1:
                for m in norms:
                    m.reset_running_stats()
                    m.momentum = None
                module.train()
                for part in x.split(N_ROWS_AT_ONCE):
                    module(part)
                module.eval()
            out = torch.cat([module(part) for part in x.split(N_ROWS_AT_ONCE)])
            found.append((float(nn.functional.cross_entropy(out, y)), float((out.argmax(1) == y).float().mean())))
    return np.array(found)


def paths(cells, repeats):
    """Print the times of evaluating a path."""
    print("| network | rows | 61 by hand, ms | loss_along, ms | ratio | asked | largest difference |")
    print("|---|---|---|---|---|---|---|")
    for widths, n_rows, norm in cells:
        rows = data(widths[:1], n_rows, widths[-1])
        ends = states_of(lambda w=widths, n=norm: Perceptron(w, n))
        net = NeuralNetClassifier(Perceptron, criterion=nn.CrossEntropyLoss, module__widths=widths, module__norm=norm)
        objective = nets.Judge(Runner(net, "classification", rows), rows, rows)
        module = Perceptron(widths, norm).eval()
        line = segment(*ends)
        ways = {
            "hand": lambda m=module, e=ends, r=rows, n=norm: by_hand(m, e, r, n),
            "ours": lambda p=line, o=objective: loss_along(p, o, N_POINTS),
        }
        off = np.abs(ways["hand"]()[:, 0] - ways["ours"]().loss).max()
        times = medians(ways, repeats)
        name = "-".join(map(str, widths)) + (" with BatchNorm" if norm else "")
        print(
            f"| {name} | {n_rows} | {1e3 * times['hand']:.1f} | {1e3 * times['ours']:.1f} "
            f"| {times['ours'] / times['hand']:.2f}x | {ASKED_PATH}x | {off:.0e} |",
            flush=True,
        )


def bare(make, rows, batch_size, n_epochs):
    """Train one network by a loop by hand."""
    torch.manual_seed(0)
    module = make()
    x, y = torch.from_numpy(rows.X), torch.from_numpy(rows.y)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    for _ in range(n_epochs):
        for some in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[some]), y[some]).backward()
            optimizer.step()


def net_of(make, batch_size, n_epochs):
    """Return a net whose training takes the same batches."""
    return NeuralNetClassifier(
        make,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.01,
        batch_size=batch_size,
        max_epochs=n_epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def training(connect, column, asked, cells, repeats):
    """Print the times of training what ``connect(n_epochs)`` makes of two states."""
    head = ("network", "batch", "steps", "loop by hand, ms", "nets.fit, ms", column, "to the loop", "to nets.fit")
    print(f"| {' | '.join([*head, 'asked'])} |\n|{'---|' * (len(head) + 1)}")
    for name, make, shape, n_classes, n_rows, batch_size, n_epochs in cells:
        rows = data(shape, n_rows, n_classes)
        net = net_of(make, batch_size, n_epochs)
        objective = nets.Judge(Runner(net, "classification", rows), rows, rows)
        states, component = states_of(make), connect(n_epochs)
        times = medians(
            {
                "bare": lambda a=(make, rows, batch_size, n_epochs): bare(*a),
                "fit": lambda n=net, r=rows: nets.fit(n, r, 0),
                "ours": lambda c=component, s=states, o=objective: c(s, o),
            },
            repeats,
        )
        steps = n_epochs * -(-n_rows // batch_size)
        print(
            f"| {name} | {batch_size} | {steps} | {1e3 * times['bare']:.0f} | {1e3 * times['fit']:.0f} "
            f"| {1e3 * times['ours']:.0f} | {times['ours'] / times['bare']:.2f}x | {times['ours'] / times['fit']:.2f}x "
            f"| {asked}x |",
            flush=True,
        )


def trained(quick):
    """Return what is trained: name, how it is made, shape of a row, classes, rows, batch size, epochs."""
    small, wide = (20, 64, 64, 2), (784, 512, 512, 10)
    n = 1 if quick else 10
    return [
        ("20-64-64-2", lambda: Perceptron(small), (20,), 2, 4096, 128, n),
        ("784-512-512-10", lambda: Perceptron(wide), (784,), 10, 2048, 128, 1 if quick else 6),
        ("convolutions with BatchNorm", Convolutional, (1, 28, 28), 10, 1024, 64, 1 if quick else 2),
    ]


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count; the median is shown")
    parser.add_argument("--tables", default="AB", help="which tables: A, B")
    parser.add_argument("--quick", action="store_true", help="one round of small cells: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    repeats, cells = (1, PATHS[:3]) if args.quick else (args.repeats, PATHS)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, skfusion "
        f"{skfusion.__version__}; {torch.get_num_threads()} thread; processor time, median of {repeats} interleaved "
        "repeats."
    )
    if "A" in args.tables:
        print("\nA. Loss and score at 61 points of a line\n")
        paths(cells, repeats)
    if "B" in args.tables:
        print("\nB. A curve of one bend, beside ordinary training of as many steps\n")
        training(lambda n: Bezier(n_epochs=n, lr=0.01), "Bezier, ms", ASKED_TRAINING, trained(args.quick), repeats)


if __name__ == "__main__":
    main()
