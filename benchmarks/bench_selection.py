"""What forward selection of an ensemble costs, beside the published loop and beside AutoGluon.

Members' probabilities for 5000 held-out rows of 10 classes, 25 rounds with replacement, one thread. The loop keeps a
running sum and calls scikit-learn's metric on the average of every candidate, as the selectors of AutoML libraries do;
AutoGluon's own selector takes part where ``autogluon.core`` is installed. All break ties alike: members that are in
come first, then the first one. Times are medians of processor time; the ways take turns.

    python benchmarks/bench_selection.py [--repeats 5] [--quick]
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
ASKED = {"neg_log_loss": 40, "accuracy": 20}


def predictions(n_members, n_rows, n_classes=10):
    """Return probabilities of members of unlike skill that share a part of their errors, and the classes."""
    rng = np.random.RandomState(0)
    y = rng.randint(n_classes, size=n_rows)
    skill = rng.uniform(0.3, 2, size=(n_members, 1, 1))
    common = rng.normal(size=(n_rows, n_classes))
    z = np.exp(skill * np.eye(n_classes)[y] + common + rng.normal(size=(n_members, n_rows, n_classes)))
    return z / z.sum(axis=2, keepdims=True), y


def score_by_scikit_learn(scoring, y, p):
    """Return the score of an average, higher is better."""
    return -metrics.log_loss(y, p) if scoring == "neg_log_loss" else metrics.accuracy_score(y, p.argmax(axis=1))


def loop(P, y, scoring):
    """Select as the algorithm is published; return the best score and the members with weight."""
    total, chosen, scores = np.zeros(P.shape[1:]), [], []
    for turn in range(ROUNDS):
        found = np.array([score_by_scikit_learn(scoring, y, (total + p) / (turn + 1)) for p in P])
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
    fitted = EnsembleSelection(ROUNDS, scoring=scoring).fit(P, y, "classification")
    return fitted.scores_[0][-1], np.count_nonzero(fitted.weights_)


class First:
    """Stands in for a random generator: of equal candidates the first is taken."""

    def choice(self, candidates):
        """Return the first candidate."""
        return candidates[0]


def autogluon():
    """Return AutoGluon's way to select, or None where it is not installed."""
    try:
        from autogluon.core.metrics import accuracy, log_loss
        from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection as Theirs
    except ImportError:
        return None

    def select(P, y, scoring):
        metric = {"neg_log_loss": log_loss, "accuracy": accuracy}[scoring]
        fitted = Theirs(ROUNDS, "multiclass", metric, random_state=First()).fit([*P], y)
        best = -fitted.train_score_ if scoring == "neg_log_loss" else 1 - fitted.train_score_
        return best, np.count_nonzero(fitted.weights_)

    return select


def seconds(way, *given):
    """Return the processor time of a call, and what it returns."""
    start = time.process_time()
    found = way(*given)
    return time.process_time() - start, found


def compare(ways, n_members, n_rows, scoring, repeats):
    """Print one row for each way."""
    P, y = predictions(n_members, n_rows)
    times, found = {name: [] for name in ways}, {}
    for _ in range(repeats):
        for name, way in ways.items():
            spent, found[name] = seconds(way, P, y, scoring)
            times[name].append(spent)
    own = median(times["skfusion"])
    for name in ways:
        spent, (score, kept) = median(times[name]), found[name]
        ratio = "" if name == "skfusion" else f"{spent / own:.0f}x"
        print(
            f"| {n_members} | {scoring} | {name} | {1e3 * spent:.1f} | {ratio} | {ASKED[scoring]}x "
            f"| {score:.6f} | {kept} |"
        )


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count; the median is shown")
    parser.add_argument("--quick", action="store_true", help="one round of small cells: whether it runs")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    ways = {"skfusion": ours, "loop": loop}
    if (theirs := autogluon()) is not None:
        ways["AutoGluon"] = theirs
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}, skfusion "
        f"{skfusion.__version__}; median of {args.repeats} interleaved repeats, processor time.\n"
    )
    print("| members | score | way | ms | to skfusion | asked | best score | members kept |")
    print("|---|---|---|---|---|---|---|---|")
    repeats, n_rows, sizes = (1, 500, (20,)) if args.quick else (args.repeats, 5000, (20, 100))
    for n_members in sizes:
        for scoring in ASKED:
            compare(ways, n_members, n_rows, scoring, repeats)


if __name__ == "__main__":
    main()
