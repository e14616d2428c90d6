# ruff: noqa: E501
"""Write docs/results/federated.md: fusions of clients whose classes differ, by the number of rounds, and in one shot.

python benchmarks/results_federated.py run                  # digits, some minutes; goes on where it stopped
python benchmarks/results_federated.py run --fashion DIR    # and Fashion-MNIST, some minutes more
python benchmarks/results_federated.py write

Fashion-MNIST comes from the files of Debian's ``dataset-fashion-mnist``; give the folder that holds
``train-images-idx3-ubyte`` (``.gz`` or not).
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from results_rebasin import images
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import FederatedClassifier
from skfusion.align import WeightMatching
from skfusion.merge import PFNM, FedAdam, FedAvgM, FedMA, FedYogi
from skfusion.nets import mlp_classifier
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import n_parameters
from skfusion.widths import resized_as

OUT = Path(__file__).parents[1] / "docs" / "results"
KEPT = OUT / "federated.json"
N_CLIENTS, ALPHA = 8, 0.5
SEEDS = (0, 1, 2)
N_ROUNDS = {"digits": 20, "fashion": 10}
SHOWN = {"digits": (1, 2, 3, 5, 10, 20), "fashion": (1, 2, 3, 5, 10)}
N_ROWS = {"digits": 898, "fashion": 4_000}
LOCAL_EPOCHS = 2
ONE_SHOT_EPOCHS = {"digits": 40, "fashion": 10}
NETS = {
    "digits": mlp_classifier(module__hidden=(64,), batch_size=32),
    "fashion": mlp_classifier(module__hidden=(128,), batch_size=64, lr=0.002),
}
WORDS = {"digits": "digits", "fashion": "Fashion-MNIST"}
TITLES = {"digits": "Digits, perceptron 64-64-10", "fashion": "Fashion-MNIST, perceptron 784-128-10"}
SIGMA, RATE, ONE_SHOT_SIGMA = {"digits": 0.1, "fashion": 0.2}, {"digits": 0.1, "fashion": 0.03}, 0.3
METHODS = [
    *("FedAvg", "FedAvg, twice the epochs", "matched average", "PFNM", "PFNM, corrected", "FedMA"),
    *("FedAvgM", "FedAdam", "FedYogi"),
]
ONE_SHOT = METHODS[:1] + METHODS[2:6]


def fusion(method, sigma, rate=0.01):
    """Return the parameters of a federation that fuses its clients by a method."""
    return {
        "FedAvg": {},
        "FedAvg, twice the epochs": {"local_epochs": 2 * LOCAL_EPOCHS},
        "matched average": {"align": WeightMatching()},
        "PFNM": {"fuse": PFNM(sigma=sigma)},
        "PFNM, corrected": {"fuse": PFNM(sigma=sigma, correct=True)},
        "FedMA": {"fuse": FedMA(sigma=sigma)},
        "FedAvgM": {"server": FedAvgM(momentum=0.5)},
        "FedAdam": {"server": FedAdam(lr=rate)},
        "FedYogi": {"server": FedYogi(lr=rate)},
    }[method]


# ------------------------------------------------------------------------------------------------------------ data


def dirichlet(y, seed):
    """Return the client of each row: the rows of each class are divided by shares from a Dirichlet distribution."""
    rng, client = np.random.default_rng(seed), np.empty(len(y), int)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        ends = np.cumsum(rng.dirichlet([ALPHA] * N_CLIENTS)) * len(rows)
        client[rows] = np.minimum(np.searchsorted(ends, np.arange(len(rows)) + 0.5), N_CLIENTS - 1)
    return client


def data(name, folder, seed):
    """Return rows to train on with their clients, and rows to test on."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    else:
        X, y, X_test, y_test = images(folder)
        X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
        X, _, y, _ = train_test_split(X, y, train_size=N_ROWS[name], stratify=y, random_state=seed)
    return X, y, dirichlet(y, seed), X_test, y_test


# ------------------------------------------------------------------------------------------------------------- runs


class Remembering(Repairer):
    """Re-estimate statistics, and keep what a server has after each round."""

    def __init__(self):
        self.states = []

    def __call__(self, state, members, objective):
        """Return the state with its statistics."""
        repaired = Recalibrate()(state, members, objective)
        self.states.append({key: tensor.clone() for key, tensor in repaired.items()})
        return repaired


def curve(name, seed, rows, n_rounds, **params):
    """Return the accuracy on new rows after each round of a federation, and its parameters after the last one.

    ``rows`` are those to train on with their clients, None where all are of one, and those to test on.
    """
    X, y, client, X_test, y_test = rows
    states = Remembering()
    net = clone(NETS[name]).set_params(classes=[*range(10)])
    params = {"local_epochs": LOCAL_EPOCHS, **({"n_clients": 1} if client is None else {}), **params}
    one = FederatedClassifier(net, repair=states, n_rounds=n_rounds, random_state=seed, **params)
    one.fit(X, y, groups=client)
    module, inputs, accuracy = one.estimator_.module_, torch.from_numpy(X_test), []
    for state in states.states:
        with torch.inference_mode():
            outputs = resized_as(module, state).eval()(inputs)
        accuracy.append(float(np.mean(outputs.argmax(1).numpy() == y_test)))
    assert abs(accuracy[-1] - one.score(X_test, y_test)) < 1e-3
    return accuracy, n_parameters(one.state_)


def mean_client(name, seed, rows, n_rounds, **params):
    """Return the mean accuracy of networks of which each is trained by one client alone."""
    X, y, client, X_test, y_test = rows
    alone = [
        curve(name, seed, (X[client == k], y[client == k], None, X_test, y_test), n_rounds, **params)
        for k in np.unique(client)
    ]
    return np.mean([accuracy for accuracy, _ in alone], axis=0).tolist(), alone[0][1]


def measured(key, make, kept):
    """Fit and keep one record, unless it is kept already."""
    if key in kept:
        return
    start = time.process_time()
    accuracy, parameters = make()
    kept[key] = {"accuracy": accuracy, "seconds": time.process_time() - start, "parameters": parameters}
    beside = KEPT.with_suffix(".part")
    beside.write_text(json.dumps(kept, indent=1) + "\n")
    beside.replace(KEPT)  # whole, wherever it stops
    print(key, kept[key], flush=True)


def runs(name, seed, rows):
    """Yield the key of each record, and what makes it."""
    whole, n, once = (*rows[:2], None, *rows[3:]), N_ROUNDS[name], {"local_epochs": ONE_SHOT_EPOCHS[name]}
    at = f"{name}|{seed}|rounds"
    for method in METHODS:
        params = fusion(method, SIGMA[name], RATE[name])
        yield f"{at}|{method}", lambda params=params: curve(name, seed, rows, n, **params)
    yield f"{at}|all rows", lambda: curve(name, seed, whole, n)
    yield f"{at}|mean client", lambda: mean_client(name, seed, rows, n)
    at = f"{name}|{seed}|one shot"
    for method in ONE_SHOT:
        params = fusion(method, ONE_SHOT_SIGMA)
        yield f"{at}|{method}", lambda params=params: curve(name, seed, rows, 1, common_start=False, **once, **params)
    yield f"{at}|all rows", lambda: curve(name, seed, whole, 1, **once)
    yield f"{at}|mean client", lambda: mean_client(name, seed, rows, 1, **once)


def run(args):
    """Fit everything that is not kept yet."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for seed in SEEDS:
        for name in ["digits", *(["fashion"] if args.fashion else [])]:
            for key, make in runs(name, seed, data(name, args.fashion, seed)):
                measured(key, make, kept)


# ------------------------------------------------------------------------------------------------------------- page


def whole_seeds(kept, name):
    """Return the seeds of which everything is kept."""
    wanted = [("rounds", METHODS), ("one shot", ONE_SHOT)]
    endings = [f"{part}|{m}" for part, methods in wanted for m in (*methods, "all rows", "mean client")]
    return [s for s in SEEDS if all(f"{name}|{s}|{ending}" in kept for ending in endings)]


def of(kept, name, when, method, what="accuracy"):
    """Return the records of all seeds; ``when`` is the number of a round, or "one shot"."""
    part, at = ("one shot", -1) if when == "one shot" else ("rounds", when - 1)
    records = [kept[f"{name}|{s}|{part}|{method}"] for s in whole_seeds(kept, name)]
    return np.array([record[what][at] if what == "accuracy" else record[what] for record in records])


def half(values):
    """Return half of the 95 % interval of the mean, Student's."""
    return float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def shown(values):
    """Return a mean in per cent, and half of its interval."""
    return f"{100 * values.mean():.1f} ± {100 * half(values):.1f}"


def against(kept, name, when, method):
    """Return the paired difference from FedAvg."""
    gap = of(kept, name, when, method) - of(kept, name, when, "FedAvg")
    return f"{100 * gap.mean():+.1f} ± {100 * half(gap):.1f}".replace("-", "−")


def table(kept, name):
    """Return the table of accuracy by rounds."""
    last = N_ROUNDS[name]
    head = [*(f"{n} rounds" if n > 1 else "1 round" for n in SHOWN[name]), "against FedAvg, last", "parameters, last"]
    lines = ["| | " + " | ".join([*head, "s"]) + " |", "|---" * (len(head) + 2) + "|"]
    for method in [*METHODS, "all rows", "mean client"]:
        cells = [shown(of(kept, name, n, method)) for n in SHOWN[name]]
        cells += [
            "" if method == "FedAvg" else against(kept, name, last, method),
            f"{of(kept, name, last, method, 'parameters').mean():.0f}",
            f"{np.median(of(kept, name, last, method, 'seconds')):.1f}",
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def one_shot(kept, name):
    """Return the table of one-shot fusion."""
    lines = ["| | accuracy, % | against FedAvg, points | parameters |", "|---|---|---|---|"]
    for method in [*ONE_SHOT, "all rows", "mean client"]:
        accuracy = shown(of(kept, name, "one shot", method))
        gap = "" if method == "FedAvg" else against(kept, name, "one shot", method)
        size = of(kept, name, "one shot", method, "parameters").mean()
        lines.append(f"| {method} | {accuracy} | {gap} | {size:.0f} |")
    return "\n".join(lines)


PANELS = [
    ["FedAvg", "FedAvg, twice the epochs", "matched average", "FedMA", "PFNM", "PFNM, corrected"],
    ["FedAvg", "FedAvgM", "FedAdam", "FedYogi"],
]
OVER = (0, (4, 4))  # lets a line be seen that is the same as another one, or nearly
STYLES = {
    "FedAvg": ("C0", "-"),
    "FedAvg, twice the epochs": ("C1", "-"),
    "matched average": ("C2", OVER),
    "PFNM": ("C3", "-"),
    "PFNM, corrected": ("C4", OVER),
    "FedMA": ("C5", OVER),
    "FedAvgM": ("C6", "-"),
    "FedAdam": ("C8", "-"),
    "FedYogi": ("C9", OVER),
    "all rows": ("black", "--"),
    "mean client": ("gray", ":"),
}


def draw(kept, name, path):
    """Draw accuracy against rounds, with the standard error of the mean over seeds."""
    import matplotlib

    matplotlib.rcParams.update({"svg.hashsalt": "skfusion", "svg.fonttype": "path"})
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 5.2), sharey=True, layout="constrained")
    rounds, lines = np.arange(1, N_ROUNDS[name] + 1), {}
    for axes, methods, title in zip(
        panels, PANELS, ["Averages and matched averages", "Optimisers of the server"], strict=True
    ):
        for method in [*methods, "all rows", "mean client"]:
            values = 100 * np.array([of(kept, name, n, method) for n in rounds])
            color, style = STYLES[method]
            mean, error = values.mean(1), values.std(1, ddof=1) / np.sqrt(values.shape[1])
            (lines[method],) = axes.plot(rounds, mean, linestyle=style, color=color, linewidth=1.6)
            axes.fill_between(rounds, mean - error, mean + error, color=color, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(SHOWN[name], [str(n) for n in SHOWN[name]])
        axes.minorticks_off()
        axes.set_xlabel("rounds")
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy on new rows, %")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def verdicts(kept, name):
    """Return what the table says, method by method."""
    last, third, lines = N_ROUNDS[name], SHOWN[name][2], []
    for method in METHODS[1:]:
        parts = []
        for when, words in ((third, f"after {third} rounds"), (last, f"after {last}"), ("one shot", "in one shot")):
            if when == "one shot" and method not in ONE_SHOT:
                continue
            gap = of(kept, name, when, method) - of(kept, name, when, "FedAvg")
            if not gap.any():
                parts.append(f"{words} the same")
            elif abs(gap.mean()) > half(gap):
                better = "better" if gap.mean() > 0 else "worse"
                parts.append(f"{words} {better} by {abs(100 * gap.mean()):.1f} points")
            else:
                parts.append(f"{words} not told apart")
        lines.append(f"- {method}, against FedAvg: {', '.join(parts)}.")
    return "\n".join(lines)


def write(args):
    """Write the page and its figures."""
    kept = json.loads(KEPT.read_text())
    names = [name for name in NETS if len(whole_seeds(kept, name)) > 1]
    libraries = ", ".join(f"{lib} {version(lib)}" for lib in ("torch", "skorch", "scikit-learn"))
    rates = " and ".join(f"{RATE[name]} on {WORDS[name]}" for name in NETS)
    sigmas = " and ".join(f"{SIGMA[name]} on {WORDS[name]}" for name in NETS)
    page = f"""# Federated fusion

<!-- Written by benchmarks/results_federated.py. Do not edit: run it again. -->

{N_CLIENTS} clients, among which the rows of each class are divided by shares from a Dirichlet distribution of {ALPHA}: some clients have many rows, and
most lack classes. Each trains {LOCAL_EPOCHS} epochs a round on its own rows, and the server fuses what they return. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_federated.py run --fashion DIR
    OMP_NUM_THREADS=1 python benchmarks/results_federated.py write

on one thread (Python {platform.python_version()}, {libraries}; {os.cpu_count()} {platform.machine()} cores). Accuracy in per cent on rows that no client has; after ± stands half of the
95 % interval of the mean over seeds, Student's: each seed is another division of the rows, other weights, and other rows to train on, of digits also to test on. Differences are paired, and of so few seeds
most are not told apart. *s* is the processor's time of a fit of all rounds, the median; of *mean client* that of all clients.

*FedAvg* is the mean by rows. *Matched average* matches units by their weights to the network that the round began with, in one shot to that of the first client.
*PFNM* and *FedMA* have sigma={sigmas}, and {ONE_SHOT_SIGMA} in one shot; *FedAdam* and *FedYogi* have the rate {rates}; *FedAvgM* has the momentum 0.5.
These were chosen among a few on a division that is not among those of the seeds, the momentum and the sigma of one shot on digits alone. *Corrected* is without the shrinkage of the posterior. In FedMA clients train twice a round, as
they retrain above the hidden layer: the fair comparison is *FedAvg, twice the epochs*.
*All rows* is one network on the rows of all clients, for as many epochs in all as a client trains; *mean client* is the mean accuracy of networks of one client each, which
never hear of the others. *One shot*: clients begin with different weights, train once, and are fused once. In the figures the bands are one standard error.
"""
    for name in names:
        draw(kept, name, OUT / f"federated-{name}.svg")
        page += f"""
## {TITLES[name]}

{len(whole_seeds(kept, name))} seeds, {N_ROWS[name]} rows to train on. Hidden layers as in the title; a wider network has more parameters.

![Accuracy against rounds](federated-{name}.svg)

{table(kept, name)}

In one shot, after {ONE_SHOT_EPOCHS[name]} epochs of each client:

{one_shot(kept, name)}

{verdicts(kept, name)}
"""
    (OUT / "federated.md").write_text(page)


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--fashion", type=Path, help="the folder with the files of Fashion-MNIST")
    args = parser.parse_args()
    {"run": run, "write": write}[args.what](args)


if __name__ == "__main__":
    main()
