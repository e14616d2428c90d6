"""What it costs to train a pool of like networks as one vectorized program, beside training them one after another.

Perceptrons 20-h-h-1 on 4096 rows (Adam, 10 epochs), in one process and in two, and classifiers 20-h-h-10 in 5 and in 10
epochs; a small convolutional network; other layers; the memory that vectorized training takes; and, with ``--device
cuda``, pools on a GPU. One thread of torch, unless the table says that two trainings run at once. All
ways of training a pool take turns, and medians of the wall clock are compared: unlike processor time, it counts what
several processes or a GPU do at once. Run it on a machine that is otherwise idle.

A time is that of the whole call, set-up included. Ways that train members one after another are timed on a few of
them, and the time is multiplied: their cost is proportional to the number of members. Vectorized pools are timed whole.

torchensemble takes part where it is installed: ``pip install --no-deps torchensemble``.

    python benchmarks/bench_pool_training.py [--repeats 5] [--epochs 10] [--sections ABCDEG] [--device cuda] [--quick]
"""

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import sklearn
import skorch
import torch
from joblib import Parallel, delayed
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import skfusion
from skfusion.collect import Seeds

try:
    from torchensemble import VotingRegressor
except ImportError:
    VotingRegressor = None

N_ROWS, N_IN, LENGTH, N_WORDS = 4096, 20, 16, 50
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N_ROWS, N_IN)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + 0.1 * RNG.normal(size=(N_ROWS, 1))).astype(np.float32)
IMAGES = RNG.normal(size=(512, 1, 28, 28)).astype(np.float32)
DIGITS = RNG.randint(10, size=512)
WORDS = RNG.randint(N_WORDS, size=(1024, LENGTH))
CLASSES = RNG.randint(10, size=N_ROWS)
COUNTS = (WORDS < 10).mean(1, keepdims=True).astype(np.float32)

CELLS = [(64, 128, 4), (64, 128, 16), (64, 128, 64), (16, 32, 16), (16, 32, 64), (256, 128, 16), (1024, 128, 4)]
"""(hidden, batch, K) of the pools of perceptrons."""
ASKED_BARE = {(64, 128, 16): 3.5, (64, 128, 64): 3.5, (16, 32, 64): 25}
ASKED_SKORCH = {(64, 128, 16): 8, (64, 128, 64): 8}
"""How many times sooner than the bare loops, and than skorch, vectorized training is asked to be done."""
CLASSIFIERS = [(64, 128, 4), (64, 128, 16), (64, 128, 64), (16, 32, 16)]
"""(hidden, batch, K) of the pools of classifiers."""
ASKED_CLASSIFIERS = {(10, False): (4, 10), (5, False): (None, 8), (10, True): (2.4, None)}
"""By epochs, and whether two trainings run at once: as in the two tables above, at hidden 64, batch 128 and K = 16."""
ASKED_PROCESSES, ASKED_MEMORY = 7, 1.3
NOISE = 0.05
"""Two ways whose times differ by less are as fast as each other."""


class Perceptron(nn.Module):
    """The network of the comparison; ``between`` makes a layer that stands before each ReLU."""

    def __init__(self, hidden=64, between=None, n_out=1):
        super().__init__()
        parts = []
        for n_in in (N_IN, hidden):
            parts += [nn.Linear(n_in, hidden), *([] if between is None else [between(hidden)]), nn.ReLU()]
        self.layers = nn.Sequential(*parts, nn.Linear(hidden, n_out))

    def forward(self, X):
        return self.layers(X)


class Convolutional(nn.Module):
    """A small network for images of 28 x 28."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * 5 * 5, 10)),
        )

    def forward(self, X):
        return self.layers(X)


class Attention(nn.Module):
    """An embedding and one layer of a transformer."""

    def __init__(self, hidden=64, dropout=0.0):
        super().__init__()
        self.embedding = nn.Embedding(N_WORDS, hidden)
        self.layer = nn.TransformerEncoderLayer(hidden, 4, hidden, dropout, batch_first=True)
        self.last = nn.Linear(hidden, 1)

    def forward(self, X):
        return self.last(self.layer(self.embedding(X)).mean(1))


def dropout(hidden):
    """Return a layer of dropout, whose argument is not a size."""
    return nn.Dropout(0.2)


class Way(NamedTuple):
    """A way to train a pool: ``train(n_members, epochs)``, timed on ``n`` of the ``k`` members."""

    train: Callable[[int, int], None]
    n: int
    k: int


class Problem(NamedTuple):
    """A network, its data and how it is trained."""

    module: type
    params: dict
    X: np.ndarray
    Y: np.ndarray
    batch: int
    device: str = "cpu"

    def net(self, epochs, **params):
        """Return the skorch net that a user would write."""
        classifies = self.Y.dtype.kind == "i"
        return (NeuralNetClassifier if classifies else NeuralNetRegressor)(
            self.module,
            criterion=nn.CrossEntropyLoss if classifies else nn.MSELoss,
            optimizer=torch.optim.Adam,
            lr=1e-3,
            batch_size=self.batch,
            max_epochs=epochs,
            device=self.device,
            verbose=0,
            **{f"module__{name}": value for name, value in self.params.items()},
            **params,
        )

    def bare(self, n, epochs):
        """Train networks as one would by hand: shuffle, cut, step; sum up the loss."""
        inputs, targets = torch.from_numpy(self.X).to(self.device), torch.from_numpy(self.Y).to(self.device)
        loss_of = nn.CrossEntropyLoss() if self.Y.dtype.kind == "i" else nn.MSELoss()
        for _ in range(n):
            module = self.module(**self.params).to(self.device).train()
            optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
            for _ in range(epochs):
                order = torch.randperm(len(inputs), device=self.device)
                total = 0.0
                for start in range(0, len(inputs), self.batch):
                    rows = order[start : start + self.batch]
                    optimizer.zero_grad()
                    loss = loss_of(module(inputs[rows]), targets[rows])
                    loss.backward()
                    optimizer.step()
                    total += loss.item() * len(rows)

    def skorch(self, n, epochs):
        """Train networks with skorch by itself."""
        for _ in range(n):
            self.net(epochs).fit(self.X, self.Y)

    def seeds(self, vectorize, n_jobs=1, **params):
        """Return a function that trains a pool with a collector; on all rows, unless another ``train_split`` is given.

        A net that should be vectorized and is not is an error.
        """
        params = {"train_split": None, **params}

        def train(n, epochs):
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "The members are trained one after another")
                Seeds(n, vectorize=vectorize).collect(
                    self.net(epochs, **params), self.X, self.Y, random_state=0, n_jobs=n_jobs
                )

        return train

    def torchensemble(self, n_jobs):
        """Return a function that trains a pool with torchensemble."""

        def train(n, epochs):
            rows = DataLoader(TensorDataset(torch.from_numpy(self.X), torch.from_numpy(self.Y)), self.batch, True)
            pool = VotingRegressor(self.module, n, self.params, cuda=False, n_jobs=n_jobs)
            pool.set_criterion(nn.MSELoss())
            pool.set_optimizer("Adam", lr=1e-3)
            pool.fit(rows, epochs, log_interval=10**9, save_model=False)

        return train


@contextmanager
def hushed():
    """Discard what is printed, in processes that start here too: torchensemble reports each epoch of each member."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
        sys.stdout.flush()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def seconds(way, epochs):
    """Return the wall clock time of training the pool of a way."""
    synchronised = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    gc.collect()
    with hushed():
        synchronised()
        start = time.perf_counter()
        way.train(way.n, epochs)
        synchronised()
        return (time.perf_counter() - start) * way.k / way.n


def measured(ways, epochs, repeats):
    """Return the median seconds of each way of training; the ways take turns, after an epoch that warms up."""
    for way in ways.values():
        seconds(way, 1)
    found = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(seconds(way, epochs))
    return {name: median(times) for name, times in found.items()}


def print_table(title, header, rows):
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    print("| " + " | ".join(header) + " |")
    print("|---" * len(header) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def fraction(times, way, reference):
    """Return the time of a way as a fraction of that of another, or as a multiple where it is longer."""
    if reference not in times:
        return "not installed"
    gain = times[reference] / times[way]
    return f"1/{gain:.1f}" if gain >= 1 else f"{1 / gain:.1f}x"


def asked_and_reached(asked, times, way, reference):
    """Return two cells: what fraction of the time of another a way is asked to take at most, and which it takes."""
    reached = fraction(times, way, reference)
    if asked is None:
        return "-", reached
    return f"1/{asked:g}", f"{reached} ({'yes' if times[reference] / times[way] >= asked else 'no'})"


BARE, SKORCH, LOOP, VECTORIZED = "bare loops", "skorch fits", "vectorize=False", "vectorize=True"
AUTO = 'vectorize="auto"'
SPLIT, OTHER = "vectorize=True, train_split", "torchensemble, n_jobs={}"


def perceptrons(args):
    """A: pools of perceptrons in one process."""
    times, rows = [], []
    cells = [(h, b, min(k, args.most)) for h, b, k in CELLS if not args.quick or h < 1024]
    for hidden, batch, k in dict.fromkeys(cells):
        problem = Problem(Perceptron, {"hidden": hidden}, X, Y, batch)
        few = min(k, args.few if hidden < 1024 else 1)
        ways = {
            BARE: Way(problem.bare, few, k),
            SKORCH: Way(problem.skorch, few, k),
            LOOP: Way(problem.seeds(False), few, k),
            VECTORIZED: Way(problem.seeds(True), k, k),
            SPLIT: Way(problem.seeds(True, train_split=ValidSplit(5)), k, k),
        }
        if VotingRegressor is not None:
            ways |= {OTHER.format(n): Way(problem.torchensemble(n), min(k, n * few), k) for n in (1, 2)}
        found = measured(ways, args.epochs, args.repeats)
        name = f"{hidden}, {batch}, {k}"
        times.append([name, *(f"{found[way]:.2f}" for way in ways)])
        best = min(found.get(OTHER.format(n), float("inf")) for n in (1, 2))
        compared = found if VotingRegressor is None else {**found, "torchensemble": best}
        rows.append(
            [
                name,
                *asked_and_reached(ASKED_BARE.get((hidden, batch, k)), found, VECTORIZED, BARE),
                *asked_and_reached(ASKED_SKORCH.get((hidden, batch, k)), found, SPLIT, SKORCH),
                fraction(compared, VECTORIZED, "torchensemble"),
                fraction(found, VECTORIZED, LOOP),
            ]
        )
    title = f"A. Pools of perceptrons, one thread: seconds to train K members, {N_ROWS} rows, {args.epochs} epochs"
    if VotingRegressor is None:
        title += " (torchensemble is not installed)"
    print_table(title + ".", ["hidden, batch, K", *ways], times)
    header = ["hidden, batch, K", "of the bare loops: asked", "reached", "of the skorch fits: asked", "reached"]
    header += ["of torchensemble", f"of {LOOP}"]
    print_table("The time of vectorized training as a fraction of that of the others:", header, rows)


def processes(args):
    """B: two processes."""
    hidden, batch, k = 64, 128, min(64, args.most)
    problem = Problem(Perceptron, {"hidden": hidden}, X, Y, batch)
    few = min(k, args.few)
    ways = {
        BARE: Way(problem.bare, few, k),
        VECTORIZED: Way(problem.seeds(True), k, k),
        f"{LOOP}, n_jobs=2": Way(problem.seeds(False, n_jobs=2), min(k, 2 * few), k),
        f"{VECTORIZED}, n_jobs=2": Way(problem.seeds(True, n_jobs=2), k, k),
    }
    with hushed():
        Parallel(n_jobs=2)(delayed(problem.seeds(True))(2, 1) for _ in range(4))
    found = measured(ways, args.epochs, args.repeats)
    asked = {f"{VECTORIZED}, n_jobs=2": ASKED_PROCESSES if k == 64 else None}
    rows = [
        [way, f"{found[way]:.2f}", *asked_and_reached(asked.get(way), found, way, BARE)] for way in ways if way != BARE
    ]
    rows.insert(0, [BARE, f"{found[BARE]:.2f}", "-", "-"])
    print_table(
        f"B. Two processes, which were started and had imported the library before: hidden {hidden}, batch {batch}, "
        f"K={k}, {args.epochs} epochs; {os.cpu_count()} cores.",
        ["", "seconds", "of the bare loops: asked", "reached"],
        rows,
    )


def classifiers(args):
    """G: classifiers of ten classes in short and longer trainings, alone and beside a second training."""
    rows = []
    cells = [(h, b, min(k, args.most)) for h, b, k in CLASSIFIERS]
    for hidden, batch, k in dict.fromkeys(cells):
        problem = Problem(Perceptron, {"hidden": hidden, "n_out": 10}, X, CLASSES, batch)
        few = min(k, args.few)
        ways = {
            BARE: Way(problem.bare, few, k),
            SKORCH: Way(problem.skorch, few, k),
            VECTORIZED: Way(problem.seeds(True), k, k),
            SPLIT: Way(problem.seeds(True, train_split=ValidSplit(5)), k, k),
        }
        for epochs, at_once in ((5, False), (10, False), (10, True)):
            with beside_another(problem, k, epochs) if at_once else nullcontext():
                found = measured(ways, 1 if args.quick else epochs, args.repeats)
            asked = ASKED_CLASSIFIERS[epochs, at_once] if (hidden, batch, k) == (64, 128, 16) else (None, None)
            rows.append(
                [
                    f"{hidden}, {batch}, {k}; {epochs}{', two at once' if at_once else ''}",
                    *(f"{found[way]:.2f}" for way in ways),
                    *asked_and_reached(asked[0], found, VECTORIZED, BARE),
                    *asked_and_reached(asked[1], found, SPLIT, SKORCH),
                ]
            )
    header = ["hidden, batch, K; epochs", *ways, "of the bare loops: asked", "reached"]
    print_table(
        f"G. Classifiers 20-h-h-10, one thread, {N_ROWS} rows: seconds. Skorch's fits and the last way hold out a "
        "fifth of the rows, whose accuracy is computed after each epoch. Two at once: a second process trains pools "
        f"meanwhile; {os.cpu_count()} cores.",
        [*header, "of the skorch fits: asked", "reached"],
        rows,
    )


@contextmanager
def beside_another(problem, k, epochs):
    """Let a second process train such pools until the block ends."""
    command = [sys.executable, __file__, "--beside", str(problem.params["hidden"]), str(problem.batch), str(k)]
    other = subprocess.Popen([*command, str(epochs)], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()  # it has begun
        yield
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def train_without_end(hidden, batch, k, epochs):
    """Train pools of classifiers until this process is ended; the first one is reported."""
    problem = Problem(Perceptron, {"hidden": hidden, "n_out": 10}, X, CLASSES, batch)
    problem.seeds(True)(k, 1)
    print("begun", flush=True)
    while True:
        problem.seeds(True)(k, epochs)


def processor():
    """Return the name of the processor, and the instructions that torch's kernels use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def images(args):
    """C: a small convolutional network."""
    k, epochs = min(8, args.most), min(2, args.epochs)
    problem = Problem(Convolutional, {}, IMAGES, DIGITS, 32)
    ways = {
        BARE: Way(problem.bare, k, k),
        LOOP: Way(problem.seeds(False), k, k),
        VECTORIZED: Way(problem.seeds(True), k, k),
        AUTO: Way(problem.seeds("auto"), k, k),
    }
    found = measured(ways, epochs, args.repeats)
    rows = []
    for way, time_ in found.items():
        ratio = time_ / found[LOOP]
        judged = f" ({'yes' if ratio <= 1 + NOISE else 'no'})" if way == AUTO else ""
        rows.append([way, f"{time_:.2f}", "1x" if judged else "-", f"{ratio:.2f}x{judged}"])
    print_table(
        f"C. Small convolutional network (1-8-16 channels, {len(IMAGES)} images of 28 x 28), batch 32, K={k}, {epochs} "
        f"epochs; a difference of {NOISE:.0%} counts as none.",
        ["", "seconds", f"of {LOOP}: asked", "reached"],
        rows,
    )


def other_layers(args):
    """D: other layers."""
    k, epochs = min(16, args.most), min(2, args.epochs)
    problems = {
        "batch norm": Problem(Perceptron, {"between": nn.BatchNorm1d}, X, Y, 128),
        "layer norm": Problem(Perceptron, {"between": nn.LayerNorm}, X, Y, 128),
        "dropout": Problem(Perceptron, {"between": dropout}, X, Y, 128),
        "embedding, attention": Problem(Attention, {}, WORDS, COUNTS, 128),
        "embedding, attention, dropout": Problem(Attention, {"dropout": 0.1}, WORDS, COUNTS, 128),
    }
    rows = []
    for name, problem in problems.items():
        few = min(k, args.few)
        ways = {
            LOOP: Way(problem.seeds(False), few, k),
            VECTORIZED: Way(problem.seeds(True), k, k),
            AUTO: Way(problem.seeds("auto"), k, k),
        }
        try:
            found = measured(ways, epochs, args.repeats)
        except UserWarning as reason:
            rows.append([name, *"---", f"not vectorized: {reason}", "-"])
        else:
            compared = [fraction(found, way, LOOP) for way in (VECTORIZED, AUTO)]
            rows.append([name, *(f"{found[way]:.2f}" for way in ways), *compared])
    print_table(
        f"D. Other layers, hidden 64, batch 128, K={k}, {epochs} epochs; sequences are {len(WORDS)} of length {LENGTH}:"
        f" seconds, and fractions of the time of {LOOP}.",
        ["", LOOP, VECTORIZED, AUTO, f"fraction, {VECTORIZED}", f"fraction, {AUTO}"],
        rows,
    )


def memory(args):
    """E: memory."""
    sizes = [(64, 4)] if args.quick else [(512, 16), (1024, 16), (512, 64)]
    rows = []
    for hidden, k in sizes:
        command = [sys.executable, __file__, "--memory-of", str(hidden), str(k)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        if found is None:
            print("\nE. Memory: only Linux tells the peak of a process.")
            return
        ratio = found["peak"] / found["formula"]
        reached = f"{ratio:.2f}x" if args.quick else f"{ratio:.2f}x ({'yes' if ratio <= ASKED_MEMORY else 'no'})"
        rows.append(
            [
                f"{hidden}, {k}",
                *(f"{found[part] / 2**20:.1f}" for part in ("formula", "peak")),
                "-" if args.quick else f"{ASKED_MEMORY}x",
                reached,
            ]
        )
    print_table(
        "E. Memory of vectorized training, MiB, batch 128: K x (parameters + gradients + two moments of Adam) + what "
        "one batch keeps for its backward pass, and by how much a fresh process grew at its peak.",
        ["hidden, K", "formula", "measured", "asked", "reached"],
        rows,
    )


def memory_of(hidden, k, batch=128):
    """Train a pool, vectorized, in this process; return by how many bytes its peak grew, and those of the formula.

    The peak is ``VmHWM``, that of the memory of this program. ``ru_maxrss`` is not: on Linux it starts at the peak of
    the program that started this one.
    """

    def status(key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))

    try:
        status("VmHWM")
    except (OSError, StopIteration):
        return None
    Problem(Perceptron, {"hidden": 8}, X, Y, batch).seeds(True)(2, 2)  # imports and kernels
    gc.collect()
    before, highest = status("VmRSS"), status("VmHWM")
    Problem(Perceptron, {"hidden": hidden}, X, Y, batch).seeds(True)(k, 2)
    if status("VmHWM") == highest:
        raise SystemExit("The peak of the process lies before the training: it is too small to be measured.")
    n_parameters = sum(p.numel() for p in Perceptron(hidden).parameters())
    kept = batch * (N_IN + 2 * hidden + 1)  # inputs, what each ReLU gives, outputs
    return {"peak": status("VmHWM") - before, "formula": 4 * k * (4 * n_parameters + kept)}


def on_gpu(args):
    """F: pools on a GPU."""
    if not torch.cuda.is_available():
        print("\nF. Pools on a GPU: none is at hand.")
        return
    problems = {
        f"perceptron, hidden 64, batch 128, {args.epochs} epochs": (
            Problem(Perceptron, {"hidden": 64}, X, Y, 128, "cuda"),
            min(256, args.most),
            args.epochs,
        ),
        f"small convolutional network, batch 32, {min(2, args.epochs)} epochs": (
            Problem(Convolutional, {}, IMAGES, DIGITS, 32, "cuda"),
            min(64, args.most),
            min(2, args.epochs),
        ),
    }
    rows = []
    for name, (problem, k, epochs) in problems.items():
        few = min(k, args.few)
        ways = {
            BARE: Way(problem.bare, few, k),
            LOOP: Way(problem.seeds(False), few, k),
            VECTORIZED: Way(problem.seeds(True), k, k),
        }
        found = measured(ways, epochs, args.repeats)
        rows.append(
            [
                f"{name}, K={k}",
                *(f"{found[way]:.2f}" for way in ways),
                *(fraction(found, VECTORIZED, way) for way in (BARE, LOOP)),
            ]
        )
    print_table(
        f"F. Pools on a GPU ({torch.cuda.get_device_name()}): seconds, and those of vectorized training as a "
        "fraction of those of the others.",
        ["", BARE, LOOP, VECTORIZED, f"of the {BARE}", f"of {LOOP}"],
        rows,
    )


SECTIONS = {"A": perceptrons, "B": processes, "C": images, "D": other_layers, "E": memory, "G": classifiers}


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count; the median is shown")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of a training")
    parser.add_argument("--few", type=int, default=4, help="members to time where they are trained one after another")
    parser.add_argument("--sections", default="".join(SECTIONS), help="letters of the tables to print")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda adds table F")
    parser.add_argument("--quick", action="store_true", help="one repeat, one epoch, few members: whether it runs")
    parser.add_argument("--memory-of", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--beside", type=int, nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that start here
    torch.set_num_threads(1)
    if args.memory_of:
        print(json.dumps(memory_of(*args.memory_of)))
        return
    if args.beside:
        train_without_end(*args.beside)
    if args.quick:
        args.repeats, args.epochs, args.few = 1, 1, 2
    args.most = 4 if args.quick else 10**6
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, scikit-learn "
        f"{sklearn.__version__}, skfusion {skfusion.__version__}; {torch.get_num_threads()} thread; "
        f"{processor()}; median wall clock of {args.repeats} interleaved repeats. What is trained one after another is "
        f"timed on {args.few} members (on one where hidden is 1024) for each process, and multiplied."
    )
    for name in args.sections:
        SECTIONS[name](args)
    if args.device == "cuda":
        on_gpu(args)


if __name__ == "__main__":
    main()
