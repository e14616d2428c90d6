"""Choose the portfolio: which configurations, in which order, by their predictions on the development tables.

    python benchmarks/portfolio.py run FOLDER [--tables phoneme segment] [--splits 3] [--most-rows 10000] [--cache build/portfolio]
    python benchmarks/portfolio.py choose

``FOLDER`` has the tables that ``benchmarks/_tables.py fetch FOLDER`` gets. The first fits every configuration of
``skfusion/estimators/recipes/_portfolio_members.py`` on each table, keeps its predictions in the cache and goes on where
it stopped. The second chooses (TabRepo, arXiv:2311.02971), and writes ``benchmarks/portfolio.json``; its order is to be
copied to ``PORTFOLIO`` in ``skfusion/estimators/recipes/_portfolio.py``, which a test compares.

A fifth of each table is for the test and a fifth for the selection. Configurations are added greedily: each time the one
with which ensemble selection on the latter most lowers the error on the former, for the time of a fit: what fits fast
comes first, so that a limit of time cuts off what brings least for its time. An error is the log-loss, or one minus R2;
it is 0 for the best single configuration of a table and 1 for the median one. A time is relative to that of the median
configuration of the table, and one more, which everything costs.
"""  # noqa: E501

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier, EnsembleRegressor
from skfusion.combine import EnsembleSelection
from skfusion.data import TableColumns
from skfusion.estimators.recipes._portfolio_members import CONFIGURATIONS, Builder
from skfusion.estimators.support._any_estimator import outputs_of
from skfusion.estimators.support._named_members import prepared

OUT = Path(__file__).with_suffix(".json")
N_MEMBERS = 12

# ------------------------------------------------------------------------------------------------------------ greedy


def greedy(n_candidates, cost, n_most, n_least=0, prices=None):
    """Return the candidates chosen, and the cost of each set on the way.

    ``cost(chosen)`` of a list of positions is to be lowered; with ``prices``, one a candidate, as much as possible for
    a price, from the cost of the worst candidate on. From ``n_least`` candidates on, it ends where none lowers it; of
    equal ones the first is taken.
    """
    prices = np.ones(n_candidates) if prices is None else np.asarray(prices)
    chosen, costs = [], []
    while len(chosen) < min(n_most, n_candidates):
        left = [c for c in range(n_candidates) if c not in chosen]
        each = np.array([cost([*chosen, c]) for c in left])
        gains = (costs[-1] if costs else each.max()) - each
        best = int(np.argmax(gains / prices[left]) if gains.max() > 0 else np.argmin(each))
        if len(chosen) >= n_least and costs and gains[best] <= 0:
            break
        chosen.append(left[best])
        costs.append(float(each[best]))
    return chosen, costs


def ranks(errors):
    """Return the rank of each candidate in each row, from 1 for the best; equal ones share the mean of theirs.

    Shape (n_tables, n_candidates), as the errors.
    """
    below = (errors[:, None, :] < errors[:, :, None]).sum(axis=2)
    equal = (errors[:, None, :] == errors[:, :, None]).sum(axis=2)
    return below + (equal + 1) / 2


def mean_best_rank(errors):
    """Return the cost of a set of candidates by its best one in each row (TabRepo)."""
    of_table = ranks(np.asarray(errors))
    return lambda chosen: float(of_table[:, chosen].min(axis=1).mean())


def error(P, y, task):
    """Return the log-loss of probabilities, or one minus R2 of values."""
    if task == "classification":
        P = P.astype(np.float64).clip(1e-7)
        return log_loss(y, P / P.sum(axis=1, keepdims=True), labels=np.arange(P.shape[1]))
    return float(np.mean((P[:, 0] - y) ** 2) / np.var(y))


def mean_ensemble_error(problems):
    """Return the cost of a set of candidates by the ensemble that is selected of them in each problem."""

    def cost(chosen):
        errors = []
        for p in problems:
            y = p["y_valid"] if p["task"] == "classification" else p["y_valid"][:, None]
            selection = EnsembleSelection().fit(p["P_valid"][chosen], y, p["task"])
            best, median = p["errors"].min(), np.median(p["errors"])
            found = error(selection(p["P_test"][chosen]), p["y_test"], p["task"])
            errors.append((found - best) / max(median - best, 1e-12))
        return float(np.mean(errors))

    return cost


# --------------------------------------------------------------------------------------------------------------- fit


def parts_of(y, task, split, most_rows):
    """Return positions to train on, to select by and to test on: three, one and one fifths of the rows."""
    rows = np.arange(len(y))
    strata = y if task == "classification" and np.bincount(y).min() >= 10 else np.zeros(len(y))
    if len(y) > most_rows:
        rows, _ = train_test_split(rows, train_size=most_rows, random_state=split, stratify=strata)
    rest, test = train_test_split(rows, test_size=0.2, random_state=split, stratify=strata[rows])
    train, valid = train_test_split(rest, test_size=0.25, random_state=split, stratify=strata[rest])
    return train, valid, test


def predictions(name, X, y, task, parts, seed):
    """Return what a configuration predicts for the rows to select by and to test on, and its seconds."""
    classify = task == "classification"
    estimator = CONFIGURATIONS[name](Builder(classify, TableColumns.of(X)))
    estimator = prepared(estimator, seed, EnsembleClassifier if classify else EnsembleRegressor)
    start = time.perf_counter()
    estimator.fit(X.iloc[parts[0]], y[parts[0]])
    seconds = time.perf_counter() - start
    n_outputs = int(y.max()) + 1 if classify else 1
    return [outputs_of(estimator, X.iloc[part], task, n_outputs) for part in parts[1:]], seconds


def run(args):
    """Fit what is not in the cache yet."""
    from _tables import DEVELOPMENT, load

    args.cache.mkdir(parents=True, exist_ok=True)
    for table in args.tables or DEVELOPMENT:
        X, y, task = load(table, args.folder)
        for split in range(args.splits):
            parts = parts_of(y, task, split, args.most_rows)
            for name in args.configurations or CONFIGURATIONS:
                path = args.cache / f"{table}.{split}.{name}.npz"
                if path.exists():
                    continue
                (valid, test), seconds = predictions(name, X, y, task, parts, split)
                kept = {"P_valid": valid, "P_test": test, "y_valid": y[parts[1]], "y_test": y[parts[2]]}
                np.savez(path, **kept, seconds=seconds, task=task, n_train=len(parts[0]))
                print(f"{table} {split} {name}: {error(test, y[parts[2]], task):.4f} in {seconds:.1f} s", flush=True)


# ------------------------------------------------------------------------------------------------------------ choose


def read(cache):
    """Return the names of the configurations, and the problems that all of them were fitted on."""
    fits = {}
    for path in sorted(cache.glob("*.npz")):
        table, split, name = path.name.removesuffix(".npz").split(".")
        fits.setdefault((table, split), {})[name] = dict(np.load(path))
    names = [*CONFIGURATIONS]
    problems = []
    for (table, split), of_name in fits.items():
        if missing := [name for name in names if name not in of_name]:
            warnings.warn(f"{table} {split} is left out: it lacks {missing}.", stacklevel=2)
            continue
        first = of_name[names[0]]
        problem = {key: first[key] for key in ("y_valid", "y_test")}
        problem |= {key: np.stack([of_name[name][key] for name in names]) for key in ("P_valid", "P_test")}
        problem |= {"table": table, "split": int(split), "task": str(first["task"]), "n_train": int(first["n_train"])}
        problem["errors"] = np.array([error(P, problem["y_test"], problem["task"]) for P in problem["P_test"]])
        problem["seconds"] = [float(of_name[name]["seconds"]) for name in names]
        problems.append(problem)
    return names, problems


def choose(args):
    """Write the choice, and what it is made of."""
    names, problems = read(args.cache)
    if not problems:
        raise SystemExit(f"{args.cache} has no table that all configurations were fitted on: run first.")
    seconds = np.array([p["seconds"] for p in problems])
    prices = 1 + np.exp(np.log(seconds / np.median(seconds, axis=1, keepdims=True)).mean(axis=0))
    chosen, costs = greedy(len(names), mean_ensemble_error(problems), N_MEMBERS, N_MEMBERS, prices)
    by_rank, best_ranks = greedy(len(names), mean_best_rank([p["errors"] for p in problems]), N_MEMBERS)
    fits = {
        f"{p['table']}.{p['split']}": {
            "task": p["task"],
            "n_train": p["n_train"],
            "errors": {name: round(float(e), 5) for name, e in zip(names, p["errors"], strict=True)},
            "seconds": {name: round(s, 2) for name, s in zip(names, p["seconds"], strict=True)},
        }
        for p in problems
    }
    result = {
        "order": [names[c] for c in chosen],
        "prices": {name: round(float(price), 3) for name, price in zip(names, prices, strict=True)},
        "errors_of_ensembles": [round(c, 4) for c in costs],
        "order_by_ranks": [names[c] for c in by_rank],
        "mean_best_ranks": [round(c, 4) for c in best_ranks],
        "fits": fits,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    for name, cost in zip(result["order"], costs, strict=True):
        print(f"{cost:8.4f}  {name}")


def main():
    """Fit, or choose."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running, choosing = commands.add_parser("run"), commands.add_parser("choose")
    for command in (running, choosing):
        command.add_argument("--cache", type=Path, default=Path("build/portfolio"))
    running.add_argument("folder", type=Path)
    running.add_argument("--tables", nargs="*", help="instead of all development tables")
    running.add_argument("--configurations", nargs="*", choices=[*CONFIGURATIONS], help="instead of all")
    running.add_argument("--splits", type=int, default=1)
    running.add_argument("--most-rows", type=int, default=10_000, help="rows of a table that are used")
    args = parser.parse_args()
    {"run": run, "choose": choose}[args.command](args)


if __name__ == "__main__":
    main()
