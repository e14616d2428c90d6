"""How low the passes are that elastic bands find between networks, beside trained Bezier curves and straight lines.

Pairs of perceptrons, trained on digits from different seeds, are joined by each connector. The highest loss at 121
points of the path is taken on the rows that networks and paths are trained on, and on test rows. The claim (Draxler et
al., 2018) is that AutoNEB's is at most that of the curve and 5 %, on the rows that both are trained on. Curves of 500
epochs have about as many steps as AutoNEB has, counted over its pivots. One thread of torch; seconds of the process.

    python benchmarks/bench_bands.py [--pairs 2] [--quick]
"""

import argparse
import platform
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import skfusion
from skfusion import nets
from skfusion._rows import Rows
from skfusion.connect import AutoNEB, Bezier, ElasticBand, Line
from skfusion.landscape import loss_along

ASKED = 1.05
N_POINTS = 121


def rows():
    """Return rows to train on, and rows to test on."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split((X / 16).astype(np.float32), y, stratify=y, random_state=0)
    return Rows(X, y), Rows(X_test, y_test)


def connectors(quick):
    """Return the connectors by name."""
    if quick:
        return {"Bezier()": Bezier(n_epochs=5), "AutoNEB()": AutoNEB(n_cycles=3, n_epochs=2)}
    return {
        "Line()": Line(),
        "Bezier()": Bezier(),
        "Bezier(n_epochs=500)": Bezier(n_epochs=500),
        "Bezier(n_bends=3, n_epochs=500)": Bezier(n_bends=3, n_epochs=500),
        "ElasticBand()": ElasticBand(),
        "AutoNEB()": AutoNEB(),
    }


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=2, help="pairs of networks")
    parser.add_argument("--quick", action="store_true", help="few epochs: whether it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = rows()
    net = nets.mlp_classifier(module__hidden=(64, 64), max_epochs=3 if args.quick else 30)
    net = nets.sized(net, train, 10)
    runner = nets.Runner(net, "classification", train)
    seen, unseen = (nets.Judge(runner, train, judged) for judged in (train, test))
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}; digits, "
        f"{len(train)} rows to train on, {len(test)} to test on; perceptron 64-64-64-10.\n"
    )
    print("| pair | connector | states | highest loss, train | to Bezier() | highest loss, test | length | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for pair in range(args.pairs):
        ends = [nets.state_of(nets.fit(net, train, seed)) for seed in (2 * pair, 2 * pair + 1)]
        curve = None
        for name, connect in connectors(args.quick).items():
            start = time.process_time()
            path = connect(ends, seen)
            seconds = time.process_time() - start
            found, new = (loss_along(path, data, N_POINTS) for data in (seen, unseen))
            curve = found.loss.max() if name == "Bezier()" else curve
            ratio = "" if curve is None else f"{found.loss.max() / curve:.2f}x"
            print(
                f"| {2 * pair}, {2 * pair + 1} | {name} | {len(path.controls)} | {found.loss.max():.4f} | {ratio} "
                f"| {new.loss.max():.4f} | {path.length(N_POINTS) / path.length(2):.2f} | {seconds:.1f} |",
                flush=True,
            )
        worst = max(seen.loss(end) for end in ends)
        names = f"{2 * pair}, {2 * pair + 1}"
        print(f"| {names} | the worse end | | {worst:.4f} | {worst / curve:.2f}x | | | |", flush=True)
    print(f"\nAsked of AutoNEB(): at most {ASKED}x the highest loss of Bezier().")


if __name__ == "__main__":
    main()
