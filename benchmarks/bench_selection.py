"""What forward selection of an ensemble costs, beside the published loop, AutoGluon, and a loop with quick metrics.

Members' predictions for held-out rows (10 classes; two for the area under the curve; values), 25 rounds with
replacement, one thread. The loop keeps a running sum and calls scikit-learn's metric on the average of every candidate,
as the selectors of AutoML libraries do; AutoGluon's own selector takes part where ``autogluon.core`` is installed.

The quick loop is a stand-in for TabArena, which is not on PyPI: the same loop, with metrics as TabArena publishes them.
Its log-loss reads the probability of the true class only, taken from all members before the loop, and its area under
the curve works on float32 and sorts once; TabArena's is C++ (``std::sort``), this one NumPy's sort, which is native
code too. Accuracy and squared errors are plain NumPy without checks.

All break ties alike: members that are in come first, then the first one. Times are the least, or the median, of
processor time; the ways take turns.

    python benchmarks/bench_selection.py [--repeats 5] [--quick] [--peers quick] [--rows 5000 50000]
"""

import argparse
import platform
import time
import warnings
from statistics import median

import numpy as np
import sklearn
from sklearn import metrics

import skfusion
from skfusion.combine import EnsembleSelection

ROUNDS = 25
SCORES = ("neg_log_loss", "accuracy", "roc_auc", "neg_mean_squared_error")
TASK = dict.fromkeys(SCORES, "classification") | {"neg_mean_squared_error": "regression"}


def predictions(n_members, n_rows, scoring):
    """Return predictions of members of unlike skill that share a part of their errors, and the targets."""
    rng = np.random.RandomState(0)
    if TASK[scoring] == "regression":
        y, spread = rng.normal(size=(n_rows, 1)), rng.uniform(0.3, 2, size=(n_members, 1, 1))
        return y + rng.normal(size=(n_rows, 1)) + spread * rng.normal(size=(n_members, n_rows, 1)), y
    n_classes = 2 if scoring == "roc_auc" else 10
    y = rng.randint(n_classes, size=n_rows)
    skill = rng.uniform(0.3, 2, size=(n_members, 1, 1))
    common = rng.normal(size=(n_rows, n_classes))
    z = np.exp(skill * np.eye(n_classes)[y] + common + rng.normal(size=(n_members, n_rows, n_classes)))
    return z / z.sum(axis=2, keepdims=True), y


def score_by_scikit_learn(scoring, y, p):
    """Return the score of an average, higher is better."""
    if scoring == "neg_log_loss":
        return -metrics.log_loss(y, p)
    if scoring == "roc_auc":
        return metrics.roc_auc_score(y, p[:, 1])
    if scoring == "accuracy":
        return metrics.accuracy_score(y, p.argmax(axis=1))
    return -metrics.mean_squared_error(y, p)


def quick_metric(P, y, scoring):
    """Return what a metric reads of the predictions, and the metric of an average of that."""
    if scoring == "neg_log_loss":
        return P[:, np.arange(len(y)), y], lambda p: np.log(p).mean()
    if scoring == "roc_auc":
        return np.ascontiguousarray(P[:, :, 1]), lambda p: quick_area(y.astype(bool), p.astype(np.float32))
    if scoring == "accuracy":
        return P, lambda p: np.count_nonzero(p.argmax(axis=1) == y) / len(y)
    return P[:, :, 0], lambda p: -np.square(p - y[:, 0]).mean()


def quick_area(y, p):
    """Return the area under the curve by one sort, with ties counted as half."""
    order = np.argsort(p)
    right, ordered = y[order], p[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(p) - 1)
    positive = right.cumsum()[ends]
    negative = ends + 1 - positive
    areas = np.diff(negative, prepend=0) * (positive[-1] - positive + np.diff(positive, prepend=0) / 2)
    return areas.sum() / (positive[-1] * negative[-1])


def loop(P, y, scoring):
    """Select as the algorithm is published; return the best score and the members with weight."""
    return select(P, lambda p: score_by_scikit_learn(scoring, y, p))


def quick(P, y, scoring):
    """Select as the algorithm is published, with metrics that read what they need and check nothing."""
    return select(*quick_metric(P, y, scoring))


def select(P, metric):
    """Return the best score and the members with weight of the published loop."""
    total, chosen, scores = np.zeros(P.shape[1:]), [], []
    for turn in range(ROUNDS):
        found = np.array([metric((total + p) / (turn + 1)) for p in P])
        found = found.round(6) if turn else found
        tied = np.flatnonzero(np.isclose(found, found.max(), rtol=1e-12, atol=0))
        best = next((k for k in tied if k in chosen), tied[0])
        total += P[best]
        chosen.append(best)
        scores.append(round(found[best], 6))
    n = int(np.argmax(scores)) + 1
    return scores[n - 1], len(set(chosen[:n]))


def ours(P, y, scoring):
    """Select with the library; return the best score and the members with weight."""
    fitted = EnsembleSelection(ROUNDS, scoring=scoring).fit(P, y, TASK[scoring])
    return fitted.scores_[0][-1], np.count_nonzero(fitted.weights_)


class First:
    """Stands in for a random generator: of equal candidates the first is taken."""

    def choice(self, candidates):
        """Return the first candidate."""
        return candidates[0]


def autogluon():
    """Return AutoGluon's way to select, or None where it is not installed."""
    try:
        from autogluon.core import metrics as theirs
        from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection as Theirs
    except ImportError:
        return None

    def select(P, y, scoring):
        name = {"neg_log_loss": "log_loss", "neg_mean_squared_error": "mean_squared_error"}.get(scoring, scoring)
        problem = {"roc_auc": "binary", "neg_mean_squared_error": "regression"}.get(scoring, "multiclass")
        given = P if problem == "multiclass" else P[:, :, -1]
        fitted = Theirs(ROUNDS, problem, getattr(theirs, name), random_state=First()).fit([*given], y.ravel())
        best = (1 if scoring in ("accuracy", "roc_auc") else 0) - fitted.train_score_
        return best, np.count_nonzero(fitted.weights_)

    return select


def seconds(way, *given):
    """Return the processor time of a call, and what it returns."""
    start = time.process_time()
    found = way(*given)
    return time.process_time() - start, found


def compare(ways, n_members, n_rows, scoring, repeats):
    """Print one row for each way."""
    P, y = predictions(n_members, n_rows, scoring)
    times, found = {name: [] for name in ways}, {}
    for _ in range(repeats):
        for name, way in ways.items():
            spent, found[name] = seconds(way, P, y, scoring)
            times[name].append(spent)
    own = min(times["skfusion"])
    for name in ways:
        spent, (score, kept) = min(times[name]), found[name]
        ratio = "" if name == "skfusion" else f"{spent / own:.1f}x"
        print(
            f"| {n_members} | {n_rows} | {scoring} | {name} | {1e3 * spent:.1f} | {1e3 * median(times[name]):.1f} "
            f"| {ratio} | {score:.6f} | {kept} |",
            flush=True,
        )


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count; the least and the median are shown")
    parser.add_argument("--quick", action="store_true", help="one round of small cells: whether it runs")
    parser.add_argument("--peers", nargs="*", default=["quick", "loop", "AutoGluon"], help="which ways to run beside")
    parser.add_argument("--scores", nargs="*", default=SCORES, choices=SCORES)
    parser.add_argument("--rows", nargs="*", type=int, default=[5000])
    parser.add_argument("--members", nargs="*", type=int, default=[20, 100])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    known = {"quick": quick, "loop": loop, "AutoGluon": autogluon()}
    ways = {"skfusion": ours} | {name: known[name] for name in args.peers if known[name] is not None}
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; least and median of {args.repeats} interleaved repeats, processor time.\n"
    )
    print("| members | rows | score | way | least ms | median ms | to skfusion | best score | members kept |")
    print("|---|---|---|---|---|---|---|---|---|")
    repeats, rows, sizes = (1, [500], [20]) if args.quick else (args.repeats, args.rows, args.members)
    for n_members in sizes:
        for n_rows in rows:
            for scoring in args.scores:
                compare(ways, n_members, n_rows, scoring, repeats)


if __name__ == "__main__":
    main()
