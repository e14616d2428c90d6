"""Write docs/results/reuse.md: models of a pool reused for new tasks, beside the package learnware.

python benchmarks/results_reuse.py run --learnware ENVIRONMENT/bin/python   # ten minutes; goes on where it stopped
python benchmarks/results_reuse.py write
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from _reuse_page import page
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import skfusion
from skfusion import ModelReuseClassifier
from skfusion._random import seed_scope
from skfusion.nets import mlp_classifier
from skfusion.reuse import LEEP, AsFound, AverageFound, Found, LogME, Probe, ReusePool, Route, SingleMMD
from skfusion.tuning import TunedReuse

OUT = Path(__file__).parents[1] / "docs" / "results"
SEEDS, LABELS = range(3), (0, 10, 50)
N_PROVIDERS, N_ROWS, N_HIDDEN = 1000, 250, 32
SUBSETS = {"0-4": range(5), "5-9": range(5, 10), "even": range(0, 10, 2), "odd": range(1, 10, 2), "all": range(10)}
DOMAINS = {
    "upright": lambda image: image,
    "turned": lambda image: np.rot90(image, axes=(1, 2)),
    "inverted": lambda image: 1 - image,
    "mirrored": lambda image: image[:, :, ::-1],
    "blurred": lambda image: (
        (image + np.roll(image, 1, 1) + np.roll(image, 1, 2) + np.roll(image, -1, 1) + np.roll(image, -1, 2)) / 5
    ),
    "upside down": lambda image: image[:, ::-1],
}
POOL = [(domain, subset) for domain in ("upright", "turned", "inverted", "mirrored") for subset in SUBSETS]
TASKS = {
    "one model's": [("turned", "5-9")],
    "two models'": [("upright", "0-4"), ("upright", "5-9")],
    "two domains": [("inverted", "even"), ("mirrored", "odd")],
    "other digits": [("mirrored", (0, 1, 5, 6))],
    "near domain": [("blurred", "even")],
    "far domain": [("upside down", "0-4")],
}
"""What the rows of each task are drawn from, in equal shares."""


def inputs(images, domain):
    """Return images of a domain as rows."""
    return np.ascontiguousarray(DOMAINS[domain](images.reshape(-1, 8, 8)).reshape(-1, 64), dtype=np.float32)


def digits_of(subset):
    """Return the digits of a subset, given by name or as they are."""
    return np.array([*SUBSETS.get(subset, subset)] if isinstance(subset, str) else [*subset])


def providers(images, y, seed):
    """Return the rows and labels that each model of the pool is trained on."""
    rng, parts = np.random.RandomState(seed), []
    for domain, subset in POOL:
        rows = rng.permutation(np.flatnonzero(np.isin(y, digits_of(subset))))[:N_ROWS]
        parts.append((inputs(images[rows], domain), y[rows]))
    return parts


def networks(parts, seed):
    """Return a network trained on each part, and its digits."""
    for X, y in parts:
        known, codes = np.unique(y, return_inverse=True)
        net = mlp_classifier(module__n_in=64, module__n_out=len(known), module__hidden=(N_HIDDEN,), max_epochs=60)
        with seed_scope(seed):
            yield net.fit(X, codes.astype(np.int64)), known


def tasks(images, y, seed):
    """Yield the name of each task, its rows and labels for the user, those for the test, and its digits.

    The sources of a task have different digits, so no image is in two of them.
    """
    rng = np.random.RandomState(100 + seed)
    for name, sources in TASKS.items():
        rows = [np.flatnonzero(np.isin(y, digits_of(subset))) for _, subset in sources]
        X = np.concatenate([inputs(images[own], domain) for own, (domain, _) in zip(rows, sources, strict=True)])
        labels = y[np.concatenate(rows)]
        order, half = rng.permutation(len(X)), len(X) // 2
        yield name, X[order[:half]], labels[order[:half]], X[order[half:]], labels[order[half:]], np.unique(labels)


def reuse(pool, *, search=None, ways=None, seed=0):
    """Return an estimator that reuses models of a pool, and trains a logistic regression where that is better."""
    return ModelReuseClassifier(
        pool, search=search, reuse=ways, estimator=LogisticRegression(max_iter=1000), random_state=seed
    )


class Searched:
    """What one search finds, reused in one way, without a model that is trained anew to fall back to."""

    def __init__(self, pool, search, way):
        self.pool, self.search, self.way = pool, search, way

    def fit(self, X, y):
        """Search, and fit the way."""
        found = self.pool.search(X, y, self.search)
        known = [offer.labels for offer in found.chosen if set(offer.labels) & set(y)]
        self.classes = np.unique(np.concatenate([y, *known]))
        self.way.fit(found, X, np.searchsorted(self.classes, y), self.classes, 0)
        return self

    def predict(self, X):
        """Return the most probable labels."""
        return self.classes[self.way(X).argmax(axis=1)]


def methods(pool, n_labels, seed):
    """Return what is fitted with so many labels, by name; of each, an unfitted estimator."""
    if n_labels == 0:
        return {
            "nearest model": reuse(pool, search=SingleMMD(), ways=AverageFound()),
            "mixture, averaged": reuse(pool, ways=AverageFound()),
            "mixture, routed": reuse(pool, ways=Route()),
        }
    return {
        "LEEP's first": Searched(pool, LEEP(), AverageFound()),
        "LogME's first, probed": Searched(pool, LogME(), Probe()),
        "Optuna, obvious candidates": Searched(pool, TunedReuse(0, random_state=seed), AsFound()),
        "Optuna": Searched(pool, TunedReuse(random_state=seed), AsFound()),
        "mixture, labels choose": reuse(pool, seed=seed),
        "trained anew": LogisticRegression(max_iter=1000),
    }


def alone(pool, X, y, known):
    """Return the accuracy of each model by itself, of the digits of a task."""
    return [float((known[o.for_classes(o.predictions(X), known).argmax(axis=1)] == y).mean()) for o in pool]


def probed(pool, X, y, test, y_test):
    """Return the accuracy of a linear model of the features of each model, fitted to labelled rows."""
    classes, codes = np.unique(y, return_inverse=True)
    probes = [Probe().fit(Found.best_of(pool[[i]], [0.0], "none"), X, codes, classes, 0) for i in range(len(pool))]
    return [float((classes[probe(test).argmax(axis=1)] == y_test).mean()) for probe in probes]


def measured(model, pool, X, few, y, test, y_test):
    """Return the accuracy of an estimator that is fitted to a task, its seconds, and what it has chosen."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what fits or does not, which the table says
        if few is None:
            model.fit(X)
        elif isinstance(model, ModelReuseClassifier):
            model.fit(X[few], y[few], X_unlabelled=np.delete(X, few, axis=0))
        else:
            model.fit(X[few], y[few])
        accuracy = float((model.predict(test) == y_test).mean())
    return {"accuracy": accuracy, "seconds": time.process_time() - start, "chosen": getattr(model, "chosen_", "")}


def found_by(pool, X, few, y):
    """Return the positions of the models that each search puts first, by search."""
    searches = {"nearest, no labels": (SingleMMD(), None)}
    for n in LABELS[1:]:
        for search in (LEEP(), LogME()):
            searches[f"{type(search).__name__}, {n} labels"] = search, few[n]
    firsts = {}
    for name, (search, rows) in searches.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pool.search(X if rows is None else X[rows], None if rows is None else y[rows], search)
        firsts[name] = int(np.nanargmax(found.scores))
    return firsts


def prepared(seed):
    """Return the pool of a draw, its tasks with positions of labelled rows, all as arrays, and what was measured."""
    digits = load_digits()
    order = np.random.RandomState(seed).permutation(len(digits.target))
    images, y = digits.data[order] / 16, digits.target[order]
    parts, pool, start = providers(images[:N_PROVIDERS], y[:N_PROVIDERS], seed), ReusePool(), time.process_time()
    nets = [*networks(parts, seed)]
    training, start = time.process_time() - start, time.process_time()
    arrays = {"n_models": len(parts), "tasks": [*TASKS]}
    for i, ((net, known), (X, _), (domain, subset)) in enumerate(zip(nets, parts, POOL, strict=True)):
        pool = pool.add(net, X, labels=known, name=f"{domain} {subset}")
        weights = [t.detach().numpy() for n, t in net.module_.state_dict().items() if n.startswith("layers")]
        arrays |= {f"weights_{i}_{j}": w for j, w in enumerate(weights)} | {f"rows_{i}": X, f"digits_{i}": known}
    seconds = {"specification": (time.process_time() - start) / len(parts), "training": training}
    given = {}
    for name, X, labels, test, y_test, known in tasks(images[N_PROVIDERS:], y[N_PROVIDERS:], seed):
        few = {n: np.random.RandomState(200 + seed).permutation(len(X))[:n] for n in LABELS[1:]}
        arrays |= {f"{name}_{k}": v for k, v in {"X": X, "y": labels, "test": test, "known": known}.items()}
        arrays |= {f"{name}_few_{n}": rows for n, rows in few.items()}
        given[name] = X, labels, test, y_test, known, few
    return pool, given, arrays, seconds


def ours(pool, given, seed):
    """Return what this library makes of all tasks of a draw."""
    out = {}
    for name, (X, labels, test, y_test, known, few) in given.items():
        task = out[name] = {"alone": alone(pool, test, y_test, known), "truth": y_test.tolist(), "methods": {}}
        task["probed"] = {n: probed(pool, X[rows], labels[rows], test, y_test) for n, rows in few.items()}
        task["first"] = found_by(pool, X, few, labels)
        for n in LABELS:
            for method, model in methods(pool, n, seed).items():
                task["methods"][f"{method}, {n}"] = measured(model, pool, X, few.get(n), labels, test, y_test)
    return out


def by_learnware(python, arrays):
    """Return what the package learnware makes of the same pool and tasks."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "draw.npz", Path(folder) / "result.json"
        np.savez(given, **arrays)
        script = Path(__file__).with_name("_reuse_learnware.py")
        command = [python, str(script), str(given), str(result)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        return json.loads(result.read_text())


def run(args):
    """Do the draws that are not there yet, and keep the numbers after every one."""
    path = args.out / "reuse.json"
    kept = json.loads(path.read_text()) if path.exists() else {"draws": {}}
    kept["versions"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; {os.cpu_count()} {platform.machine()} cores"
    )
    for seed in SEEDS:
        known = kept["draws"].setdefault(str(seed), {})
        theirs = len(known.get("learnware", {}).get("tasks", ())) == len(TASKS)
        if "ours" in known and (theirs or not args.learnware):
            continue
        pool, given, arrays, seconds = prepared(seed)
        if "ours" not in known:
            known |= {"seconds": seconds, "ours": ours(pool, given, seed)}
            path.write_text(json.dumps(kept, indent=1) + "\n")
        if args.learnware and not theirs:
            known["learnware"] = by_learnware(args.learnware, arrays)
            path.write_text(json.dumps(kept, indent=1) + "\n")
        print(seed, flush=True)


def main():
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--learnware", help="the interpreter of an environment with learnware, lightgbm and geatpy")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "run":
        run(args)
    else:
        (args.out / "reuse.md").write_text(page(json.loads((args.out / "reuse.json").read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
