"""What it costs to train a subspace: a step of a learned line, and of a simplicial complex, beside an ordinary step.

A. A line is learned from scratch, beside as many steps of ordinary training of one network by a loop by hand (SGD with
momentum, rows in a drawn order), and by ``skfusion.nets.fit`` of a skorch net with the same batches. Asked: at most 1.3
times the latter.

B. One connector of a complex is trained with H = 5 points a step, beside as many ordinary steps. Asked: at
most 4 times.

C. Losses and gradients of 5 networks on one batch, together and in turn.

One thread of torch; medians of the time of the processor in interleaved repeats, which other programs hardly change.

    python benchmarks/bench_subspace.py [--repeats 7] [--tables ABC] [--quick]
"""

import argparse
import platform

import skorch
import torch
from bench_curves import Convolutional, Perceptron, data, medians, net_of, states_of, training

import skfusion
from skfusion import nets
from skfusion.connect import LearnedSubspace, Line, Simplicial
from skfusion.connect._together import Together
from skfusion.nets import Runner

ASKED_LINE, ASKED_COMPLEX, N_SAMPLES = 1.3, 4.0, 5


def cells(quick):
    """Return what is trained: name, how it is made, shape of a row, classes, rows, batch size, epochs."""
    n = 1 if quick else 10
    found = [
        ("20-64-64-2", lambda: Perceptron((20, 64, 64, 2)), (20,), 2, 4096, 128, n),
        ("64-100-100-10", lambda: Perceptron((64, 100, 100, 10)), (64,), 10, 2048, 128, n),
        ("64-100-100-10 with BatchNorm", lambda: Perceptron((64, 100, 100, 10), True), (64,), 10, 2048, 128, n),
        ("784-256-10", lambda: Perceptron((784, 256, 10)), (784,), 10, 2048, 128, 1 if quick else 4),
        ("convolutions with BatchNorm", Convolutional, (1, 28, 28), 10, 512, 64, 1),
    ]
    return found[:2] if quick else found


def batches(chosen, repeats):
    """Print the times of losses and gradients of several networks on one batch."""
    print("| network | batch | in turn, ms | together, ms | ratio |\n|---|---|---|---|---|")
    for name, make, shape, n_classes, n_rows, batch_size, _ in chosen:
        rows = data(shape, n_rows, n_classes)
        objective = nets.Judge(
            Runner(net_of(make, batch_size, 1), "classification", rows), rows.take(range(batch_size)), rows
        )
        states = states_of(make, N_SAMPLES)
        points = Together([k for k, _ in make().named_parameters()], states[0], objective)
        values, (batch,) = points.rows(states), [*objective.batches()]

        def losses(way, p=points, v=values, b=batch):
            p.vectorized = way
            for _ in range(20):
                p.losses(v, b)

        times = medians({"turn": lambda f=losses: f(False), "together": lambda f=losses: f(True)}, repeats)
        print(
            f"| {name} | {batch_size} | {50 * times['turn']:.2f} | {50 * times['together']:.2f} "
            f"| {times['together'] / times['turn']:.2f}x |",
            flush=True,
        )


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count; the median is shown")
    parser.add_argument("--tables", default="ABC", help="which tables: A, B, C")
    parser.add_argument("--quick", action="store_true", help="one round of small cells: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    repeats, chosen = 1 if args.quick else args.repeats, cells(args.quick)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skorch {skorch.__version__}, skfusion "
        f"{skfusion.__version__}; {torch.get_num_threads()} thread; processor time, median of {repeats} interleaved "
        "repeats."
    )
    if "A" in args.tables:
        print("\nA. A line that is learned from scratch, beside ordinary training of as many steps\n")
        training(lambda n: LearnedSubspace(Line(), n_epochs=n, lr=0.01), "ours, ms", ASKED_LINE, chosen, repeats)
    if "B" in args.tables:
        print(f"\nB. A connector with {N_SAMPLES} points a step, beside ordinary training of as many steps\n")
        training(lambda n: Simplicial(1, N_SAMPLES, n_epochs=n), "ours, ms", ASKED_COMPLEX, chosen, repeats)
    if "C" in args.tables:
        print(f"\nC. Losses and gradients of {N_SAMPLES} networks on a batch; convolutions go in turn by default\n")
        batches(chosen, repeats)


if __name__ == "__main__":
    main()
